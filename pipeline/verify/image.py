"""The image under test, as the process that runs the tests sees it: through a socket, with a memory.

What was asked once is remembered until a test runs a command of its own, which may have changed it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar, get_type_hints

from pipeline.verify import inside
from pipeline.verify.messages import Ask, GoneError, Ran, Run, receive, send
from pipeline.verify.packages import LIST_ALL, Rpm, by_label, parse
from pipeline.verify.refusals import Refusal, Refused
from pipeline.verify.services import Services, all_services

P = ParamSpec("P")
T = TypeVar("T")


class Image:
    """Asks the process that holds the root. ``refused`` are the refusals since the test began."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._one_at_a_time = threading.Lock()
        self._known: dict[tuple[Any, ...], Any] = {}
        self._packages: tuple[object, dict[str, tuple[Rpm, ...]]] | None = None
        self.refused: list[str] = []

    def refuse(self, subject: str, refusal: Refusal) -> NoReturn:
        """Fail the test, and remember that it has to fail even if it catches this."""
        __tracebackhide__ = True
        text = refusal.about(subject)
        self.refused.append(text)
        raise Refused(text)

    def run(self, command: str, *, changes: bool) -> Ran:
        """Run a shell command in the root. ``changes``: what is known may no longer be so afterwards."""
        if changes:
            self._known.clear()
        ran: Ran = self._exchange(Run(command.encode(errors="surrogateescape")), Ran)
        return ran

    def look(self, path: str) -> inside.Look:
        """What is at ``path``."""
        return self._remembered(inside.look, _encoded(path))

    def read(self, path: str) -> inside.Read:
        """The content of a file."""
        return self._ask(inside.read, _encoded(path))

    def digest(self, path: str, algorithm: str) -> inside.Read:
        """The hex digest of a file."""
        return self._ask(inside.digest, _encoded(path), algorithm)

    def listing(self, path: str) -> inside.Listing:
        """The names in a directory."""
        return self._ask(inside.listing, _encoded(path))

    def matches(self, path: str, pattern: str) -> inside.Match:
        """Whether a line of the file matches a basic regular expression."""
        return self._ask(inside.matches, _encoded(path), pattern)

    def accounts(self) -> inside.Accounts:
        """Users and groups."""
        return self._remembered(inside.accounts)

    def services(self) -> Services:
        """Services and whether they are started."""
        return self._remembered(all_services)

    def packages(self) -> dict[str, tuple[Rpm, ...]]:
        """Every package by each of its certain labels; one query as long as the rpm database stays.

        Raises ``RuntimeError`` when rpm can't list them, or lists none.
        """
        state = self._remembered(inside.rpm_database)
        if self._packages is None or self._packages[0] != state:
            found = by_label(parse(self.run(LIST_ALL, changes=False)))
            # The query itself may have touched the database (a journal put away).
            self._known.pop((inside.rpm_database,), None)
            self._packages = (self._remembered(inside.rpm_database), found)
        return self._packages[1]

    def _remembered(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        key = (question, *args)
        if key not in self._known:
            self._known[key] = self._ask(question, *args, **kwargs)
        answer: T = self._known[key]
        return answer

    def _ask(self, question: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        answer: T = self._exchange(Ask(question.__name__, args), get_type_hints(question)["return"])
        return answer

    def _exchange(self, request: Run | Ask, kind: Any) -> Any:
        with self._one_at_a_time:
            try:
                send(self._connection, request)
                return receive(self._connection, kind)
            except GoneError:
                # Whoever asked for the tests has ended: nobody would read the results.
                os._exit(1)

    def tell(self, event: object) -> None:
        """Tell what is going on with the tests."""
        with self._one_at_a_time:
            send(self._connection, event)


def _encoded(path: str) -> bytes:
    if "\0" in path:
        raise ValueError(f"no path can have a null character: {path!r}")
    return os.path.join(b"/", path.encode(errors="surrogateescape")) if path else b""
