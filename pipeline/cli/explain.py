"""Say why each stage of an image would run again, and since when the others are cached. Changes nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pipeline.cli.text import when
from pipeline.printable import on_one_line

if TYPE_CHECKING:
    from pipeline.build.explaining import Explained


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("stage", metavar="STAGE", nargs="?", help="this stage only")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.explaining import explain
    from pipeline.build.prospect import prospects, store_to_look_at
    from pipeline.build.session import recipes_of
    from pipeline.cli.plan import head, refused, summary
    from pipeline.errors import UsageError
    from pipeline.nearest import nearest
    from pipeline.recipe.site import load_site

    site = load_site(options.site)
    recipes = recipes_of(site, (options.image,))
    names = [
        placed.stage.name for recipe in recipes for placed in recipe.stages if recipe.name == options.image
    ]
    if options.stage is not None and options.stage not in names:
        raise UsageError(
            f"{options.image} has no stage {options.stage!r}{nearest(options.stage, names)}",
            hint=f"its stages are {', '.join(names)}",
            command=f"pipeline explain {options.image}",
        )
    with store_to_look_at(site) as store:
        found = next(each for each in prospects(site, recipes, store) if each.recipe.name == options.image)
        stages = [each for each in explain(found, store) if options.stage in (None, each.name)]
    if options.json:
        import msgspec

        document = {**summary(found), "stages": stages}
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        print("\n".join([*head(found), *(line for stage in stages for line in _lines(stage))]))
    return refused([found])


def _lines(stage: Explained) -> list[str]:
    title = f"{stage.name} ({stage.type}, {stage.place}): {stage.state}"
    if stage.since is not None:
        version = f", first in {stage.version}" if stage.version else ", in no version yet"
        return [f"{title} since {when(stage.since)}{version}"]
    lines = [title + (f"; compared with {stage.compared}" if stage.compared else "")]
    for reason in stage.reasons:
        lines.append(f"  {on_one_line(reason.message)}")
        lines += [f"    {on_one_line(detail)}" for detail in reason.details]
    return lines
