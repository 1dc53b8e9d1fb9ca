"""Changing lines of a text: insert, replace, delete. Pure, exactly once, and the same when done again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from pipeline.errors import PipelineError
from pipeline.fileops.done import replaced_lines
from pipeline.fileops.text import Lines, body, nearest, put, split

SECTION = re.compile(r"\[[^\]]+\]\s*([#;].*)?$")
"""The header of an INI section; a line that starts a block and is none starts a block of braces."""


WAY_ON = "where it may be replaced already, let the pattern cover the whole line (^…$) of only one place"


class Insert(msgspec.Struct, frozen=True):
    """Put the line or lines ``text`` directly ``after`` or ``before`` the one that matches ``anchor``."""

    place: Literal["after", "before"]
    anchor: str
    text: str


class Replace(msgspec.Struct, frozen=True):
    """Put ``text`` for what ``pattern`` matches in one line, or in ``all``; ``\\1`` is the first group.

    With an empty ``text`` there may be nothing to replace, as with ``Delete``: nobody can tell it from done.
    """

    pattern: str
    text: str
    all: bool = False


class Delete(msgspec.Struct, frozen=True):
    """Take away the one line that matches ``pattern``, or ``all`` of them."""

    pattern: str
    all: bool = False


Change: TypeAlias = Insert | Replace | Delete


class Block(msgspec.Struct, frozen=True):
    """From the one line that matches ``within`` to the next that matches ``until``, both included.

    Without ``until`` a block that starts with ``[section]`` ends before the next section or with the file;
    any other ends with the first line that begins with ``}`` where its first line begins.
    """

    within: str
    until: str | None = None


class Edited(msgspec.Struct, frozen=True):
    """The new text; ``note`` is something that whoever asked should hear although it is no error."""

    text: str
    note: str | None = None


def edit(text: str, file: str, change: Change, block: Block | None = None) -> Edited:
    """Make ``change`` in ``text``, the content of ``file`` (named in errors only).

    Making it again gives the same text, or for a replacement whose result cannot be told for certain, an
    error. Raises ``PipelineError`` when an anchor is missing or matches more than once, and for a change
    that would never come to rest (``foo`` replaced by ``foo foo``).
    """
    edited = _edit(split(text), file, change, block)
    try:
        again = _edit(split(edited.text), file, change, block, made=True)
    except PipelineError as error:
        raise _restless(file, change, str(error)) from None
    if again.text != edited.text:
        raise _restless(file, change, "it would change the result again")
    return edited


def _edit(lines: Lines, file: str, change: Change, block: Block | None, *, made: bool = False) -> Edited:
    """``made``: the change was just made, so nothing needs to be left of what a replacement looks for."""
    start, end = _bounds(lines, file, block) if block else (0, len(lines))
    where = f" in the block of lines {start + 1}-{end}" if block else ""
    if isinstance(change, Insert):
        return Edited("".join(_insert(lines, range(start, end), file, change, where)))
    matches = [number for number in range(start, end) if re.search(change.pattern, body(lines[number]))]
    option = "replace" if isinstance(change, Replace) else "delete"
    if len(matches) > 1 and not change.all:
        raise _ambiguous(file, option, change.pattern, matches, lines, where, "give all = true to mean all")
    if not matches and (isinstance(change, Delete) or not change.text):
        hint = nearest(change.pattern, lines[start:end], start)
        note = f"{file}: nothing to {option}: no line{where} matches {change.pattern!r}"
        return Edited("".join(lines), f"{note} ({hint})" if hint else note)
    if isinstance(change, Delete):
        for number in reversed(matches):
            lines = put(lines, number, number + 1, ())
        return Edited("".join(lines))
    if not matches:
        return _replaced(lines, file, change, start, end, where) if not made else Edited("".join(lines))
    for number in reversed(matches):
        new = re.sub(change.pattern, change.text, body(lines[number]))
        lines = put(lines, number, number + 1, new.split("\n"))
    return Edited("".join(lines))


def _replaced(lines: Lines, file: str, change: Replace, start: int, end: int, where: str) -> Edited:
    """Nothing matches: the text as it is, when one line of it is for certain what would be left."""
    there = [start + number for number in replaced_lines(change.pattern, change.text, lines[start:end])]
    if len(there) == 1 or (there and change.all):
        found = f"line {there[0] + 1} is {body(lines[there[0]])!r} already"
        note = f"{file}: nothing to replace: no line{where} matches {change.pattern!r}, and {found}"
        return Edited("".join(lines), note)
    raise _missing(file, "replace", change.pattern, lines, start, end, where, WAY_ON)


def _insert(lines: Lines, block: range, file: str, change: Insert, where: str) -> Lines:
    new = change.text.removesuffix("\n").split("\n")
    matches = [number for number in block if re.search(change.anchor, body(lines[number]))]
    for number in matches:
        start = number + 1 if change.place == "after" else number - len(new)
        there = range(max(start, 0), start + len(new))
        if [body(lines[i]) for i in there if i < len(lines)] == new and _only(number, matches, there):
            return lines
    if not matches:
        raise _missing(file, change.place, change.anchor, lines, block.start, block.stop, where)
    if len(matches) > 1:
        hint = "narrow the pattern, or say within which block"
        raise _ambiguous(file, change.place, change.anchor, matches, lines, where, hint)
    at = matches[0] + 1 if change.place == "after" else matches[0]
    return put(lines, at, at, new)


def _only(number: int, matches: Sequence[int], inserted: range) -> bool:
    """Whether ``number`` is the one match, but for those in the text that was inserted itself."""
    return all(match == number or match in inserted for match in matches)


def _bounds(lines: Lines, file: str, block: Block) -> tuple[int, int]:
    starts = [number for number, line in enumerate(lines) if re.search(block.within, body(line))]
    if not starts:
        raise _missing(file, "within", block.within, lines, 0, len(lines), "")
    if len(starts) > 1:
        hint = "narrow the pattern until it matches only the first line of the block"
        raise _ambiguous(file, "within", block.within, starts, lines, "", hint)
    start = starts[0]
    end = _block_end(lines, start, block.until)
    if end is None:
        expected = f"matches until = {block.until!r}" if block.until else "begins with '}' as far to the left"
        raise PipelineError(
            f"the block that starts with {body(lines[start])!r} does not end: no line after it {expected}",
            where=f"{file}:{start + 1}",
            hint="give the last line of the block as until = 'PATTERN'",
        )
    return start, end


def _block_end(lines: Lines, start: int, until: str | None) -> int | None:
    first = body(lines[start])
    rest = range(start + 1, len(lines))
    if until is not None:
        return next((n + 1 for n in rest if re.search(until, body(lines[n]))), None)
    if SECTION.match(first):
        return next((n for n in rest if SECTION.match(body(lines[n]))), len(lines))
    if "{" in first and first.rstrip().endswith("}"):
        return start + 1
    indent = first[: len(first) - len(first.lstrip())]
    return next((n + 1 for n in rest if lines[n].startswith(indent + "}")), None)


def _missing(
    file: str, option: str, pattern: str, lines: Lines, start: int, end: int, where: str, advice: str = ""
) -> PipelineError:
    hint = nearest(pattern, lines[start:end], start) or f"no line of these {end - start} looks like it"
    return PipelineError(
        f"no line{where} matches {option} = {pattern!r}",
        where=f"{file}:{start + 1}" if where else file,
        hint=f"{hint}; {advice}" if advice else hint,
    )


def _ambiguous(
    file: str, option: str, pattern: str, matches: Sequence[int], lines: Lines, where: str, hint: str
) -> PipelineError:
    found = "".join(f"\n  {number + 1}: {body(lines[number])}" for number in matches[:10])
    more = f"\n  and {len(matches) - 10} more" if len(matches) > 10 else ""
    return PipelineError(
        f"{option} = {pattern!r} has to match one line{where}, and matches {len(matches)}:{found}{more}",
        where=f"{file}:{matches[0] + 1}",
        hint=hint,
    )


def _restless(file: str, change: Change, why: str) -> PipelineError:
    option = type(change).__name__.lower()
    return PipelineError(
        f"this {option} cannot be made twice with the same result: {why}",
        where=file,
        hint="choose a pattern that tells the text before from the text after",
    )
