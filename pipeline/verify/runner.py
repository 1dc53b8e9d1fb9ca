"""Running a version's tests against its root: pytest in a process of its own, the root in this one.

A test file can fail, hang on to nothing, or take its process down; it can't take this program down, and what
ends otherwise than in order is never a pass.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.chroot.root import Root
from pipeline.store.filesystem import told as telling
from pipeline.store.records import Verification
from pipeline.verify import inside, isolated, reports
from pipeline.verify.digest import tests_digest
from pipeline.verify.messages import (
    Ask,
    Collected,
    Ended,
    GoneError,
    ImageFacts,
    Message,
    Ran,
    Result,
    Run,
    Started,
    receive,
    send,
)
from pipeline.verify.services import all_services

__all__ = ["ImageFacts", "run_tests"]

LOG = "pytest.log"
PLUGIN = "pipeline.verify.plugin"
QUESTIONS: dict[str, Callable[..., Any]] = {
    question.__name__: question
    for question in (
        inside.look,
        inside.read,
        inside.digest,
        inside.listing,
        inside.matches,
        inside.accounts,
        inside.rpm_database,
        all_services,
    )
}
"""What tests may have called in the root."""


class Told(msgspec.Struct):
    """What the process that runs the tests has told so far."""

    results: list[Result] = msgspec.field(default_factory=list)
    collected: Collected | None = None
    running: str | None = None
    ended: bool = False


def run_tests(
    tests: Sequence[Path], root: Root, facts: ImageFacts, out: Path, on_line: Callable[[str], None]
) -> Verification:
    """Run test files against ``root``; write ``junit.xml``, ``results.json`` and ``pytest.log`` to ``out``.

    ``on_line`` gets a line for each test as it ends. Failing tests are no error of this function: they are in
    what it returns. Passed means: every file holds tests, every test came to its end, none failed, at least
    one passed. Nothing of them outlives the thread that called. Raises what ``root`` raises when it breaks.
    """
    begun = time.time()
    of_tests = tests_digest(tests)  # before they run: what is changed meanwhile was not tested
    with telling(f"the tests of {facts.name}@{facts.number} cannot be run", out):
        out.mkdir(parents=True, exist_ok=True)
        (out / LOG).write_bytes(b"")
    files = tuple(dict.fromkeys(path.absolute() for path in tests))
    told = Told()
    if files:
        top = Path(os.path.commonpath([path.parent for path in files]))
        problems = _run_pytest(files, top, root, facts, out / LOG, on_line, told)
        for problem in problems:
            _take(told, problem, on_line)
    verification = Verification(
        passed=_all_is_well(told),
        tests_digest=of_tests,
        when=begun,
        seconds=round(time.time() - begun, 3),
        results=tuple((r.test, r.outcome, round(r.seconds, 4), r.message) for r in told.results),
    )
    with telling(f"the test results of {facts.name}@{facts.number} cannot be written", out):
        reports.write(verification, facts, out)
    return verification


def _run_pytest(
    files: tuple[Path, ...],
    top: Path,
    root: Root,
    facts: ImageFacts,
    log: Path,
    on_line: Callable[[str], None],
    told: Told,
) -> list[Result]:
    """Run pytest to its end; returns what is wrong beyond the results that it told."""
    with isolated.running(PLUGIN, files, top, log) as pytest:
        _serve(pytest, root, facts, on_line, told)
        code = pytest.end()
    return [*_unfinished(told, code, log), *_empty(told, files, top)]


def _serve(
    pytest: isolated.Pytest, root: Root, facts: ImageFacts, on_line: Callable[[str], None], told: Told
) -> None:
    """Answer the tests until their process says so, or ends, or talks nonsense."""
    connection = pytest.connection
    try:
        send(connection, facts)
        while not told.ended and pytest.says_more():
            message = receive(connection, Message)
            if isinstance(message, Run):
                send(connection, _run(root, message.command))
            elif isinstance(message, Ask):
                send(connection, root.call(QUESTIONS[message.question], *message.arguments))
            else:
                _take(told, message, on_line)
    except (GoneError, msgspec.DecodeError, KeyError):
        return


def _run(root: Root, command: bytes) -> Ran:
    finished = root.run(["/bin/sh", "-c", os.fsdecode(command)], exit_codes=(), separate=True)
    return Ran(finished.exit_code, finished.stdout, finished.stderr)


def _take(told: Told, event: Collected | Started | Result | Ended, on_line: Callable[[str], None]) -> None:
    if isinstance(event, Collected):
        told.collected = event
    elif isinstance(event, Started):
        told.running = event.test
    elif isinstance(event, Ended):
        told.ended = True
    else:
        told.running = None
        told.results.append(event)
        on_line(f"{event.outcome:7} {event.test}  {event.seconds:.2f} s")
        for line in event.message.splitlines():
            on_line(f"        {line}")


def _unfinished(told: Told, code: int, log: Path) -> list[Result]:
    """What did not come to its end: the test that was running, those never begun, or pytest itself."""
    how = isolated.how_it_ended(code)
    problems = []
    if told.running is not None:
        problems.append(Result(told.running, "error", 0.0, f"the process of the tests {how} in this test"))
    done = {result.test for result in (*told.results, *problems)}
    never_run = [test for test in (told.collected.tests if told.collected else ()) if test not in done]
    text = f"never run: the process of the tests {how}"
    problems += [Result(test, "error", 0.0, text) for test in never_run]
    failures = [result for result in (*told.results, *problems) if result.outcome in ("failed", "error")]
    if not failures and (code or not told.ended):
        problems.append(Result("pytest", "error", 0.0, "\n".join([f"pytest {how}", *isolated.last(log)])))
    return problems


def _empty(told: Told, files: tuple[Path, ...], top: Path) -> list[Result]:
    """A file without tests is a mistake, not a pass."""
    if told.collected is None:
        return []
    known = {*told.collected.files, *(result.test for result in told.results)}
    return [
        Result(name, "error", 0.0, f"{name}: holds no test")
        for name in isolated.names_not_in(known, files, top)
    ]


def _all_is_well(told: Told) -> bool:
    outcomes = {result.outcome for result in told.results}
    return told.ended and "passed" in outcomes and outcomes <= {"passed", "skipped"}
