"""Say what differs between two versions, of one image or of two: packages, kernel, parameters, files.

What both have in common is not read. Times of files do not count, but they are told of a base in which
nothing else changed. On a terminal more than 200 lines are
counted instead, as --stat does it: "| less" shows them, --files some of them.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from pipeline.cli.text import size
from pipeline.printable import on_one_line, plain

if TYPE_CHECKING:
    from pipeline.build.difference import Difference, Value
    from pipeline.store.compare import FileChange

MOST_LINES = 200
"""More are not written to a terminal, where nobody would see the first of them."""

SIGNS = {"added": "+", "removed": "-", "changed": "~"}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="IMAGE[@N]", help="without @N the newest one")
    parser.add_argument("new", metavar="IMAGE[@M]")
    parser.add_argument(
        "--files", metavar="PATTERN", help="only files whose path matches; * matches / as well"
    )
    parser.add_argument("--stat", action="store_true", help="counts instead of names of files and packages")
    parser.add_argument("--text", metavar="PATH", help="the lines that differ in this one text file")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def run(options: argparse.Namespace) -> int:
    import msgspec

    from pipeline.build.difference import difference, is_called, text_difference
    from pipeline.recipe.site import load_site
    from pipeline.store.store import Store

    store = Store.open(load_site(options.site).store, create=False)
    old, new = store.versions.resolve(options.old), store.versions.resolve(options.new)
    if options.text is not None:
        lines = text_difference(store, old, new, options.text)
        if options.json:
            print(msgspec.json.encode({"path": on_one_line(options.text), "lines": lines}).decode())
        else:
            told = [plain(line) for line in lines] or [f"{on_one_line(options.text)} is the same in both"]
            print("\n".join(told))
        return 0
    found = difference(store, old, new)
    if options.files is not None:
        pattern = options.files if options.files.startswith(("/", "*")) else f"/{options.files}"
        files = tuple(file for file in found.files if is_called(file, pattern))
        found = msgspec.structs.replace(found, files=files)
    if options.json:
        document = {**msgspec.structs.asdict(found), "stat": _counts(found)}
        if options.stat:
            document |= {"packages": (), "files": ()}
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
    else:
        print("\n".join(_shown(found, stat=options.stat, terminal=sys.stdout.isatty())))
    return 0


def _shown(found: Difference, *, stat: bool, terminal: bool) -> list[str]:
    lines = _lines(found, stat=stat)
    if stat or not terminal or len(lines) <= MOST_LINES:
        return lines
    hint = f'{len(lines)} lines in all: "| less" after the command shows them, --files PATTERN some of them'
    return [*_lines(found, stat=True), hint]


def _counts(found: Difference) -> dict[str, dict[str, int]]:
    packages = ["changed" if old and new else "added" if new else "removed" for old, new in found.packages]
    files = [file.change for file in found.files]
    return {
        "packages": {change: packages.count(change) for change in SIGNS},
        "files": {
            **{change: files.count(change) for change in SIGNS},
            "bytes": sum(file.bytes for file in found.files),
        },
    }


def _lines(found: Difference, *, stat: bool) -> list[str]:
    lines = [f"{found.old} → {found.new}"]
    for title, values in (
        ("", found.facts),
        ("kernel parameters", found.kernel_parameters),
        ("parameters", found.parameters),
    ):
        lines += [title] if title and values else []
        lines += [_value(value, as_written=title == "parameters") for value in values]
        if not title and found.base_changes:
            lines.append(on_one_line(f"  changed in the base: {found.base_changes}"))
    counts = _counts(found)
    files = [told_change(file) for file in found.files]
    for title, items in (("packages", _packages(found)), ("files", files)):
        if not items:
            continue
        count = ", ".join(f"{number} {change}" for change, number in counts[title].items() if change in SIGNS)
        grown = f", {_grown(counts['files']['bytes'])}" if title == "files" else ""
        lines.append(f"{title}: {count}{grown}")
        lines += [] if stat else items
    return lines if len(lines) > 1 else [*lines, "nothing differs"]


def _value(value: Value, *, as_written: bool) -> str:
    """``as_written``: a recipe's value, as a recipe has it."""

    def shown(side: object) -> str:
        text = json.dumps(side, ensure_ascii=False) if as_written else str(side)
        return "none" if side is None else on_one_line(text)

    return f"  {on_one_line(value.name)}: {shown(value.old)} → {shown(value.new)}"


def _packages(found: Difference) -> list[str]:
    return [
        f"  ~ {old} → {new}" if old and new else f"  + {new}" if new else f"  - {old}"
        for old, new in found.packages
    ]


def told_change(file: FileChange) -> str:
    """A path that differs, and in what, as one line."""
    parts = []
    for name, (old, new) in file.fields.items():
        if name == "sha256":
            parts.append("content")
        elif name == "xattrs":
            names = sorted(
                key for key in {*(old or {}), *(new or {})} if (old or {}).get(key) != (new or {}).get(key)
            )
            parts.append(f"xattrs {', '.join(names)}")
        elif name == "size":
            parts.append(f"size {old} → {new}" if None not in (old, new) else "")
        else:
            parts.append(f"{name} {'none' if old is None else old} → {'none' if new is None else new}")
    what = ", ".join(part for part in parts if part)
    kind = file.type if file.type != "file" else ""
    told = ", ".join(part for part in (kind, what) if part)
    return on_one_line(f"  {SIGNS[file.change]} {file.path}" + (f"  ({told})" if told else ""))


def _grown(count: int) -> str:
    return f"{'-' if count < 0 else '+'}{size(abs(count))}"
