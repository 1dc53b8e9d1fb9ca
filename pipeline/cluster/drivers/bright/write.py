"""Writing: steps are run, and what could not be done is told with the object and the property."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pipeline.cluster.drivers.bright.parse import refusals, troubles
from pipeline.cluster.drivers.bright.script import Told, groups, text, told
from pipeline.cluster.drivers.bright.session import Session, UnreachableError
from pipeline.cluster.drivers.bright.state import Owner, statuses
from pipeline.cluster.drivers.bright.steps import WAITS, Step
from pipeline.cluster.drivers.bright.words import ours
from pipeline.cluster.head import Ran
from pipeline.cluster.objects import Ref
from pipeline.errors import PipelineError, Problem, retold

SHOWN = 6
"""How many objects a message names."""


SERVICE_SECONDS = 10.0
"""How long a service may take to be up or down."""

SERVICE_PAUSE = 0.5

STEP_SECONDS = 10.0
"""How much longer each step may take: CMDaemon writes files and tells nodes at a commit."""


def limit(session: Session, steps: Sequence[Step]) -> float | None:
    """How long writing may take. An image's copying has no limit: only a lost connection ends the wait."""
    if any(WAITS in step.commands for step in steps):
        return None
    return session.head.answer_seconds + STEP_SECONDS * len(steps)


def run(
    session: Session, steps: Sequence[Step], done: Sequence[Step] = (), later: Sequence[Step] = ()
) -> None:
    """Do the steps in one call. Raises when one isn't known to be done, with all that is known.

    ``done`` are those of an earlier call, ``later`` those that are to follow: both are told then as well.
    """
    if not steps:
        return
    before, behind = _told(done, ended=True), _told(later, ended=False)
    parts = groups(steps)
    try:
        ran = session.run(text(parts), seconds=limit(session, steps))
    except UnreachableError as error:
        after = told(parts, error.ran.out)
        # Before anything had begun it's as if cmsh had never been there.
        if not done and not any(one.begun for one in after):
            raise
        raise retold(error, [*error.problems, *_tail([*before, *after, *behind], lost=True)]) from None
    problems = _judge(ran, after := told(parts, ran.out), session.head.label)
    if problems:
        raise PipelineError([*problems, *_tail([*before, *after, *behind])])
    _await(session, steps)


def _await(session: Session, steps: Sequence[Step]) -> None:
    """Wait until services that were started are up, and those that were stopped are down; raise with those
    that don't become so. CMDaemon may say that it started one before it runs."""
    waiting = {
        (Owner(step.mode, step.name), step.service): step for step in steps if step.service and step.refs
    }
    until = time.monotonic() + SERVICE_SECONDS
    while waiting:
        up = statuses(session, waiting)
        waiting = {key: step for key, step in waiting.items() if up.get(key) is not step.up}
        if not waiting:
            return
        if time.monotonic() > until:
            raise PipelineError(
                Problem(
                    f"was {'started, and is not up' if step.up else 'stopped, and is not down'} after "
                    f"{SERVICE_SECONDS:.0f} s",
                    str(step.refs[0]),
                    "its own log says why; all else was committed",
                )
                for step in waiting.values()
            )
        time.sleep(SERVICE_PAUSE)


def tail(done: Sequence[Step], later: Sequence[Step]) -> list[Problem]:
    """What was committed before something went wrong between two calls, and what was not."""
    return _tail([*_told(done, ended=True), *_told(later, ended=False)])


def _told(steps: Sequence[Step], *, ended: bool) -> list[Told]:
    return [Told(step, ended, ended, ()) for step in steps]


def _judge(ran: Ran, after: Sequence[Told], where: str) -> list[Problem]:
    """What went wrong, if anything did."""
    problems = [problem for one in after for problem in _problems(one)]
    open_ = [one for one in after if not one.ended]
    said = [line.strip() for line in ran.err.splitlines() if line.strip()]
    if open_ and not any(not one.ended and _problems(one) for one in after):
        stopped = next((one for one in open_ if one.begun), open_[0])
        words = [*stopped.lines, *said] or ["cmsh said nothing"]
        problems += [Problem(" / ".join(words[-4:]), str(ref)) for ref in stopped.step.refs[:1]]
        said = []
    elif not open_ and not problems and ran.code:
        words = said or [f"cmsh ended with exit code {ran.code} and said nothing"]
        problems.append(Problem(" / ".join(words[-4:]), where))
        said = []
    if problems and said:
        problems.append(Problem(" / ".join(said[-4:]), where))
    return problems


def _problems(one: Told) -> list[Problem]:
    """What the lines about one step say: validation tables by property, else errors as they are."""
    table = refusals(one.lines)
    if table:
        kind = one.step.refs[0].kind
        return [
            Problem(f"{ours(kind, line.field)}: {line.message}", str(_about(one.step, line.message)))
            for line in table
        ]
    return [Problem(line, str(_about(one.step, line))) for line in troubles(one.lines)]


def _about(step: Step, message: str) -> Ref:
    """The object that a message is about; several settings share a step, then the one that it names."""
    named = [ref for ref in step.refs if ref.name in message]
    return named[0] if named else step.refs[0]


def _tail(after: Sequence[Told], *, lost: bool = False) -> list[Problem]:
    """Which objects had been committed when it stopped, and which had not.

    When the connection is ``lost``, the one that had begun may have been committed just before.
    """
    done = [ref for one in after if one.ended and not _problems(one) for ref in one.step.refs]
    maybe = [ref for one in after if lost and one.begun and not one.ended for ref in one.step.refs]
    left = [
        ref for one in after if not one.ended or _problems(one) for ref in one.step.refs if ref not in maybe
    ]
    parts = [f"already committed: {_listed(done)}" if done else "nothing is known to be committed"]
    if maybe:
        parts.append(f"perhaps: {_listed(maybe)}")
    if left:
        parts.append(f"not: {_listed(left)}")
    return [Problem("; ".join(parts))] if left or maybe else []


def _listed(refs: Sequence[Ref]) -> str:
    names = [str(ref) for ref in dict.fromkeys(refs)]
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
