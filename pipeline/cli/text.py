"""Tables and figures as a terminal or a log shows them."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.printable import on_one_line

UNITS = ("B", "kB", "MB", "GB", "TB")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> str:
    """``rows`` under ``head``, columns aligned; those in ``right`` to the right."""
    lines = [[on_one_line(cell) for cell in line] for line in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def size(count: float) -> str:
    """Bytes as people say them, in powers of 1,000: ``12.3 MB``."""
    for unit in UNITS:
        if count < 1000 or unit == UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def seconds(count: float) -> str:
    """``0.04 s``, ``12.3 s``, ``3 min 05 s``."""
    if count < 10:
        return f"{count:.2f} s"
    if count < 100:
        return f"{count:.1f} s"
    return f"{int(count) // 60} min {int(count) % 60:02d} s"


def when(moment: float) -> str:
    """A time in this machine's zone, to the second."""
    from datetime import datetime

    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
