"""What is told of a test: how it ended, and the one line of the test file that says why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.store.records import EXPECTED_TO_FAIL
from pipeline.verify.refusals import Refused

LONGEST = 40
"""Lines of a message that are kept; all of it is in the log."""

WORST_FIRST = ("error", "failed", "skipped", "passed")

Phase = tuple[str, float, str]
"""Outcome, seconds and message of a test's setup, call or teardown."""


def phase(
    item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport, instead: str = ""
) -> Phase:
    """One phase of a test, from what pytest made of it. ``instead`` is told in place of its message."""
    text = instead or reason(report)
    if call.excinfo is not None and not text:
        text = message(item, call.excinfo)
    outcome: str = report.outcome
    if outcome == "failed" and call.when != "call":
        outcome = "error"
    return outcome, call.duration, text


def together(phases: Sequence[Phase]) -> Phase:
    """What a test comes to: the worst of its phases."""
    outcome = min((found[0] for found in phases), key=WORST_FIRST.index, default="error")
    messages = [text for how, _, text in phases if how == outcome and text]
    return outcome, sum(found[1] for found in phases), "\n".join(messages)


def message(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """``test_image.py:12: assert 'a' == 'b'``: the last line of the test file on the way to the failure."""
    if isinstance(excinfo.value, (Refused, pytest.skip.Exception)):
        text = str(excinfo.value)
    else:
        text = excinfo.exconly().removeprefix("AssertionError: ")
    return cut(f"{place(item, excinfo)}: {text}")


def place(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException] | None) -> str:
    line = item.location[1] or 0
    if excinfo is not None:
        line = next((entry.lineno for entry in reversed(excinfo.traceback) if entry.path == item.path), line)
    return f"{item.location[0]}:{line + 1}"


def of_collection(report: pytest.CollectReport) -> str:
    """The error itself, its last place in the test file before it."""
    lines = report.longreprtext.splitlines()
    name = Path(report.nodeid).name
    place = next(
        (line.split(": ")[0] for line in reversed(lines) if line.startswith(report.nodeid + ":")), name
    )
    errors = [line.removeprefix("E").strip() for line in lines if line.startswith("E  ")]
    return cut(f"{place}: " + "\n".join(errors or lines))


def reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Why a test was skipped, or was expected to fail."""
    if (expected := getattr(report, "wasxfail", None)) is not None:
        return f"{EXPECTED_TO_FAIL}: {expected}" if expected else EXPECTED_TO_FAIL
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2])
    return ""


def cut(text: str) -> str:
    lines = text.encode(errors="backslashreplace").decode().splitlines()
    return "\n".join(lines[:LONGEST] + (["…"] if len(lines) > LONGEST else []))
