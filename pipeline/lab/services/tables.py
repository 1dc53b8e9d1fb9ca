"""Rows as OpenStack's clients print them: a table drawn with lines, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.lab.services.options import RefusedError


def printed(rows: Sequence[Mapping[str, Any]], options: Mapping[str, str]) -> str:
    """``-f`` is the format, ``-c`` the one column that is wanted."""
    wanted = options.get("-c")
    if wanted is not None and rows and wanted not in rows[0]:
        raise RefusedError(f"No recognized column names in ['{wanted}'].")
    shown = [{wanted: row[wanted]} if wanted is not None else dict(row) for row in rows]
    kind = options.get("-f", "table")
    if kind == "json":
        return json.dumps(shown, indent=2)
    if kind == "csv":
        return _csv(shown)
    if kind != "table":
        raise RefusedError(f"error: argument -f/--format: invalid choice: '{kind}'", 2)
    return _drawn(shown)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().replace("\r\n", "\n").rstrip("\n")


def _drawn(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    names = list(rows[0])
    cells = [names, *([str("" if row[name] is None else row[name]) for name in names] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(names))]
    line = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    return "\n".join([line, texts[0], line, *texts[1:], line])
