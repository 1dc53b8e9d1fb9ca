"""The lab: base images, vendor, head node and nodes on this machine, to try everything without a cluster."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.recipe.model import Site

HELP = """\
build: what is missing of it · head: the head node alone · up: run nodes, until down · fault: have something
go wrong, as in "lab fault node002 never-returns", "lab fault head dead"; "none" heals it · status: what is
there
"""
OF_UP = {"nodes": 3, "virtual": 0}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("build", "head", "up", "down", "fault", "status"), help=HELP)
    parser.add_argument("words", nargs="*", metavar="WORD", help="with fault: a node, head or ceph; and what")
    parser.add_argument("--reset", action="store_true", help="with head: as it was at first")
    parser.add_argument("--nodes", type=int, metavar="N", help="with up: so many nodes (default: 3)")
    parser.add_argument(
        "--virtual", type=int, metavar="N", help="with up: so many virtual nodes (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    from pipeline.errors import UsageError
    from pipeline.interrupts import work_begins
    from pipeline.recipe.site import load_site

    site = load_site(options.site)
    work_begins()
    if site.lab is None:
        raise UsageError(
            f"{site.file} is no lab", hint='a site is the lab when it has a table [lab] with home = "…"'
        )
    _check(options)
    match options.what:
        case "head":
            _head(site, site.lab / "head", reset=options.reset)
        case "build":
            _build(site)
        case "up":
            _up(site, site.lab, options)
        case "down":
            _down(site.lab)
        case "fault":
            _fault(site.lab, options.words)
    _show(site, site.lab, as_json=options.json)
    return 0


def _check(options: argparse.Namespace) -> None:
    from pipeline.errors import UsageError

    if options.reset and options.what != "head":
        raise UsageError("--reset goes with head only")
    if options.what != "up" and (options.nodes is not None or options.virtual is not None):
        raise UsageError("--nodes and --virtual go with up only")
    if options.words and options.what != "fault":
        raise UsageError(f"lab {options.what} takes no more words")


def _build(site: Site) -> None:
    from pipeline.build.session import prepare, require_root
    from pipeline.cli.progress import PlainLog

    require_root()
    prepare(site, PlainLog(sys.stderr, verbose=False))


def _head(site: Site, directory: Path, *, reset: bool) -> None:
    from pipeline.lab.head import images, start

    if reset:
        start.make(directory)
    else:
        start.ensure(directory)
    images.see(directory, site.images)


def _up(site: Site, home: Path, options: argparse.Namespace) -> None:
    from pipeline.lab.nodes import running

    _build(site)
    _head(site, home / "head", reset=False)
    count = OF_UP["nodes"] if options.nodes is None else options.nodes
    virtual = OF_UP["virtual"] if options.virtual is None else options.virtual
    if not running.up(home, count, virtual, lambda line: print(f"lab: {line}", file=sys.stderr)):
        print("lab: the nodes are up already", file=sys.stderr)


def _down(home: Path) -> None:
    from pipeline.lab.nodes import running

    if not running.down(home):
        print("lab: no nodes are up", file=sys.stderr)


def _fault(home: Path, words: list[str]) -> None:
    from pipeline.lab.nodes import breaking

    breaking.put(home, words)


def _show(site: Site, home: Path, *, as_json: bool) -> None:
    from pipeline.lab.nodes import running

    mirror, head = home / "mirror", home / "head"
    nodes = running.nodes(home)
    if as_json:
        bases = {name: _place(path) for name, path in sorted(site.bases.items())}
        told = {
            one.name: {"state": one.state, "message": one.message, "address": one.address, "log": one.log}
            for one in nodes
        }
        document = {"bases": bases, "vendor": _place(mirror), "head": _place(head), "nodes": told}
        print(json.dumps(document, indent=2))
        return
    for name, path in (*sorted(site.bases.items()), ("vendor", mirror), ("head", head)):
        print(f"{name}: {path if path.is_dir() else 'not built'}")
    for one in nodes:
        print(f"{one.name}: {one.state}{f' ({one.message})' if one.message else ''} {one.address}")


def _place(path: Path) -> dict[str, object]:
    return {"path": str(path), "built": path.is_dir()}
