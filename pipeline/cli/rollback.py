"""Publish the previous version of an image again. Nothing is copied: a link is turned, whatever the size."""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("--to", type=int, metavar="N", help="this version instead of the previous one")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.session import require_root
    from pipeline.publish.publication import rollback
    from pipeline.recipe.site import load_site
    from pipeline.store.store import Store

    require_root()
    site = load_site(options.site)
    store = Store.open(site.store, create=False)
    store.versions.resolve(options.image)
    version, path = rollback(site, store, options.image, options.to)
    if options.json:
        print(json.dumps({"version": version.label, "directory": str(path)}))
    else:
        print(f"{site.images / options.image} is {version.label} again ({path})")
    return 0
