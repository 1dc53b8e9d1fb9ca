"""testinfra's ``host`` for a node: commands go to whoever holds the connections, with a memory.

Each answer is used once by each test: a test that asks the same again wants to know how it is now.
"""

from __future__ import annotations

import socket
from typing import Any

import testinfra.backend.base
import testinfra.host

from pipeline.verify.bulk import READ_ONLY
from pipeline.verify.messages import receive, send
from pipeline.verify.nodes.messages import Answer, Answered, Ask, Lost


class NoAnswerError(Exception):
    """The node did not answer: nothing is known about what the test asked."""


class Asked:
    """One node's answers. ``said`` is all that the present test was answered, for the log."""

    def __init__(self, connection: socket.socket, known: dict[str, Answer], *, on_head: bool = False) -> None:
        self._connection = connection
        self._known = known
        self._on_head = on_head
        self._used: set[str] = set()
        self.said: list[tuple[str, Answer]] = []

    def begin_test(self) -> None:
        """What was answered is of an earlier test from now on."""
        self._used.clear()
        self.said.clear()

    def ask(self, command: str, *, again: bool) -> Answered:
        """The answer to ``command``, a new one if this test has had one and ``again`` says so."""
        __tracebackhide__ = True
        answer = self._known.get(command)
        if answer is None or (again and command in self._used):
            send(self._connection, Ask(command, self._on_head, again=command in self._used))
            answer = receive(self._connection, Answer)
            self._known[command] = answer
        self._used.add(command)
        self.said.append((command, answer))
        if isinstance(answer, Lost):
            raise NoAnswerError(answer.why)
        return answer


class NodeBackend(testinfra.backend.base.BaseBackend):  # type: ignore[misc]
    """Runs commands on the node, as root, by /bin/sh, with a C locale and no input."""

    NAME = "node"

    def __init__(self, asked: Asked, name: str) -> None:
        self.asked = asked
        super().__init__(name)

    def __repr__(self) -> str:
        return f"<{self.get_pytest_id()}>"

    def get_encoding(self) -> str:
        """Names and texts are UTF-8, whatever python the node has or lacks."""
        return "UTF-8"

    def run(self, command: str, *args: str, **kwargs: Any) -> testinfra.backend.base.CommandResult:
        """Run a shell command. Raises `NoAnswerError` when the node is gone, or does not end it in time."""
        __tracebackhide__ = True
        text = self.get_command(command, *args)
        answer = self.asked.ask(text, again=command not in READ_ONLY)
        return self.result(answer.exit_code, self.encode(text), answer.stdout, answer.stderr)


def host(asked: Asked, name: str) -> testinfra.host.Host:
    """The ``host`` of the tests of one node; all of testinfra's modules work there."""
    backend = NodeBackend(asked, name)
    made = testinfra.host.Host(backend)
    backend.set_host(made)
    return made
