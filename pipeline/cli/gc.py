"""Remove layers and downloads that no version, base, failure, lock or build needs; with --keep versions, too.

Waits for builds that run to end. Versions that are published stay, and those that a rollout needs which is
not at its end. With --unpublish published ones older than the newest N go, too, but for the one that
IMAGES/NAME points to, the one that rollback goes back to, those that a process of this machine uses, and
those that clusters have by the last rollout or apply, or would be taken back to by rollout rollback. Those
that were changed by hand stay, too, unless --force is said: then they go, and the changes with them.
What was set in a cluster manager by hand this machine does not know.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pipeline.cli.text import size
from pipeline.printable import on_one_line

if TYPE_CHECKING:
    from pipeline.store.garbage import Removal

NAMED = ("directory", "version", "edits", "base", "layer", "download")
"""The kinds that are listed one by one; of the rest only the number is told."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep", type=int, metavar="N", help="remove versions, too: all but the newest N of each image"
    )
    parser.add_argument(
        "--unpublish", action="store_true", help="with --keep: take directories of such versions away, too"
    )
    parser.add_argument(
        "--force", action="store_true", help="with --unpublish: also those that were changed by hand"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.collecting import collect, collectable, held_back
    from pipeline.build.session import require_root
    from pipeline.cli.progress import PlainLog
    from pipeline.errors import UsageError
    from pipeline.interrupts import work_begins
    from pipeline.recipe.site import load_site
    from pipeline.store.store import Store

    if options.keep is not None and options.keep < 1:
        raise UsageError(
            "--keep takes a number from 1 on", hint="the newest version of an image always stays"
        )
    if options.unpublish and options.keep is None:
        raise UsageError("--unpublish goes with --keep N", command="pipeline gc --keep 5 --unpublish")
    if options.force and not options.unpublish:
        command = "pipeline gc --keep 5 --unpublish --force"
        raise UsageError("--force goes with --unpublish", command=command)
    if not options.dry_run:
        require_root()
    site = load_site(options.site)
    work_begins()
    store = Store.open(site.store, create=False)
    keep, unpublish, force = options.keep, options.unpublish, options.force
    if options.dry_run:
        found = collectable(site, store, keep, unpublish=unpublish, force=force)
    else:
        log = PlainLog(sys.stderr, verbose=False)
        found = collect(site, store, keep, log, unpublish=unpublish, force=force)
    stay = held_back(site, store, keep, unpublish=unpublish, force=force)
    if options.json:
        import msgspec

        freed = sum(removal.bytes for removal in found)
        document = {"dry_run": options.dry_run, "bytes": freed, "removed": found, "published": stay}
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        stays = (f"{each.version} stays: {each.why}; to release it: {each.command}" for each in stay)
        print("\n".join([*_lines(found, dry_run=options.dry_run), *stays]))
    return 0


def _lines(found: tuple[Removal, ...], *, dry_run: bool) -> list[str]:
    if not found:
        return ["nothing to remove"]
    lines = [
        f"{removal.kind} {on_one_line(removal.name)}: {size(removal.bytes)}, {removal.why}"
        for removal in found
        if removal.kind in NAMED
    ]
    kinds = [removal.kind for removal in found]
    counts = ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))
    freed = size(sum(removal.bytes for removal in found))
    doing = "would be removed" if dry_run else "removed"
    return [*lines, f"{doing}: {counts}; {freed}"]
