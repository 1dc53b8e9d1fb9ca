"""The table that a benchmark prints, and the raw figures that it keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from pipeline.cli.text import table
from tests.bench.measuring import Row

HEAD = ("what", "here", "peer", "", "ratio", "limit", "met", "runs")


def shown(rows: Sequence[Row], head: Sequence[str] = HEAD) -> str:
    """All rows as a table for a terminal."""
    return table(head, [cells(row) for row in rows], right=frozenset({1, 2, 4, 5}))


def markdown(rows: Sequence[Row]) -> str:
    """The same for docs/benchmark.md."""
    lines = [HEAD, tuple("---" for _ in HEAD), *(cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(row: Row) -> tuple[str, ...]:
    """One row, in the order of ``HEAD``."""
    name = f"{row.name} ({row.note})" if row.note else row.name
    limit = "" if row.limit is None else f"{row.limit:.2f}" if row.theirs else _amount(row.limit, row.unit)
    return (
        name,
        _amount(row.figure, row.unit),
        "" if row.peers is None else _amount(row.peers, row.unit),
        row.peer,
        "" if row.ratio is None else f"{row.ratio:.2f}",
        limit,
        {None: "", True: "yes", False: "NO"}[row.met],
        str(len(row.ours)),
    )


def keep(file: Path, machine: Mapping[str, object], rows: Sequence[Row]) -> None:
    """Write machine, figures and every single run to ``file``, as JSON."""
    figures = [
        {**asdict(row), "figure": row.figure, "peer_figure": row.peers, "ratio": row.ratio, "met": row.met}
        for row in rows
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"machine": machine, "figures": figures}, indent=1) + "\n")


def _amount(value: float, unit: str) -> str:
    if unit == "MB":
        return f"{value:.0f} MB"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
