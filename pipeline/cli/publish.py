"""Make a version appear as IMAGES/NAME-N and IMAGES/NAME point to it, at once or not at all.

With --restore everything that was published by mounting is mounted again: pipeline-publish.service does that
when the machine starts.
"""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", metavar="IMAGE[@N]", nargs="?", help="without @N the newest one")
    parser.add_argument("--restore", action="store_true", help="mount again all that was published")
    parser.add_argument("--unverified", action="store_true", help="even when it has not passed its tests")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.session import require_root
    from pipeline.errors import UsageError
    from pipeline.publish.publication import publication, publish, restore
    from pipeline.recipe.site import load_site
    from pipeline.store.store import Store

    if (options.version is None) != options.restore:
        raise UsageError("give IMAGE[@N], or --restore", command="pipeline publish --help")
    site = load_site(options.site)
    store = Store.open(site.store, create=False)
    if options.restore:
        require_root()
        mounted: list[str] = []
        count = restore(site, store, mounted.append)
        print(json.dumps({"mounted": count}) if options.json else "\n".join([*mounted, f"{count} mounted"]))
        return 0
    version = store.versions.resolve(options.version)
    if options.dry_run:
        now = publication(store, version.image).current
        print(f"{site.images / version.image}: {now or 'nothing'} -> {version.number}")
        return 0
    require_root()
    path = publish(site, store, version, unverified=options.unverified)
    if options.json:
        print(json.dumps({"version": version.label, "directory": str(path)}))
    else:
        print(f"{version.label} is {path}, and {site.images / version.image} points to it")
    return 0
