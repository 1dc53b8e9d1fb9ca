"""The lab: base images and a vendor, built on this machine, to try everything without a cluster."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", choices=("build", "status"), help="build what is missing, or say what is there"
    )
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
    if options.what == "build":
        require_root()
        prepare(site, PlainLog(sys.stderr, verbose=False))
    mirror = site.lab / "mirror"
    if options.json:
        bases = {name: _place(path) for name, path in sorted(site.bases.items())}
        print(json.dumps({"bases": bases, "vendor": _place(mirror)}, indent=2))
        return 0
    for name, path in (*sorted(site.bases.items()), ("vendor", mirror)):
        print(f"{name}: {path if path.is_dir() else 'not built'}")
    return 0


def _place(path: Path) -> dict[str, object]:
    return {"path": str(path), "built": path.is_dir()}
