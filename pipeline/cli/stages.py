"""Print the stage types there are, or the manual of one."""

from __future__ import annotations

import argparse
import inspect
import json

from pipeline import stages
from pipeline.errors import UsageError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", nargs="?", metavar="TYPE", help="print the manual of this type")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    names = stages.names()
    if options.type is not None and options.type not in names:
        raise UsageError(
            f"there is no stage type {options.type!r}",
            hint=f"there are {', '.join(names)}",
            command="pipeline stages",
        )
    wanted = names if options.type is None else (options.type,)
    manuals = {name: inspect.getdoc(stages.stage_type(name)) or "" for name in wanted}
    if options.json:
        print(json.dumps(manuals, indent=2))
    elif options.type is not None:
        print(manuals[options.type])
    else:
        for name, manual in manuals.items():
            print(f"{name:<12} {manual.splitlines()[0]}")
        print("\npipeline stages TYPE shows the manual of one.")
    return 0
