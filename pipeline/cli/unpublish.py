"""Take the directory of a version away; the version stays. Hand edits made in it are kept in the store."""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "version", metavar="IMAGE[@N]", help="without @N all versions of the image, and its link"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.session import require_root
    from pipeline.publish.publication import unpublish
    from pipeline.recipe.site import load_site
    from pipeline.store.store import Store

    require_root()
    site = load_site(options.site)
    store = Store.open(site.store, create=False)
    version = store.versions.resolve(options.version)
    number = version.number if "@" in options.version else None
    gone = unpublish(site, store, version.image, number)
    if options.json:
        print(json.dumps({"removed": [str(path) for path in gone]}))
    else:
        print("\n".join(f"{path} is gone" for path in gone) or "nothing was published")
    return 0
