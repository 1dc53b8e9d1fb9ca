"""Reading INI files as oslo.config and configparser do, with the place of everything in the file.

A line that begins with ``#`` or ``;`` is a comment, ``[name]`` begins a section, ``key = value`` is
an option, and a line indented deeper than its option continues its value (oslo.config's ``iniparser``;
configparser, "Supported INI File Structure"). A comment behind a value is part of the value for both.
What stands before the first section is in the section ``""``: all of a file of ``KEY=value`` lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from pipeline.fileops.text import body

HEADER = re.compile(r"\s*\[(?P<name>[^\]]*)\]\s*([#;].*)?$")
COMMENT = re.compile(r"\s*[#;]")
OPTION = re.compile(r"(?P<indent>\s*)(?P<key>[^=:\s][^=:]*?)(?P<delimiter>\s*[=:]\s*|\s*$)(?P<value>.*?)\s*$")
COMMENTED = re.compile(
    r"(?P<indent>\s*)[#;]\s*(?P<key>[^=:\s][^=:]*?)(?P<delimiter>\s*=\s*)(?P<value>.*?)\s*$"
)


class Option(msgspec.Struct, frozen=True):
    """A ``key = value`` in the lines ``start:end``, counted from 0.

    ``value`` has a line feed at each continuation; ``delimiter`` is what stands between the two, with its
    blanks, and empty for a key alone.
    """

    key: str
    value: str
    start: int
    end: int
    indent: str
    delimiter: str


class Part(msgspec.Struct, frozen=True):
    """The lines ``start:end`` under a header; a section may have several.

    ``commented`` are options that stand in comments (``#key = value``).
    """

    section: str
    start: int
    end: int
    options: tuple[Option, ...]
    commented: tuple[Option, ...]


def parse(lines: Sequence[str]) -> tuple[Part, ...]:
    """The parts of a file in order; the first one is always ``""``, what stands before any header."""
    parts: list[Part] = []
    name, start, number = "", 0, 0
    found: list[Option] = []
    commented: list[Option] = []
    while number < len(lines):
        text = body(lines[number])
        number += 1
        if match := HEADER.match(text):
            parts.append(Part(name, start, number - 1, tuple(found), tuple(commented)))
            name, start, found, commented = match["name"].strip(), number, [], []
        elif COMMENT.match(text):
            if match := COMMENTED.match(text):
                commented.append(_option(match, number - 1, number, ()))
        elif match := OPTION.match(text):
            end = _value_end(lines, number, match["indent"])
            found.append(_option(match, number - 1, end, lines[number:end]))
            number = end
    return (*parts, Part(name, start, len(lines), tuple(found), tuple(commented)))


def options(parts: Sequence[Part], section: str, key: str) -> list[Option]:
    """Every option ``key`` of ``section``, in order."""
    return [
        option for part in parts if part.section == section for option in part.options if option.key == key
    ]


def _option(match: re.Match[str], start: int, end: int, continuation: Sequence[str]) -> Option:
    value = "\n".join([match["value"], *(body(line).strip() for line in continuation)])
    return Option(match["key"], value, start, end, match["indent"], match["delimiter"])


def _value_end(lines: Sequence[str], after: int, indent: str) -> int:
    """Where a value ends that may go on from line ``after``; comments at its end are not part of it."""
    end = after
    for number in range(after, len(lines)):
        text = body(lines[number])
        if not text.strip() or len(text) - len(text.lstrip()) <= len(indent):
            break
        if not COMMENT.match(text):
            end = number + 1
    return end
