"""Check every layer, version and download against its digests. Exit 1 when something is wrong."""

from __future__ import annotations

import argparse
import sys


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    import msgspec

    from pipeline.build.session import require_root
    from pipeline.cli.progress import PlainLog
    from pipeline.publish.checking import check_publications, mounted_versions
    from pipeline.recipe.site import load_site
    from pipeline.store.check import check
    from pipeline.store.store import Store

    require_root()
    site = load_site(options.site)
    store = Store.open(site.store, create=False)
    problems = (
        *check_publications(site, store),
        *check(store, PlainLog(sys.stderr, verbose=False), mounted_versions(store)),
    )
    layers = len(store.layers())
    if options.json:
        document = {"layers": layers, "problems": problems}
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        for problem in problems:
            print(problem)
        print(
            f"{layers} layers: " + (f"{len(problems)} problems" if problems else "all as they were committed")
        )
    return 1 if problems else 0
