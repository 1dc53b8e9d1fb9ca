"""Build images as cached, ordered stages; test each version and publish it.

Without IMAGE all images of the site are built. What is in the store already is not built again.
"""

from __future__ import annotations

import argparse
import sys

from pipeline.build.outcome import ImageOutcome
from pipeline.cli.text import seconds, size, table
from pipeline.printable import on_one_line
from pipeline.store.records import Tally


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGE")
    parser.add_argument(
        "--locked", action="store_true", help="refuse (exit 4) when recipe.lock and the recipe differ"
    )
    parser.add_argument("--no-publish", action="store_true", help="make and test versions, publish nothing")
    parser.add_argument("--unverified", action="store_true", help="publish even what fails its tests")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout at the end")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what programs print")
    parser.add_argument("--plain", action="store_true", help="plain lines also on a terminal")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.job import BuildOptions
    from pipeline.build.session import build
    from pipeline.cli.progress import watching
    from pipeline.recipe.site import load_site

    site = load_site(options.site)
    wishes = BuildOptions(
        locked=options.locked, publish=not options.no_publish, unverified=options.unverified
    )
    with watching(verbose=options.verbose, plain=options.plain) as (observer, tick):
        outcomes = build(site, tuple(options.images), wishes, observer, tick)
    return tell(outcomes, as_json=options.json)


def tell(outcomes: tuple[ImageOutcome, ...], *, as_json: bool) -> int:
    """Print how images ended; problems on stderr. Returns the exit code of all."""
    if as_json:
        import msgspec

        document = msgspec.json.format(msgspec.json.encode({"images": outcomes, "problems": ()}), indent=2)
        print(document.decode())
    else:
        tables = [_image(outcome) for outcome in outcomes if outcome.stages]
        if tables:
            print("\n\n".join(tables))
    for outcome in outcomes:
        for trouble in outcome.problems:
            _problem(outcome.image, trouble.message, trouble.where, trouble.hint, trouble.command)
    codes = {outcome.exit_code for outcome in outcomes} - {0}
    return codes.pop() if len(codes) == 1 else bool(codes)


def _image(outcome: ImageOutcome) -> str:
    rows = [
        (
            stage.name,
            stage.type,
            "cached" if stage.cached else "ran",
            seconds(stage.seconds),
            size(stage.bytes),
            str(stage.packages) if stage.packages else "",
        )
        for stage in outcome.stages
    ]
    head = ("stage", "type", "", "seconds", "bytes", "packages")
    lines = [f"{outcome.image}{f'@{outcome.version}' if outcome.version else ''}"]
    lines.append(table(head, rows, right=frozenset({3, 4, 5})))
    notes = [f"  {stage.name}: {on_one_line(note)}" for stage in outcome.stages for note in stage.notes]
    if notes:
        lines += ["notes:", *notes]
    if outcome.tests is not None:
        lines.append(f"tests: {Tally(*outcome.tests, outcome.skipped, outcome.expected_to_fail)}")
    if outcome.published:
        lines.append(f"published: {on_one_line(outcome.published)}")
    if outcome.stays:
        lines.append(f"not published: {outcome.stays}")
    ran = sum(not stage.cached for stage in outcome.stages)
    failed = f"failed; {ran} {'stage' if ran == 1 else 'stages'} ran"
    whole = f"{ran} of {len(outcome.stages)} stages ran" if outcome.version else failed
    lines.append(f"{whole}, {seconds(outcome.seconds)}, lock {outcome.lock}")
    return "\n".join(lines)


def _problem(image: str, message: str, where: str | None, hint: str | None, command: str | None) -> None:
    from pipeline.errors import Problem

    print(f"pipeline: {image}: {Problem(message, where, hint, command)}", file=sys.stderr)
