"""All that is no TOML in a file, though tomllib stops at the first mistake.

The statement in which tomllib stops is taken out, and the rest is read again. No line that is right may ever
be blamed: so reading goes on only at a line that begins a statement whatever stands before it, and not at all
where nobody can tell any more what is inside of quotes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

MOST = 10
"""So many mistakes of a file are told."""

TRIES = 50
FARTHEST = 200
"""So many lines back the beginning of a statement is looked for."""

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\\]*"|'[^']*')"""
ASSIGNMENT = re.compile(rf"[ \t]*{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*[ \t]*=")

HEADER = re.compile(r"\[{1,2}(?!(?:true|false|inf|nan)\])[A-Za-z_][\w.-]*\]{1,2}[ \t]*(?:#.*)?$")
"""The header of a table that can be no element of an array: its name begins with a letter."""

QUOTES = ('"""', "'''")

CLASH = "Cannot "
"""So tomllib's words begin for a statement that is well-formed, and at odds with one before it. After a first
mistake that says nothing: the header of a table may be what is missing."""

Error: TypeAlias = tuple[int, int | None, str]
"""(line, column, words) of tomllib; no column where the document ends too early."""


class Mistake(msgspec.Struct, frozen=True):
    """What is no TOML, and in which line (from 1)."""

    line: int
    message: str


def mistakes(text: str) -> list[Mistake]:
    """What is wrong with a text that is no TOML, from top to bottom.

    The first is what tomllib says, where it says so; the others stand where their statement begins.
    """
    text = text.replace("\r\n", "\n")
    error = _error(text)
    if error is None:
        return []
    found = [_told(error, error[0])]
    lines = text.split("\n")
    first = _statement(lines, error[0])
    if first is None or _is_doubtful(text):
        return found
    for _ in range(TRIES):
        after = _next_statement(lines, first)
        lines[first - 1 : after - 1] = [""] * (after - first)
        error = _error("\n".join(lines))
        if error is None:
            break
        first = _statement(lines, error[0])
        if first is None:
            break
        if not error[2].startswith(CLASH):
            found.append(_told(error, first))
        if len(found) == MOST:
            break
    return found


def _is_doubtful(text: str) -> bool:
    """Whether the quotes of texts of several lines do not come in pairs, or only with those in comments."""
    without = re.sub(r"#.*", "", text)
    return any(each.count(quotes) % 2 for each in (text, without) for quotes in QUOTES)


def _error(text: str) -> Error | None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The position is in the words only: "… (at line 3, column 5)", "… (at end of document)".
        words = str(error)
        position = re.search(r" \(at line (\d+), column (\d+)\)$", words)
        if position:
            return int(position[1]), int(position[2]), words[: position.start()]
        return text.count("\n", 0, len(text.rstrip())) + 1, None, words
    except (ValueError, RecursionError):  # a number with thousands of digits, arrays in arrays in …
        return None
    return None


def _told(error: Error, at: int) -> Mistake:
    line, column, words = error
    if column is None:
        return Mistake(at, f"not valid TOML: {words}")
    place = f"column {column}" if line == at else f"line {line}, column {column}"
    return Mistake(at, f"not valid TOML: {words} ({place})")


def _statement(lines: Sequence[str], line: int) -> int | None:
    """Where the statement begins that ``line`` is a part of: all before it is whole and right."""
    for number in range(line, max(0, line - FARTHEST), -1):
        if _is_toml(lines[: number - 1]):
            return number
    return None


def _is_toml(lines: Sequence[str]) -> bool:
    try:
        tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return False
    return True


def _next_statement(lines: Sequence[str], first: int) -> int:
    """Where, after the broken statement at ``first``, another one begins for certain.

    An array or inline table that seems to be open is left by a header only: an assignment could be a part of
    an inline table that somebody wrote in several lines.
    """
    open_quotes, depth = dict.fromkeys(QUOTES, 0), 0
    for number, line in enumerate(lines[first - 1 :], start=first):
        begins = HEADER.match(line) or (depth == 0 and ASSIGNMENT.match(line))
        if begins and number > first and not any(count % 2 for count in open_quotes.values()):
            return number
        for quotes in QUOTES:
            open_quotes[quotes] += line.count(quotes)
        depth += sum(line.count(sign) for sign in "[{") - sum(line.count(sign) for sign in "]}")
    return len(lines) + 1
