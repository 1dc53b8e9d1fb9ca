"""Running tests on nodes: pytest in a process of its own, which asks for one node after the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from pipeline.verify import isolated
from pipeline.verify.messages import Collected, Ended, GoneError, Result, Started, receive, send
from pipeline.verify.nodes.messages import Answer, Ask, Done, Message, Ready, Report, Turn

PLUGIN = "pipeline.verify.nodes.plugin"
IN_ORDER = "in order"
ENDINGS = (0, 1, 5)
"""Of pytest: all passed, some failed (to be collected), there were none; others are its own trouble."""


class Nodes(Protocol):
    """Who holds the connections and gets the results. What is told is of the node of the last turn."""

    def turn(self) -> Turn | None:
        """The next node that has not had its turn; waits for one that can be asked. None: no more."""
        ...

    def ask(self, request: Ask) -> Answer: ...

    def tell(self, message: Collected | Started | Result | Report | Done) -> None: ...

    def patience(self) -> float:
        """For how many seconds the tests may now say nothing."""
        ...


def run_tests(tests: Sequence[Path], nodes: Nodes, log: Path) -> str:
    """Run the test files on all nodes; "" when all came to its end, else how pytest ended.

    A file without tests is told as a `Result`, an error. What pytest printed is added to the file ``log``.
    """
    files = tuple(dict.fromkeys(path.absolute() for path in tests))
    top = Path(os.path.commonpath([path.parent for path in files]))
    with isolated.running(PLUGIN, files, top, log) as pytest:
        try:
            ended = _serve(pytest, nodes, files, top)
        except (GoneError, msgspec.DecodeError):
            ended = ""
        code = pytest.end() if ended == IN_ORDER else pytest.kill()
    if ended == IN_ORDER and code in ENDINGS:
        return ""
    if ended and ended != IN_ORDER:
        return ended
    return "\n".join([f"the process of the tests {isolated.how_it_ended(code)}", *isolated.last(log)])


def _serve(pytest: isolated.Pytest, nodes: Nodes, files: Sequence[Path], top: Path) -> str:
    """``IN_ORDER``, "" when the process ended otherwise, or what was wrong with it."""
    known: set[str] = set()
    while (patience := nodes.patience()) > 0 and pytest.says_more(patience):
        message = receive(pytest.connection, Message)
        match message:
            case Ready():
                send(pytest.connection, nodes.turn())
            case Ask():
                send(pytest.connection, nodes.ask(message))
            case Ended():
                return IN_ORDER
            case _:
                nodes.tell(message)
        if isinstance(message, Result):
            known.add(message.test)
        if isinstance(message, Collected):
            for name in isolated.names_not_in({*known, *message.files}, files, top):
                nodes.tell(Result(name, "error", 0.0, f"{name}: holds no test"))
    return "the time for the tests of a node was over" if pytest.is_running() else ""
