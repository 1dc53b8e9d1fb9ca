"""Take the directory of a version away; the version stays, and so do hand edits made in a mounted one.

Without --force nothing is taken away when hand edits made in a copy would go with it, or when a cluster was
rolled out to the version, has it by its cluster file, or would be taken back to it.
"""

from __future__ import annotations

import argparse
import json
import sys


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "version", metavar="IMAGE[@N]", help="without @N all versions of the image, and its link"
    )
    parser.add_argument(
        "--force", action="store_true", help="also what was changed by hand, and what nodes have"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would happen")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from functools import partial

    from pipeline.build.session import require_root
    from pipeline.interrupts import work_begins
    from pipeline.publish.unpublishing import planned_unpublish, unpublish
    from pipeline.recipe.site import load_site
    from pipeline.rollout.using import refuse_used
    from pipeline.store.store import Store

    if not options.dry_run:
        require_root()
    site = load_site(options.site)
    work_begins()
    store = Store.open(site.store, create=False)
    version = store.versions.resolve(options.version)
    number = version.number if "@" in options.version else None
    asked = (site, store, version.image, number, partial(refuse_used, force=options.force))
    if options.dry_run:
        gone = planned_unpublish(*asked, force=options.force)
    else:
        gone = unpublish(*asked, force=options.force, note=lambda text: print(text, file=sys.stderr))
    if options.json:
        print(json.dumps({"removed": [str(path) for path in gone], "dry_run": options.dry_run}))
    else:
        doing = "would be taken away" if options.dry_run else "is gone"
        print("\n".join(f"{path} {doing}" for path in gone) or "nothing is published")
    return 0
