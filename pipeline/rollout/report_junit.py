"""A rollout as JUnit XML, as CI reads it: a suite for each node, its steps and checks as test cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import msgspec

from pipeline.printable import plain
from pipeline.rollout.logs import checks
from pipeline.rollout.model import Check, Node, Order
from pipeline.rollout.states import STATES, NodeProgress, Progress, State
from pipeline.rollout.summary import failures_of, installed, version

STEPS: dict[State, str] = {
    "preparing": "prepare",
    "prepared": "set the image",
    "switched": "reboot",
    "rebooting": "begin to install",
    "installing": "install",
    "up": "prove the installation",
    "provisioned": "verify",
    "verified": "release",
}
"""What is done with a node in each state."""

ELEMENTS = {"failed": "failure", "error": "error", "skipped": "skipped"}
UNWRITABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write."""


class Case(msgspec.Struct, frozen=True):
    """A test case; ``group`` is what readers show it under, ``outcome`` that of a `Check`."""

    group: str
    name: str
    seconds: float
    outcome: str = "passed"
    why: str = ""


def junit(order: Order, progress: Progress, folder: Path | None = None) -> Iterator[bytes]:
    """The document in pieces; ``folder`` is where relative names of logs begin."""
    name = quoteattr(_written(f"{order.cluster} rollout {order.number}"))
    yield f'<?xml version="1.0" encoding="utf-8"?>\n<testsuites name={name}>\n'.encode()
    for node in order.nodes:
        yield _suite(order, node, progress.nodes[node.name], folder)
    yield b"</testsuites>\n"


def _suite(order: Order, node: Node, progress: NodeProgress, folder: Path | None) -> bytes:
    cases = list(_cases(node.name, progress, folder))
    outcomes = [case.outcome for case in cases]
    began = datetime.fromtimestamp(progress.began or order.when, UTC)
    suite = ElementTree.Element(
        "testsuite",
        name=_written(node.name),
        tests=str(len(cases)),
        failures=str(outcomes.count("failed")),
        errors=str(outcomes.count("error")),
        skipped=str(outcomes.count("skipped")),
        time=f"{max(0.0, progress.since - progress.began):.3f}",
        timestamp=began.strftime("%Y-%m-%dT%H:%M:%S"),
    )
    _properties(suite, order, node, progress)
    for case in cases:
        _case(suite, case)
    text: bytes = ElementTree.tostring(suite, encoding="utf-8")
    return text + b"\n"


def _properties(suite: ElementTree.Element, order: Order, node: Node, progress: NodeProgress) -> None:
    """The suite's own values; readers want them before its cases."""
    has = version(order, installed(node, progress))
    found = {"category": node.category, "state": progress.state, "way": progress.way, "version": has}
    element = ElementTree.SubElement(suite, "properties")
    for name, value in {**found, **progress.facts}.items():
        ElementTree.SubElement(element, "property", name=_written(name), value=_written(value))


def _case(suite: ElementTree.Element, case: Case) -> None:
    element = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_written(case.group),
        name=_written(case.name),
        time=f"{max(0.0, case.seconds):.3f}",
    )
    if case.outcome in ELEMENTS:
        text = _written(case.why)
        first = text.split("\n", 1)[0]
        ElementTree.SubElement(element, ELEMENTS[case.outcome], message=first).text = text


def _cases(name: str, progress: NodeProgress, folder: Path | None) -> Iterable[Case]:
    if progress.before is not None:
        yield from _cases(name, progress.before, folder)
    group = f"{name}.{progress.way}"
    yield from _steps(name, group, progress)
    if progress.log or progress.failed_checks:
        yield from (_check(group, check) for check in _checks(progress, folder))


def _steps(name: str, group: str, progress: NodeProgress) -> Iterable[Case]:
    """What was done with it, and for how long; what it failed in, or where it was left."""
    times = sorted(progress.times.items(), key=lambda item: (item[1], STATES.index(item[0])))
    for (state, at), (after, until) in pairwise(times):
        if state in STEPS and after != "failed":
            yield Case(group, STEPS[state], until - at)
    state = progress.failed_in or progress.state
    step = STEPS.get(state, "its turn")
    if progress.failed_in is not None:
        seconds = progress.times.get("failed", 0.0) - progress.times.get(state, 0.0)
        why = str(failures_of(name, progress)[-1])
        yield Case(group, step, seconds if state in progress.times else 0.0, "failed", why)
    elif state != "released":
        yield Case(group, step, 0.0, "skipped", progress.why or f"not done: the node is {state}")


def _checks(progress: NodeProgress, folder: Path | None) -> tuple[Check, ...]:
    """What was looked at; when its log is gone or another try's, those of which the journal knows."""
    found = checks(progress.log, folder)
    if {check.name for check in found}.issuperset(progress.failed_checks):
        return found
    return tuple(Check(name, "failed", "its log is gone") for name in progress.failed_checks)


def _check(group: str, check: Check) -> Case:
    known = check.outcome == "passed" or check.outcome in ELEMENTS
    return Case(f"{group}.checks", check.name, check.seconds, check.outcome if known else "error", check.why)


def _written(text: str) -> str:
    return UNWRITABLE.sub("\ufffd", plain(text))
