"""The pytest plugin in the process that runs the tests: fixtures, and what becomes of each test.

Loaded by ``pipeline.verify.runner`` and nobody else; the socket to it is a file descriptor that it inherits.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pipeline.store.records import EXPECTED_TO_FAIL
from pipeline.verify.adapter import ImageHost, image_host
from pipeline.verify.ending import end_with
from pipeline.verify.image import Image
from pipeline.verify.messages import Collected, Ended, ImageFacts, Result, Started, receive
from pipeline.verify.refusals import NOT_THIS_IMAGE, Refused

LONGEST = 40
"""Lines of a message that are kept; all of it is in the log."""

WORST_FIRST = ("error", "failed", "skipped", "passed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image-socket", type=int, required=True)
    parser.addoption("--image-starter", type=int, required=True)
    parser.addoption("--image-modules")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Let the tests, and their conftest, import what lies beside them: last, so that it hides no library."""
    folder = early_config.known_args_namespace.image_modules
    if folder is not None:
        sys.path.append(folder)


def pytest_configure(config: pytest.Config) -> None:
    end_with(config.getoption("--image-starter"))
    number = config.getoption("--image-socket")
    os.set_inheritable(number, False)
    connection = socket.socket(fileno=number)
    config.stash[TESTS] = ImageTests(connection, receive(connection, ImageFacts))
    config.pluginmanager.register(config.stash[TESTS])


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> ImageHost:
    """testinfra's host: the image under test."""
    return request.config.stash[TESTS].host(request.module)


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> ImageFacts:
    """Name, number, kernel and kernel parameters of the version under test."""
    return request.config.stash[TESTS].facts


@pytest.fixture(scope="session")
def parameters(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """The parameters of the recipe, read-only."""
    return MappingProxyType(request.config.stash[TESTS].facts.parameters)


class ImageTests:
    """What one run of pytest knows: the image, and the phases of the test that runs."""

    def __init__(self, connection: socket.socket, facts: ImageFacts) -> None:
        self.facts = facts
        self._image = Image(connection)
        self._host = image_host(self._image, facts.name)
        self._phases: list[tuple[str, float, str]] = []
        self._skipped_files: list[str] = []

    def host(self, module: object) -> ImageHost:
        """The host for the tests of a module, which must not ask for another one."""
        if hasattr(module, "testinfra_hosts"):
            self._image.refuse("testinfra_hosts", NOT_THIS_IMAGE)
        return self._host

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._image.tell(Result(report.nodeid, "error", 0.0, _of_collection(report)))
        elif report.skipped:
            self._skipped_files.append(report.nodeid)
            self._image.tell(Result(report.nodeid, "skipped", 0.0, _reason(report)))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        tests = tuple(item.nodeid for item in session.items)
        files = {test.split("::")[0] for test in (*tests, *self._skipped_files)}
        self._image.tell(Collected(tests, tuple(sorted(files))))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._phases.clear()
        self._image.refused.clear()
        self._image.tell(Started(nodeid))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        message = _reason(report)
        if call.excinfo is not None and not message:
            message = _message(item, call.excinfo)
        if self._image.refused and report.outcome != "failed":
            # Caught, or expected to fail: a refused question still leaves the test without an answer.
            report.outcome, report.longrepr = "failed", "\n".join(self._image.refused)
            message = f"{_place(item, None)}: {report.longrepr}"
        self._image.refused.clear()
        outcome: str = report.outcome
        if outcome == "failed" and call.when != "call":
            outcome = "error"
        self._phases.append((outcome, call.duration, message))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Failures that some plugin reports besides the test's own (pytest's subtests)."""
        if report.failed and not any(outcome in ("failed", "error") for outcome, _, _ in self._phases):
            self._phases.append(("failed", 0.0, _cut(report.longreprtext)))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        outcome = min((phase[0] for phase in self._phases), key=WORST_FIRST.index, default="error")
        messages = [message for how, _, message in self._phases if how == outcome and message]
        seconds = sum(phase[1] for phase in self._phases)
        self._image.tell(Result(nodeid, outcome, seconds, "\n".join(messages)))

    def pytest_sessionfinish(self) -> None:
        self._image.tell(Ended())


def _message(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """``test_image.py:12: assert 'a' == 'b'``: the last line of the test file on the way to the failure."""
    if isinstance(excinfo.value, (Refused, pytest.skip.Exception)):
        text = str(excinfo.value)
    else:
        text = excinfo.exconly().removeprefix("AssertionError: ")
    return _cut(f"{_place(item, excinfo)}: {text}")


def _place(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException] | None) -> str:
    line = item.location[1] or 0
    if excinfo is not None:
        line = next((entry.lineno for entry in reversed(excinfo.traceback) if entry.path == item.path), line)
    return f"{item.location[0]}:{line + 1}"


def _of_collection(report: pytest.CollectReport) -> str:
    """The error itself, its last place in the test file before it."""
    lines = report.longreprtext.splitlines()
    name = Path(report.nodeid).name
    place = next(
        (line.split(": ")[0] for line in reversed(lines) if line.startswith(report.nodeid + ":")), name
    )
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
    return _cut(f"{place}: " + "\n".join(errors or lines))


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Why a test was skipped, or was expected to fail."""
    if (expected := getattr(report, "wasxfail", None)) is not None:
        return f"{EXPECTED_TO_FAIL}: {expected}" if expected else EXPECTED_TO_FAIL
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return ""


def _cut(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(lines[:LONGEST] + (["…"] if len(lines) > LONGEST else []))


TESTS = pytest.StashKey[ImageTests]()
