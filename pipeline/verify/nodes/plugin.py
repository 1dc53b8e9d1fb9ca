"""The pytest plugin for tests of nodes: fixtures, and every test on every node, one node after the other.

Tests are collected once. Each node is to them a run of its own: fixtures of every scope are made anew.
"""

from __future__ import annotations

import fnmatch
import itertools
import socket
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import pytest
import testinfra.host
from _pytest.runner import runtestprotocol

from pipeline.verify import joining, wording
from pipeline.verify.messages import Collected, Ended, Result, Started, receive, send
from pipeline.verify.nodes import adapter
from pipeline.verify.nodes.messages import Answered, Done, Message, NodeFacts, Ready, Report, Turn

T = TypeVar("T")

EVERY = 2.0
"""Seconds between looks of ``until``."""

MOST_LOGGED = 4000
"""Bytes of a command's output in the log of a node."""

ONLY = "only(category=..., virtual=...): nodes of these categories (a glob), virtual or not"


def pytest_addoption(parser: pytest.Parser) -> None:
    joining.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    joining.let_import(early_config)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", ONLY)
    config.stash[TESTS] = NodeTests(joining.join(config))
    config.pluginmanager.register(config.stash[TESTS])


def _now(request: pytest.FixtureRequest) -> OnNode:
    now = request.config.stash[TESTS].now
    assert now is not None
    return now


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> testinfra.host.Host:
    """testinfra's host: the node under test."""
    if hasattr(request.module, "testinfra_hosts"):
        pytest.fail(
            "testinfra_hosts: which nodes are tested is the rollout's matter; leave it out", pytrace=False
        )
    return _now(request).host


@pytest.fixture(scope="session")
def head(request: pytest.FixtureRequest) -> testinfra.host.Host:
    """testinfra's host: the head node."""
    return _now(request).head


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest) -> NodeFacts:
    """Name, category and version of the node under test."""
    return _now(request).turn.node


@pytest.fixture(scope="session")
def parameters(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """The cluster's parameters as they are for this node, read-only."""
    return MappingProxyType(_now(request).turn.parameters)


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """``report("ib_interface", "eth6")``: keep a fact with the node's verdict."""
    tests = request.config.stash[TESTS]
    return lambda key, value: tests.tell(Report(key, str(value)))


@pytest.fixture(scope="session")
def until(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """``assert until(lambda: ..., seconds=60)``: ask again and again while it is not true; the last answer.

    The seconds count from when the first node of this run was asked: of many nodes on which something never
    comes, not each is waited for.
    """
    return _now(request).until


class OnNode:
    """The node whose turn it is."""

    def __init__(self, turn: Turn, connection: socket.socket) -> None:
        self.turn = turn
        self.asked = adapter.Asked(connection, turn.known)
        self.of_head = adapter.Asked(connection, {}, on_head=True)
        self.host = adapter.host(self.asked, turn.node.name)
        self.head = adapter.host(self.of_head, "head")
        self._began = time.monotonic() - turn.waited
        self._log: list[str] = []

    def begin_test(self) -> None:
        self.asked.begin_test()
        self.of_head.begin_test()

    def until(self, condition: Callable[[], T], seconds: float = 60.0, every: float = EVERY) -> T:
        while not (found := condition()) and time.monotonic() - self._began < seconds:
            time.sleep(every)
        return found

    def note(self, result: Result, reports: list[pytest.TestReport]) -> None:
        """Write down how a test ended; of one that did not pass, all that it was answered."""
        self._log.append(f"{result.outcome:7} {result.test}  {result.seconds:.2f} s")
        if result.outcome == "passed":
            return
        self._log += [f"        {line}" for line in result.message.splitlines()]
        for name, asked in (("", self.asked), ("head ", self.of_head)):
            for command, answer in asked.said:
                self._log += [f"        {name}$ {command}", *(f"        | {line}" for line in _lines(answer))]
        for report in reports:
            self._log += [f"        {line}" for line in report.longreprtext.splitlines() if report.failed]
            self._log += [f"        {line}" for _, text in report.sections for line in text.splitlines()]

    def close(self) -> None:
        Path(self.turn.log).write_text("\n".join(self._log) + "\n", errors="surrogateescape")


class NodeTests:
    """What one run of pytest knows: the connection, the node whose turn it is, the test that runs."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.now: OnNode | None = None
        self._phases: list[wording.Phase] = []
        self._skipped_files: list[str] = []

    def tell(self, message: Message) -> None:
        send(self._connection, message)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.tell(Result(report.nodeid, "error", 0.0, wording.of_collection(report)))
        elif report.skipped:
            self._skipped_files.append(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        tests = tuple(item.nodeid for item in session.items)
        files = {test.split("::")[0] for test in (*tests, *self._skipped_files)}
        self.tell(Collected(tests, tuple(sorted(files))))

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        while (turn := self._next()) is not None:
            self.now = OnNode(turn, self._connection)
            chosen = [item for item in session.items if _is_for(item, turn.node)]
            for item, following in itertools.zip_longest(chosen, chosen[1:]):
                # With none to follow, all fixtures are taken down: the next node has its own.
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self.now.close()
            self.tell(Done())
        return True

    def _next(self) -> Turn | None:
        self.tell(Ready())
        turn: Turn | None = receive(self._connection, Turn | None)
        return turn

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool:
        assert self.now is not None
        self._phases.clear()
        self.now.begin_test()
        self.tell(Started(item.nodeid))
        if isinstance(item.parent, pytest.Class):  # its instance is of the node before
            vars(item).pop("_instance", None)
            vars(item).pop("_obj", None)
        # Not told to pytest's own reports, which keep all of them.
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        result = Result(item.nodeid, *wording.together(self._phases))
        self.now.note(result, reports)
        self.tell(result)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        outcome, seconds, message = wording.phase(item, call, report)
        if call.excinfo is not None and isinstance(call.excinfo.value, adapter.NoAnswerError):
            outcome, message = "error", f"no answer: {call.excinfo.value}"
        self._phases.append((outcome, seconds, message))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Failures that some plugin reports besides the test's own (pytest's subtests)."""
        if report.failed and not any(outcome in ("failed", "error") for outcome, _, _ in self._phases):
            self._phases.append(("failed", 0.0, wording.cut(report.longreprtext)))

    def pytest_sessionfinish(self) -> None:
        self.tell(Ended())


def _is_for(item: pytest.Item, node: NodeFacts) -> bool:
    """Whether the marks ``only`` of a test, its class and its module allow this node."""
    for mark in item.iter_markers("only"):
        category, virtual = mark.kwargs.get("category"), mark.kwargs.get("virtual")
        if category is not None and not fnmatch.fnmatchcase(node.category, category):
            return False
        if virtual is not None and node.is_virtual is not virtual:
            return False
    return True


def _lines(answer: object) -> list[str]:
    if not isinstance(answer, Answered):
        return [f"no answer: {getattr(answer, 'why', '')}"]
    text = (answer.stdout[:MOST_LOGGED] + answer.stderr[:MOST_LOGGED]).decode(errors="replace")
    return [*text.splitlines(), f"exit code {answer.exit_code}"]


TESTS = pytest.StashKey[NodeTests]()
