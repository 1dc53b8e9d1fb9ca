"""Run the tests of a version in its chroot and keep the results with it. Exit 5 when they do not pass."""

from __future__ import annotations

import argparse
import sys


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", metavar="IMAGE[@N]", help="without @N the newest one")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("-v", "--verbose", action="store_true", help="show each test")


def run(options: argparse.Namespace) -> int:
    import msgspec

    from pipeline.build.session import require_root
    from pipeline.build.verification import verify
    from pipeline.cli.progress import watching
    from pipeline.errors import UnverifiedError
    from pipeline.interrupts import work_begins
    from pipeline.printable import plain
    from pipeline.recipe.load import load_recipe
    from pipeline.recipe.site import load_site
    from pipeline.store.store import Store

    require_root()
    site = load_site(options.site)
    store = Store.open(site.store, create=False)
    version = store.versions.resolve(options.version)
    recipe = load_recipe(version.image, site)
    work_begins()
    with watching(verbose=options.verbose, plain=True) as (observer, _):
        verification = verify(store, recipe, version, observer)
    reports = store.versions.verification_directory(version)
    if options.json:
        document = {"version": version.label, "verification": verification, "reports": str(reports)}
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        for test, how, _, message in verification.results:
            if how != "passed":
                print(f"{test} {how}: {plain(message)}")
        print(f"{version.label}: {verification.tally}; reports in {reports}")
        if why := verification.nothing_passed:
            print(f"{version.label} has not passed its tests: no test passed, {why}", file=sys.stderr)
    return 0 if verification.passed else UnverifiedError.exit_code
