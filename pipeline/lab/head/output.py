"""What cmsh prints: lines with other people's events between them, tables with the real padding."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

SHOW_WIDTHS = (32, 48)
EVENT_AFTER = 5
"""Somebody else's event comes after so many lines."""

BOLD, PLAIN = "\x1b[1m", "\x1b[0m"


class Column(NamedTuple):
    label: str
    width: int


class Output:
    """``events`` says whether events are shown, ``noise`` whether there are events of others as well."""

    def __init__(self, *, events: bool, noise: bool, color: bool, errors_to_stdout: bool) -> None:
        self.events = events
        self.noise = noise
        self.color = color
        self.errors_to_stdout = errors_to_stdout
        self._lines = 0
        self._captured: list[str] | None = None

    def line(self, text: str = "") -> None:
        """One or more lines of output."""
        for one in text.split("\n"):
            self._write(one)
            self._lines += 1
            if self.noise and self._lines % EVENT_AFTER == 0:
                self._write(f"{_now()} [notice] basecm11: Provisioning completed on node node001")

    def event(self, source: str, text: str) -> None:
        """An event of this cluster."""
        if self.events:
            self._write(f"{_now()} [notice] {source}: {text}")

    def error(self, text: str) -> None:
        if self.errors_to_stdout:
            self._write(text)
        else:
            sys.stderr.write(f"{text}\n")

    def bold(self, text: str) -> None:
        """A table's header."""
        self.line(f"{BOLD}{text}{PLAIN}" if self.color else text)

    def begin_tail(self) -> None:
        """From here on lines are for a shell command."""
        self._captured = []

    def end_tail(self, tail: str, root: str) -> None:
        """Give what was printed to ``| command`` or ``> file``."""
        text = "".join(f"{one}\n" for one in self._captured or ())
        self._captured = None
        self.shell(f"cat {tail}", root, text)

    def shell(self, command: str, root: str, stdin: str = "") -> None:
        """Run a shell command in the head node's root directory."""
        import subprocess  # slow

        sys.stdout.flush()
        done = subprocess.run(
            ["/bin/sh", "-c", command], input=stdin, cwd=root, text=True, stdout=subprocess.PIPE, check=False
        )
        sys.stdout.write(done.stdout)

    def _write(self, line: str) -> None:
        if self._captured is not None:
            self._captured.append(line)
        else:
            sys.stdout.write(f"{line}\n")


def _now() -> str:
    return time.strftime("%a %b %d %H:%M:%S %Y")


def cell(text: str, width: int) -> str:
    """``text`` in a column: too long ends in ``+``."""
    return f"{text[: width - 1]}+" if len(text) > width else text.ljust(width)


def table(out: Output, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    out.bold(" ".join(cell(one.label, one.width) for one in columns).rstrip())
    out.line(" ".join("-" * one.width for one in columns))
    for row in rows:
        out.line(" ".join(cell(text, one.width) for text, one in zip(row, columns, strict=True)).rstrip())


def delimited(out: Output, delimiter: str, labels: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Whole cells, whatever is in them."""
    out.bold(delimiter.join(labels))
    for row in rows:
        out.line(delimiter.join(row))


def json_list(out: Output, labels: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """An array of objects, the labels as keys; with colour it isn't JSON."""
    text = json.dumps([dict(zip(labels, row, strict=True)) for row in rows], indent=2)
    out.line(f"{BOLD}{text}{PLAIN}" if out.color else text)


def parameters(out: Output, rows: Sequence[tuple[str, str]]) -> None:
    """The two columns of ``show``; values are not cut."""
    first, second = SHOW_WIDTHS
    out.bold(f"{'Parameter':<{first}} Value")
    out.line(f"{'-' * first} {'-' * second}")
    for label, value in rows:
        out.line(f"{label:<{first}} {value}".rstrip())
