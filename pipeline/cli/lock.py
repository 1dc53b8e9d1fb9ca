"""Resolve sources and packages anew, with the image's own package manager, and write recipe.lock.

Resolving needs the stages before it, so they are built (or found in the store) on the way. A base that has
changed is accepted by this command, and by this command only.
"""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; exit 4 when a lock is not what its recipe asks for",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout at the end")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what programs print")
    parser.add_argument("--plain", action="store_true", help="plain lines also on a terminal")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.job import BuildOptions
    from pipeline.build.session import build, check_locks
    from pipeline.cli.build import tell
    from pipeline.cli.progress import watching
    from pipeline.recipe.site import load_site

    site = load_site(options.site)
    if options.check:
        checked = check_locks(site, tuple(options.images))
        print(json.dumps({"locks": checked}) if options.json else _told(checked))
        return 0
    wishes = BuildOptions(relock=True, verify=False, publish=False)
    with watching(verbose=options.verbose, plain=options.plain) as (observer, tick):
        outcomes = build(site, tuple(options.images), wishes, observer, tick)
    return tell(outcomes, as_json=options.json)


def _told(checked: list[str]) -> str:
    return "1 lock holds" if len(checked) == 1 else f"{len(checked)} locks hold"
