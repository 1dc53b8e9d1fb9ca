"""What ``--json`` prints when a verb ends before it has a result: one document all the same."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import takewhile
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
    verb: ArgumentParser | None = None
    """That of the verb's own options."""

    def error(self, message: str) -> NoReturn:
        hint = self.format_usage().strip()
        if early := self._early():
            hint = f"{early} goes after the verb: {self.verb.prog if self.verb else self.prog} {early}"
        print_problems(self.words, [Problem(message, hint=hint, command=f"{self.prog} --help")])
        super().error(f"{message}\n  hint: {hint}" if early else message)

    def _early(self) -> str | None:
        """The first option of the verb that stands before it."""
        if self.verb is None:
            return None
        known = self.verb._option_string_actions.keys() - self._option_string_actions.keys()
        before = takewhile(lambda word: word.startswith("-"), self.words)
        return next((word for word in before if word in known), None)
