"""What ``--json`` prints when a verb ends before it has a result: one document all the same."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import NoReturn

from pipeline.errors import Problem

RESULTS = {"build": {"images": ()}, "lock": {"images": ()}}
"""What stands beside the problems, so that a program finds the keys that it reads."""


def print_problems(words: Sequence[str], problems: Iterable[Problem]) -> None:
    """Print the document of a command line that ended with ``problems``; nothing unless it asks for one."""
    if "--json" not in words:
        return
    import msgspec

    results = next((RESULTS[word] for word in words if word in RESULTS), {})
    document = {**results, "problems": tuple(problems)}
    with suppress(OSError):  # nobody reads it any more, which has been told
        print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


class Parser(ArgumentParser):
    """Prints the document of a wrong command line; ``words`` are all of it."""

    words: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        hint = self.format_usage().strip()
        print_problems(self.words, [Problem(message, hint=hint, command=f"{self.prog} --help")])
        super().error(message)
