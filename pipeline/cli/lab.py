"""The lab: base images, a vendor and a head node on this machine, to try everything without a cluster."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=("build", "head", "status"),
        help="build what is missing, only the head node, or say what is there",
    )
    parser.add_argument("--reset", action="store_true", help="with head: as it was at first")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.build.session import prepare, require_root
    from pipeline.cli.progress import PlainLog
    from pipeline.errors import UsageError
    from pipeline.interrupts import work_begins
    from pipeline.recipe.site import load_site

    site = load_site(options.site)
    work_begins()
    if site.lab is None:
        raise UsageError(
            f"{site.file} is no lab", hint='a site is the lab when it has a table [lab] with home = "…"'
        )
    if options.reset and options.what != "head":
        raise UsageError("--reset goes with head only")
    if options.what == "head":
        _head(site.lab / "head", reset=options.reset)
    elif options.what == "build":
        require_root()
        prepare(site, PlainLog(sys.stderr, verbose=False))
    mirror, head = site.lab / "mirror", site.lab / "head"
    if options.json:
        bases = {name: _place(path) for name, path in sorted(site.bases.items())}
        print(json.dumps({"bases": bases, "vendor": _place(mirror), "head": _place(head)}, indent=2))
        return 0
    for name, path in (*sorted(site.bases.items()), ("vendor", mirror), ("head", head)):
        print(f"{name}: {path if path.is_dir() else 'not built'}")
    return 0


def _head(directory: Path, *, reset: bool) -> None:
    from pipeline.lab.head import start

    if reset:
        start.make(directory)
    else:
        start.ensure(directory)


def _place(path: Path) -> dict[str, object]:
    return {"path": str(path), "built": path.is_dir()}
