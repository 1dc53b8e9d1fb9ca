"""Say which stages of the images would run and which are cached. Nothing is fetched, imported or written.

Exit 4 when a build would refuse because a base has changed since the lock was made.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pipeline.cli.text import table
from pipeline.printable import on_one_line

if TYPE_CHECKING:
    from pipeline.build.prospect import Prospect
    from pipeline.errors import Problem


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="without it, all images of the site")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.prospect import prospects, store_to_look_at
    from pipeline.build.session import recipes_of
    from pipeline.recipe.site import load_site

    site = load_site(options.site)
    recipes = recipes_of(site, tuple(options.images))
    with store_to_look_at(site) as store:
        found = prospects(site, recipes, store)
    if options.json:
        import msgspec

        document = {"images": [_document(prospect) for prospect in found]}
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        print("\n\n".join("\n".join(_lines(prospect)) for prospect in found))
    return refused(found)


def refused(found: Iterable[Prospect]) -> int:
    """Print on stderr what a build would refuse, and return the exit code that it would end with."""
    refusals = [(prospect.recipe.name, prospect.refusal) for prospect in found]
    for name, error in refusals:
        for problem in error.problems if error is not None else ():
            print(f"pipeline: {name}: {problem}", file=sys.stderr)
    codes = {error.exit_code for _, error in refusals if error is not None}
    return codes.pop() if len(codes) == 1 else bool(codes)


def head(prospect: Prospect) -> list[str]:
    """What is said of an image before its stages."""
    recipe, version = prospect.recipe, prospect.version
    come = f": would be {version.label}, which is there" if version else ""
    lines = [
        f"{recipe.name}, on {recipe.base}{come}",
        *(f"  note: {on_one_line(note)}" for note in prospect.notes),
    ]
    if prospect.differences:
        lines.append("  recipe.lock is not what the recipe asks for; a build renews it:")
        lines += [f"    {_told(problem)}" for problem in prospect.differences]
    return lines


def _told(problem: Problem) -> str:
    return on_one_line(f"{problem.where}: {problem.message}" if problem.where else problem.message)


def summary(prospect: Prospect) -> dict[str, Any]:
    """What the JSON document says of an image before its stages."""
    version, refusal = prospect.version, prospect.refusal
    return {
        "image": prospect.recipe.name,
        "base": prospect.recipe.base,
        "notes": prospect.notes,
        "differences": prospect.differences,
        "refused": refusal.problems if refusal else (),
        "version": version.label if version else None,
    }


def _document(prospect: Prospect) -> dict[str, Any]:
    from pipeline.build.plan import where_of

    stages = [
        {
            "name": ahead.placed.stage.name,
            "type": ahead.placed.stage.__struct_config__.tag,
            "place": where_of(ahead.placed),
            "state": ahead.state,
            "key": ahead.planned.key if ahead.planned else None,
        }
        for ahead in prospect.stages
    ]
    return {**summary(prospect), "stages": stages}


def _lines(prospect: Prospect) -> list[str]:
    from pipeline.build.plan import where_of
    from pipeline.build.prospect import CACHED

    rows = [
        (
            ahead.placed.stage.name,
            str(ahead.placed.stage.__struct_config__.tag),
            ahead.state,
            where_of(ahead.placed),
        )
        for ahead in prospect.stages
    ]
    cached = sum(ahead.state == CACHED for ahead in prospect.stages)
    return [
        *head(prospect),
        table(("stage", "type", "", "written at"), rows),
        f"{cached} of {len(rows)} stages are cached",
    ]
