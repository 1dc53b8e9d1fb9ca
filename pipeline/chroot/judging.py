"""Judging what a program prints while it prints it: which lines were expected, and which mean failure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pipeline.chroot.root import shortened
from pipeline.errors import Problem

MOST_QUOTED = 10
"""How many lines that match one pattern are quoted."""


class Matching:
    """The lines that match a pattern: ``first`` are the first of them with their numbers, of ``count``."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.count = 0
        self.first: list[tuple[int, str]] = []
        self._search = re.compile(pattern).search

    def takes(self, number: int, line: str) -> bool:
        """Whether ``line`` matches; then it is one of them."""
        if self._search(line) is None:
            return False
        self.count += 1
        if self.count <= MOST_QUOTED:
            self.first.append((number, shortened(line.strip())))
        return True


class Judge:
    """Hears the lines of a program. Memory is that of the lines that it quotes."""

    def __init__(self, expected: Sequence[str], failures: Sequence[str]) -> None:
        self.expected = [Matching(pattern) for pattern in expected]
        self._failures = [Matching(pattern) for pattern in failures]
        self._number = 0

    def hear(self, lines: Sequence[str]) -> None:
        """Take in the next lines; what a carriage return or the like parts is several."""
        if not self.expected and not self._failures:
            return
        for number, line in enumerate("\n".join([*lines, ""]).splitlines(), self._number + 1):
            self._number = number
            taken = [each.takes(number, line) for each in self.expected]
            if not any(taken):
                for each in self._failures:
                    each.takes(number, line)

    def problems(self) -> Iterator[Problem]:
        """A problem for each of the first lines that mean failure, in their order; then how many more."""
        quoted = [(number, each.pattern, line) for each in self._failures for number, line in each.first]
        for number, pattern, line in sorted(quoted):
            yield Problem(f"line {number} of its output means failure ({pattern!r}): {line}")
        for each in self._failures:
            if each.count > MOST_QUOTED:
                yield Problem(
                    f"{each.count - MOST_QUOTED} more lines of its output mean failure ({each.pattern!r})"
                )
