"""Make a version appear as IMAGES/NAME-N and IMAGES/NAME point to it, at once or not at all.

After a reboot --restore mounts again all that was published by mounting. The machine does so itself with:
  pipeline publish --unit > /etc/systemd/system/pipeline-publish.service
  systemctl enable pipeline-publish
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.publish.publication import Change
    from pipeline.recipe.model import Site
    from pipeline.store.store import Store


def arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("version", metavar="IMAGE[@N]", nargs="?", help="without @N the newest one")
    what.add_argument("--restore", action="store_true", help="mount again all that was published")
    what.add_argument("--unit", action="store_true", help="print pipeline-publish.service for systemd")
    parser.add_argument("--unverified", action="store_true", help="even when it has not passed its tests")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.session import require_root
    from pipeline.interrupts import work_begins
    from pipeline.publish.publication import planned_publish, publish
    from pipeline.publish.unit import unit
    from pipeline.recipe.site import load_site
    from pipeline.store.store import Store

    site = load_site(options.site)
    work_begins()
    if options.unit:
        print(json.dumps({"unit": unit(site)}) if options.json else unit(site), end="")
        return 0
    if not options.dry_run:
        require_root()
    store = Store.open(site.store, create=False)
    if options.restore:
        return _restore(site, store, options)
    version = store.versions.resolve(options.version)
    change = planned_publish(site, store, version, unverified=options.unverified)
    if not options.dry_run:
        notes: list[str] = []
        publish(site, store, version, unverified=options.unverified, note=notes.append)
        for text in notes:
            if text != change.note:  # which is told with the turn
                print(text, file=sys.stderr)
    tell(site, change, options)
    return 0


def tell(site: Site, change: Change, options: argparse.Namespace) -> None:
    """Print a turn of an image's link, done or (``--dry-run``) to be done."""
    version, before = change.version, change.now.current
    link = site.images / version.image
    if options.json:
        found = {
            "version": version.label,
            "directory": str(change.directory),
            "link": str(link),
            "before": f"{version.image}@{before}" if before else None,
            "makes": change.makes,
            "kept_edits": [each.path for each in change.kept],
            "dry_run": options.dry_run,
        }
        print(json.dumps(found))
        return
    was = f"before: {version.image}@{before}" if before else "before: nothing"
    if before == version.number:
        was = "as before"
    if options.dry_run:
        making = {None: "is there", "overlay": "would be mounted", "copy": "would be copied"}[change.makes]
        print(f"{change.directory} {making}\n{link} would point to it ({was})")
    else:
        print(f"{version.label} is {change.directory}, and {link} points to it ({was})")
    if change.kept:
        print(change.note)


def _restore(site: Site, store: Store, options: argparse.Namespace) -> int:
    from pipeline.publish.directories import require_images
    from pipeline.publish.reaching import require_reach
    from pipeline.publish.restoring import gone, not_mounted, outdated, restore

    if options.dry_run:
        mounts = (*not_mounted(site, store), *outdated(site, store))
        if mounts:
            require_reach(site, f"{mounts[0].name} cannot be mounted")
        places = (*mounts, *gone(site, store))
        copied = set(gone(site, store))
        if copied:
            require_images(site)
    else:
        copied = set(gone(site, store))
        places = restore(site, store)
    if options.json:
        print(json.dumps({"mounted": [str(place) for place in places], "dry_run": options.dry_run}))
    else:
        doing = "would be" if options.dry_run else "is"
        told = (f"{place} {doing} {'copied again' if place in copied else 'mounted'}" for place in places)
        print("\n".join(told) or "all is mounted")
    return 0
