"""Publish the previous version of an image again. Nothing is copied: a link is turned, whatever the size."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("--to", type=int, metavar="N", help="this version instead of the previous one")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.session import require_root
    from pipeline.cli.publish import tell
    from pipeline.errors import UsageError
    from pipeline.interrupts import work_begins
    from pipeline.publish.publication import planned_rollback, rollback
    from pipeline.recipe.site import load_site
    from pipeline.store.store import Store

    if "@" in options.image:
        image, _, number = options.image.partition("@")
        raise UsageError(f"{options.image!r} is no image", command=f"pipeline rollback {image} --to {number}")
    if not options.dry_run:
        require_root()
    site = load_site(options.site)
    work_begins()
    store = Store.open(site.store, create=False)
    image = store.versions.resolve(options.image).image
    turn = planned_rollback if options.dry_run else rollback
    tell(site, turn(site, store, image, options.to), options)
    return 0
