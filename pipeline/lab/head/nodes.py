"""Lists of nodes: ``node001..node004,-node002..node003``, ``node[001-003]``, ``^/file``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pipeline.lab.head.errors import CommandError

NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")
BRACKETS = re.compile(r"([^\[\]]*)\[([^\[\]]+)\](.*)")
RANGE = re.compile(r"(\d+)(?:(-|\.\.)(\d+))?(?::(\d+))?")


def expand(text: str, read: Callable[[str], str]) -> tuple[str, ...]:
    """The names of a list, in its order, each once; ``read`` gives the text of a file on the head node."""
    names: dict[str, None] = {}
    if "[" in text and ".." in re.sub(r"\[[^\[\]]*\]", "", text):
        raise CommandError(f"Invalid node list: dots and brackets don't mix: {text}")
    for part in _split(text):
        minus = part.startswith("-")
        for name in _part(part.removeprefix("-"), read):
            if minus:
                names.pop(name, None)
            else:
                names[name] = None
    return tuple(names)


def _split(text: str) -> Iterator[str]:
    """At the commas outside of brackets."""
    start = depth = 0
    for at, char in enumerate(text):
        depth += (char == "[") - (char == "]")
        if char == "," and not depth:
            yield text[start:at]
            start = at + 1
    yield text[start:]


def _part(part: str, read: Callable[[str], str]) -> Iterator[str]:
    if not part:
        raise CommandError("Invalid node list: an empty name")
    if part.startswith("^"):
        for line in read(part[1:]).split():
            yield from _part(line, read)
        return
    if "[" in part or "]" in part:
        yield from _brackets(part)
    elif ".." in part:
        yield from _dots(part)
    else:
        yield part


def _brackets(part: str) -> Iterator[str]:
    found = BRACKETS.fullmatch(part)
    if found is None:
        if "[" in part or "]" in part:
            raise CommandError(f"Invalid node list: {part}")
        yield part
        return
    before, inside, after = found.groups()
    for piece in inside.split(","):
        for number in _numbers(piece, part):
            for rest in _brackets(after):
                yield f"{before}{number}{rest}"


def _numbers(piece: str, part: str) -> Iterator[str]:
    """``[1..7:2]`` are 1, 3, 5, 7; zeros in front of the first number are kept."""
    found = RANGE.fullmatch(piece)
    if found is None:
        raise CommandError(f"Invalid node list: {part}")
    first, _, last, step = found.groups()
    if step == "0" or int(last or first) < int(first):
        raise CommandError(f"Invalid node list: {part}")
    for number in range(int(first), int(last or first) + 1, int(step or 1)):
        yield str(number).zfill(len(first))


def _dots(part: str) -> Iterator[str]:
    ends = [NUMBERED.fullmatch(name) for name in part.split("..")]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        raise CommandError(f"Invalid node list: {part}")
    (before, first, after), (before_last, last, after_last) = ends[0].groups(), ends[1].groups()
    if (before, after) != (before_last, after_last) or int(last) < int(first):
        raise CommandError(f"Invalid node list: {part}")
    for number in range(int(first), int(last) + 1):
        yield f"{before}{str(number).zfill(len(first))}{after}"
