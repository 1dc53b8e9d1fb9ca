"""One verification: shells on the nodes, and the tests' process that asks one node after the other.

What the first node of a category was asked, all others of it are asked as soon as their shell is open, and
what a second node asks as well: when their turn comes, the answers are there.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from pipeline.cluster.shells import Lost, Ran, Shells
from pipeline.rollout.model import Check
from pipeline.verify.messages import Collected, Result, Started
from pipeline.verify.nodes import messages
from pipeline.verify.nodes.messages import Answer, Ask, Done, NodeFacts, Report, Turn

GRACE = 5.0
"""Seconds that tests have after their node's time is over, to tell that it did not answer."""

MOST_DEATHS = 3
"""How often the tests' process may die before no further node is tested."""


class AskHead(Protocol):
    """Runs a command on the head node; ``again``: an answer that was given before is not wanted."""

    def __call__(self, command: str, *, again: bool) -> Ran | Lost: ...


class Tested(msgspec.Struct):
    """What is known of a node so far. ``asked`` maps commands to numbers of answers."""

    facts: NodeFacts
    parameters: Mapping[str, Any]
    checks: list[Check] = []
    reported: dict[str, str] = {}
    asked: dict[str, int] = {}
    had_turn: bool = False
    is_done: bool = False


class Asking:
    """Answers the tests' process from the shells, and keeps what it tells; see ``verify.nodes.runner.Nodes``.

    ``ask_head`` runs a command on the head node. ``seconds`` is how long the tests of one node may take;
    ``afterwards`` is called with each node whose tests are done.
    """

    def __init__(
        self,
        nodes: Mapping[str, Tested],
        ask_head: AskHead,
        folder: Path,
        seconds: float,
        afterwards: Callable[[str], None],
    ) -> None:
        self.nodes = nodes
        self.general: list[Check] = []
        self.shells: Shells | None = None
        self._ask_head, self._folder, self._seconds, self._afterwards = ask_head, folder, seconds, afterwards
        self._began = time.monotonic()
        self._now: str | None = None
        self._until = 0.0
        self._running: str | None = None
        self._first: dict[str, str] = {}
        self._once: dict[str, set[str]] = {}
        self._shared: dict[str, dict[str, None]] = {}
        self._lock = threading.Lock()
        self._left = set(nodes)

    # The shells' side, in the thread of their loop

    def opened(self, node: str) -> None:
        """Ask a node what others of its category were asked."""
        with self._lock:
            commands = tuple(self._shared.get(self.nodes[node].facts.category, ()))
        for command in commands:
            self._ask(node, command)

    # The tests' side

    def turn(self) -> Turn | None:
        """A node that has answered all that it was asked; those that ended before their turn have none."""
        name = self._wait_for_one()
        if name is None:
            return None
        tested = self.nodes[name]
        tested.had_turn = True
        self._left.discard(name)
        self._now, self._running, self._until = name, None, time.monotonic() + self._seconds + GRACE
        answers = self._shells.shells[name].answers
        known = {
            command: _told(answers[number]) for command, number in tested.asked.items() if number in answers
        }
        return Turn(
            node=tested.facts,
            parameters=dict(tested.parameters),
            known=known,
            waited=time.monotonic() - self._began,
            log=str(self._folder / f"{name}.log"),
        )

    def ask(self, request: Ask) -> Answer:
        """The answer of the node whose turn it is, or of the head node."""
        if request.on_head:
            return _told(self._ask_head(request.command, again=request.again))
        assert self._now is not None
        name, command = self._now, request.command
        number = self._ask(name, command)
        self._share(name, command)
        return _told(self._shells.wait_for(name, number))

    def tell(self, message: Collected | Started | Result | Report | Done) -> None:
        """Keep a result; what comes before the first turn is about all nodes."""
        if isinstance(message, Result):
            self._running = None
            found = Check(message.test, message.outcome, message.message, round(message.seconds, 4))
            (self.nodes[self._now].checks if self._now else self.general).append(found)
        elif self._now is None:
            return
        elif isinstance(message, Started):
            self._running = message.test
        elif isinstance(message, Report):
            self.nodes[self._now].reported[message.key] = message.value
        elif isinstance(message, Done):
            self.nodes[self._now].is_done = True
            self._afterwards(self._now)
            self._now = None

    def patience(self) -> float:
        """The seconds that the node's tests have left; a minute for what is not about a node."""
        return max(0.0, self._until - time.monotonic()) if self._now else 60.0

    def died(self, how: str) -> bool:
        """Note that the tests' process ended otherwise than in order; whether nodes are left to be tested."""
        if self._now is None:
            self.general.append(Check("tests", "error", how))
            return False
        tested = self.nodes[self._now]
        tested.checks.append(Check(self._running or "tests", "error", f"in this test {how}"))
        self._afterwards(self._now)
        self._now = None
        return bool(self._left)

    def leave(self) -> tuple[str, ...]:
        """Test no further node; those that are left out."""
        left = tuple(sorted(self._left))
        self._left.clear()
        return left

    @property
    def _shells(self) -> Shells:
        assert self.shells is not None
        return self.shells

    def _wait_for_one(self) -> str | None:
        if not self._left:
            return None
        shells = self._shells
        with shells.changed:
            while True:
                for name in sorted(self._left):
                    shell = shells.shells[name]
                    if shell.state == "open" and not shell.pending:
                        return name
                    if shell.state == "ended":
                        self._left.discard(name)
                if not self._left:
                    return None
                shells.wait()

    def _ask(self, node: str, command: str) -> int:
        number = self._shells.ask(node, command)
        self.nodes[node].asked[command] = number
        return number

    def _share(self, node: str, command: str) -> None:
        """Have the other nodes of the category asked, too, when it is likely that they will be."""
        category = self.nodes[node].facts.category
        first = self._first.setdefault(category, node)
        once = self._once.setdefault(category, set())
        if _names(command, node):
            return
        if node != first and command not in once:
            once.add(command)
            return
        with self._lock:
            shared = self._shared.setdefault(category, {})
            if command in shared:
                return
            shared[command] = None
        for other in self._left:
            tested = self.nodes[other]
            is_open = self._shells.shells[other].state == "open"
            if is_open and tested.facts.category == category and command not in tested.asked:
                self._ask(other, command)


def run(asking: Asking, tests: Sequence[Path], log: Path) -> None:
    """Run the tests on all nodes of ``asking``; a new process goes on where one died."""
    from pipeline.verify.nodes.runner import run_tests

    for _ in range(MOST_DEATHS):
        asking.general.clear()
        how = run_tests(tests, asking, log)
        if not how or not asking.died(how):
            return
    for name in asking.leave():
        asking.nodes[name].checks.append(
            Check("tests", "error", f"never run: the process of the tests ended {MOST_DEATHS} times before")
        )


def _told(answer: Ran | Lost) -> Answer:
    if isinstance(answer, Lost):
        return messages.Lost(answer.why)
    return messages.Answered(answer.exit_code, answer.stdout, answer.stderr)


def _names(command: str, node: str) -> bool:
    """Whether a command is about this very node."""
    return re.search(rf"(?<![\w-]){re.escape(node)}(?![\w-])", command) is not None
