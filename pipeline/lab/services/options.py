"""Arguments taken as the real programs take them: what isn't known is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class RefusedError(Exception):
    """A program says no: what it prints to stderr, what it ends with, and what it prints all the same."""

    def __init__(self, text: str, code: int = 1, out: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.out = out


class Words(NamedTuple):
    """``options`` have their values, "" for those that take none; ``rest`` are the other arguments."""

    options: Mapping[str, str]
    rest: tuple[str, ...]


def parse(argv: Sequence[str], takes: Mapping[str, bool], also: Mapping[str, str] | None = None) -> Words:
    """``takes`` maps options to whether they take a value, ``also`` other spellings to theirs."""
    found: dict[str, str] = {}
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, equals, value = word.partition("=")
        name = (also or {}).get(name, name)
        if name not in takes or (equals and not takes[name]):
            raise RefusedError(f"error: unrecognized arguments: {word}", 2)
        if takes[name] and not equals:
            if not words:
                raise RefusedError(f"error: argument {word}: expected one argument", 2)
            value = words.pop(0)
        found[name] = value
    return Words(found, tuple(rest))
