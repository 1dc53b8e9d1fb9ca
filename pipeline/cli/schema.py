"""Print the JSON Schema by which editors complete and check recipes, fragments, cluster and site files."""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("of", nargs="?", choices=("recipe", "fragment", "site", "cluster"), default="recipe")


def run(options: argparse.Namespace) -> int:
    from pipeline.cluster.schema import schema as cluster_schema
    from pipeline.recipe.schema import schema

    found = cluster_schema() if options.of == "cluster" else schema(options.of)
    print(json.dumps(found, indent=2))
    return 0
