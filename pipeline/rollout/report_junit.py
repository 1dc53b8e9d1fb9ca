"""A rollout as JUnit XML, as CI reads it: a suite for each node, its steps and checks as test cases."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import msgspec

from pipeline.printable import plain
from pipeline.rollout.logs import FAILED, checks
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
        yield "".join(_suite(order, node, progress.nodes[node.name], folder)).encode()
    yield b"</testsuites>\n"


def _suite(order: Order, node: Node, progress: NodeProgress, folder: Path | None) -> Iterator[str]:
    """One suite, as text: a tree of elements would take three times as long for thousands of nodes."""
    cases = list(_cases(node.name, progress, folder))
    outcomes = [case.outcome for case in cases]
    began = datetime.fromtimestamp(progress.began or order.when, UTC)
    counts = {
        "tests": len(cases),
        "failures": outcomes.count("failed"),
        "errors": outcomes.count("error"),
        "skipped": outcomes.count("skipped"),
        "time": f"{max(0.0, progress.since - progress.began):.3f}",
        "timestamp": began.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    counted = " ".join(f'{name}="{value}"' for name, value in counts.items())
    yield f"<testsuite name={_value(node.name)} {counted}>\n"
    yield _properties(order, node, progress)
    yield from map(_case, cases)
    yield "</testsuite>\n"


def _properties(order: Order, node: Node, progress: NodeProgress) -> str:
    """The suite's own values; readers want them before its cases."""
    has = version(order, installed(node, progress))
    found = {"category": node.category, "state": progress.state, "way": progress.way, "version": has}
    lines = (
        f"<property name={_value(name)} value={_value(value)}/>\n"
        for name, value in {**found, **progress.facts}.items()
    )
    return f"<properties>\n{''.join(lines)}</properties>\n"


def _case(case: Case) -> str:
    seconds = max(0.0, case.seconds)
    head = f'<testcase classname={_value(case.group)} name={_value(case.name)} time="{seconds:.3f}"'
    if case.outcome not in ELEMENTS:
        return f"{head}/>\n"
    element, text = ELEMENTS[case.outcome], _written(case.why)
    message = quoteattr(text.split("\n", 1)[0])
    return f"{head}><{element} message={message}>{escape(text)}</{element}></testcase>\n"


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
    failed = {check.name for check in found if check.outcome in FAILED}
    if failed.issuperset(progress.failed_checks):
        return found
    return tuple(Check(name, "failed", "its log is gone") for name in progress.failed_checks)


def _check(group: str, check: Check) -> Case:
    known = check.outcome == "passed" or check.outcome in ELEMENTS
    return Case(f"{group}.checks", check.name, check.seconds, check.outcome if known else "error", check.why)


@lru_cache(4096)
def _value(text: str) -> str:
    """An attribute's value; the same names come again for each node."""
    return quoteattr(_written(text))


def _written(text: str) -> str:
    return UNWRITABLE.sub("\ufffd", plain(text))
