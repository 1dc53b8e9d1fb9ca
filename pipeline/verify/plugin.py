"""The pytest plugin in the process that runs the tests: fixtures, and what becomes of each test.

Loaded by ``pipeline.verify.runner`` and nobody else; the socket to it is a file descriptor that it inherits.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from pipeline.verify import joining, wording
from pipeline.verify.adapter import ImageHost, image_host
from pipeline.verify.image import Image
from pipeline.verify.messages import Collected, Ended, ImageFacts, Result, Started, receive
from pipeline.verify.refusals import NOT_THIS_IMAGE


def pytest_addoption(parser: pytest.Parser) -> None:
    joining.add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    joining.let_import(early_config)


def pytest_configure(config: pytest.Config) -> None:
    connection = joining.join(config)
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
        self._phases: list[wording.Phase] = []
        self._skipped_files: list[str] = []

    def host(self, module: object) -> ImageHost:
        """The host for the tests of a module, which must not ask for another one."""
        if hasattr(module, "testinfra_hosts"):
            self._image.refuse("testinfra_hosts", NOT_THIS_IMAGE)
        return self._host

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._image.tell(Result(report.nodeid, "error", 0.0, wording.of_collection(report)))
        elif report.skipped:
            self._skipped_files.append(report.nodeid)
            self._image.tell(Result(report.nodeid, "skipped", 0.0, wording.reason(report)))

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
        message = ""
        if self._image.refused and report.outcome != "failed":
            # Caught, or expected to fail: a refused question still leaves the test without an answer.
            report.outcome, report.longrepr = "failed", "\n".join(self._image.refused)
            message = f"{wording.place(item, None)}: {report.longrepr}"
        self._image.refused.clear()
        self._phases.append(wording.phase(item, call, report, message))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Failures that some plugin reports besides the test's own (pytest's subtests)."""
        if report.failed and not any(outcome in ("failed", "error") for outcome, _, _ in self._phases):
            self._phases.append(("failed", 0.0, wording.cut(report.longreprtext)))

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._image.tell(Result(nodeid, *wording.together(self._phases)))

    def pytest_sessionfinish(self) -> None:
        self._image.tell(Ended())


TESTS = pytest.StashKey[ImageTests]()
