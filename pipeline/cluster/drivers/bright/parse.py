"""What cmsh prints, as data: tables, JSON, single values; without the events that come in between.

Output is read strictly from its beginning to its end: what isn't what was asked for is an error text, and is
told as it is. So nothing depends on how errors are worded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from pipeline.cluster.drivers.bright.words import label

EVENT = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?:[A-Z]{2,5} )?\d{4} \[\w+\] "
)
"""``Mon Jul 18 16:13:04 2011 [notice] basecm11: …``"""

DASHES = re.compile(r"-{2,}(?: +-{2,})*\s*\Z")

BLANKS = re.compile(r"\s*")

STATUS = re.compile(r"(?P<name>\S+)\s+\.*\s*\[\s*(?P<status>.+?)\s*\]")
"""``opensm          [    UP    ]``, and with dots as `device status` prints it."""

UNREACHABLE = re.compile(
    r"\W*(?:error\W+|cmsh\W+|CMMain::\w+\W.*?)?"
    r"(?:not connected!|CMMain::verifyAPI|connection (?:refused|lost)"
    r"|could ?n[o']t (?:connect|resolve host))",
    re.IGNORECASE,
)
"""How a line begins with which cmsh says that it has no connection."""

LAST_LINES = 2
"""Of what it prints, with which it ends then; before them are data, in which such words may stand."""

TROUBLE = re.compile(
    r"(?i)\b(error|fail(ed|ure)?|illegal|invalid|unknown|not found|no such|does ?n[o']t exist|refused"
    r"|cannot|can't|could ?n[o']t|unable|not allowed|denied|already exists|must)\b"
)
"""Words of an error among the output of commands that print nothing, or only that all went well."""

DONE = re.compile(r"Successfully committed \d+ |All good|Waiting |Copying |Cloning ", re.IGNORECASE)

Row = Mapping[str, object]
"""A line of a table: cmsh's property names and what stands under them."""


CUT = object()
"""Stands for a cell that was cut off, in a table of which single rows may be unknown."""


class UnexpectedError(Exception):
    """Something else than what was asked for; the text is what cmsh printed there."""


class Refusal(msgspec.Struct, frozen=True):
    """A line of a failed validation: cmsh's property, and why."""

    field: str
    message: str


def plain(text: str) -> str:
    """``text`` without the lines of events."""
    return "".join(line for line in text.splitlines(keepends=True) if not EVENT.match(line))


def unreachable(out: str, err: str) -> bool:
    """Whether cmsh says that it has no connection, or lost it."""
    last = [line for line in plain(out).splitlines() if line.strip()][-LAST_LINES:]
    return any(UNREACHABLE.match(line) for line in (*last, *err.splitlines()))


class Answer:
    """The output of several commands, taken piece by piece."""

    def __init__(self, text: str, *, as_json: bool) -> None:
        self._text = plain(text)
        self._at = 0
        self._json = as_json
        self._decoder = json.JSONDecoder()

    def rest(self) -> str:
        """What has not been taken."""
        return self._text[self._at :].strip()

    def line(self) -> str | None:
        """The next line that isn't blank, not taken yet; None at the end."""
        self._at = BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches anything
        if self._at == len(self._text):
            return None
        stop = self._text.find("\n", self._at)
        return self._text[self._at : stop if stop >= 0 else None].rstrip()

    def name(self, names: Collection[str]) -> str:
        """Take a line that is one of ``names``."""
        line = self.line()
        if line is None or line not in names:
            raise UnexpectedError(self.rest() or "nothing")
        self._at += len(line)
        return line

    def take_line(self) -> str:
        """Take a line, whatever it is."""
        line = self.line()
        if line is None:
            raise UnexpectedError("nothing")
        self._at += len(line)
        return line

    def between(self, name: str) -> str:
        """Take a text of several lines up to a line that is ``name``, the last one before another answer."""
        end = re.compile(rf"^{re.escape(name)}\s*$", re.MULTILINE).search(self._text, self._at)
        if end is None:
            raise UnexpectedError(self.rest() or "nothing")
        text, self._at = self._text[self._at : end.start()], end.end()
        return text.removeprefix("\n")

    def lines(self, like: re.Pattern[str]) -> list[str]:
        """Take lines as long as they are ``like`` this."""
        taken: list[str] = []
        while (line := self.line()) is not None and like.match(line):
            taken.append(line)
            self._at += len(line)
        return taken

    def table(self, columns: Sequence[str], stop: Collection[str] = ()) -> list[Row]:
        """Take a list with these ``columns``. An empty one may print nothing; ``stop`` is what may follow."""
        line = self.line()
        if line is None or line in stop:
            return []
        rows = self._array() if self._json else self._padded(stop)
        for row in rows[:1]:
            if set(row) != set(columns):
                raise UnexpectedError(
                    f"a table with the columns {', '.join(row)} instead of {', '.join(columns)}"
                )
        return rows

    def array(self) -> list[Row]:
        """Take an array in JSON, whatever its columns."""
        if self.line() is None:
            raise UnexpectedError("nothing")
        return self._array()

    def any_table(self) -> list[Row]:
        """Take a padded table, whatever its columns; cells that were cut off are ``CUT``."""
        return self._padded((), _known) if self.line() is not None else []

    def until_last(self, end: re.Pattern[str]) -> str:
        """Take everything before the last place that is like ``end``."""
        places = [match.start() for match in end.finditer(self._text, self._at)]
        if not places:
            raise UnexpectedError(self.rest() or "nothing")
        text, self._at = self._text[self._at : places[-1]], places[-1]
        return text

    def _array(self) -> list[Row]:
        if self._text[self._at] != "[":
            raise UnexpectedError(self.rest())
        try:
            found, self._at = self._decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError:
            raise UnexpectedError(self.rest()) from None
        labels: dict[str, str] = {}
        rows: list[Row] = []
        for row in found:
            if not isinstance(row, dict):
                raise UnexpectedError(json.dumps(row))
            if not labels.keys() >= row.keys():
                labels.update((name, label(name)) for name in row)
            rows.append({labels[name]: value for name, value in row.items()})
        return rows

    def _padded(
        self, stop: Collection[str], value: Callable[[tuple[str, int]], object] | None = None
    ) -> list[Row]:
        """A table whose columns are as wide as the dashes under the header; ``value`` is for its cells."""
        start = self._at
        lines = self._text[start:].split("\n", 2)
        if len(lines) < 2 or not DASHES.match(lines[1]):
            raise UnexpectedError(self.rest())
        spans = [match.span() for match in re.finditer(r"-+", lines[1])]
        names = [label(cell) for cell, _ in _cells(lines[0], spans)]
        self._at = start + len(lines[0]) + 1 + len(lines[1])
        rows: list[Row] = []
        while (line := self.line()) is not None and line not in stop and not self._header_follows():
            rows.append(dict(zip(names, map(value or _whole, _cells(line, spans)), strict=True)))
            self._at += len(line)
        return rows

    def _header_follows(self) -> bool:
        following = self._text.find("\n", self._at)
        if following < 0:
            return False
        end = self._text.find("\n", following + 1)
        return bool(DASHES.match(self._text[following + 1 : end if end >= 0 else len(self._text)]))


def _cells(line: str, spans: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    """Each cell and the width of its column."""
    return [(line[start:end].strip(), end - start) for start, end in spans]


def _whole(cell: tuple[str, int]) -> str:
    """A cell that isn't cut off: cmsh marks one that is with ``+`` in the column's last place."""
    if _known(cell) is CUT:
        raise UnexpectedError(f"a value that was cut off after {cell[1]} characters: {cell[0]}")
    return cell[0]


def _known(cell: tuple[str, int]) -> object:
    text, width = cell
    return CUT if len(text) >= width and text.endswith("+") else text


def refusals(lines: Sequence[str]) -> list[Refusal]:
    """The rows of validation tables (Code, Field, Message) among ``lines``."""
    found: list[Refusal] = []
    spans: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        if DASHES.match(line) and number and lines[number - 1].split()[:1] == ["Code"]:
            spans = [match.span() for match in re.finditer(r"-+", line)]
        elif spans and len(spans) >= 3 and line.split()[:1] and line.split()[0].isdigit():
            field, message = line[spans[1][0] : spans[1][1]].strip(), line[spans[2][0] :].strip()
            found.append(Refusal(field, message))
        elif spans and found and line.startswith(" " * spans[2][0]):
            found[-1] = Refusal(found[-1].field, f"{found[-1].message} {line.strip()}")
        else:
            spans = []
    return found


def troubles(lines: Sequence[str]) -> list[str]:
    """Lines that say that something went wrong."""
    return [line.strip() for line in lines if TROUBLE.search(line) and not DONE.match(line.strip())]
