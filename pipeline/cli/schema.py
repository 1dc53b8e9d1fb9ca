"""Print the JSON Schema by which editors complete and check recipes, fragments and site files."""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("of", nargs="?", choices=("recipe", "fragment", "site"), default="recipe")


def run(options: argparse.Namespace) -> int:
    from pipeline.recipe.schema import schema

    print(json.dumps(schema(options.of), indent=2))
    return 0
