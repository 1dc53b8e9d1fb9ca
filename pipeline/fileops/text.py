"""Texts as lists of lines, such that joining the lines again gives the very same bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

Lines = list[str]
"""The lines of a file, each with its own ending (``\\n``, ``\\r\\n``, or nothing in the last one)."""

NEAREST = 3


def decode(content: bytes) -> str:
    """Any bytes as text; ``encode`` gives the same bytes back, valid UTF-8 or not."""
    return content.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes of a text that ``decode`` made."""
    return text.encode("utf-8", "surrogateescape")


def split(text: str) -> Lines:
    """The lines with their endings. Only a line feed ends a line, unlike in ``str.splitlines``."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def body(line: str) -> str:
    """A line without its ending."""
    return line.removesuffix("\n").removesuffix("\r") if line.endswith("\n") else line


def ending(line: str) -> str:
    """How a line ends: ``\\n``, ``\\r\\n``, or nothing."""
    return line[len(body(line)) :]


def usual_ending(lines: Sequence[str]) -> str:
    """How the lines of this file end: as its first line does."""
    return (ending(lines[0]) if lines else "") or "\n"


def put(lines: Sequence[str], start: int, end: int, bodies: Sequence[str]) -> Lines:
    """``lines`` with ``start:end`` replaced by ``bodies``, in the file's line ending.

    A file whose last line has no ending still has none afterwards, unless that line is empty now.
    """
    newline = usual_ending(lines)
    result = [*lines[:start], *(text + newline for text in bodies), *lines[end:]]
    open_ended = bool(lines) and not ending(lines[-1])
    closed = [line if ending(line) else line + newline for line in result]
    if open_ended and closed and body(closed[-1]):
        closed[-1] = body(closed[-1])
    return closed


def nearest(wanted: str, lines: Sequence[str], first: int = 0) -> str | None:
    """A hint that shows the lines most like the pattern or text ``wanted``; None when none is.

    ``first`` is the number of the line before ``lines[0]``.
    """
    plain = _words(re.sub(r"\\[a-zA-Z]", " ", wanted))
    scored = [(_likeness(plain, _words(body(line))), number) for number, line in enumerate(lines)]
    best = sorted((pair for pair in scored if pair[0] >= 0.5), key=lambda pair: (-pair[0], pair[1]))[:NEAREST]
    if not best:
        return None
    shown = (f"line {first + number + 1} {body(lines[number])!r}" for _, number in best)
    return f"nearest: {', '.join(shown)}"


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text)).casefold()


def _likeness(one: str, other: str) -> float:
    if not one or not other:
        return 0.0
    matcher = SequenceMatcher(None, one, other)
    return matcher.ratio() if matcher.quick_ratio() >= 0.5 else 0.0
