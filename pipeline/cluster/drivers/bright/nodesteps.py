"""The same commands in many nodes: who has them done, who was refused, and of whom nothing is known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from pipeline.cluster.drivers.bright.parse import troubles
from pipeline.cluster.drivers.bright.quote import unsafe_name
from pipeline.cluster.drivers.bright.read import reachable, says_no
from pipeline.cluster.drivers.bright.script import Told, groups, text, told
from pipeline.cluster.drivers.bright.session import Session, UnreachableError
from pipeline.cluster.drivers.bright.steps import Step
from pipeline.cluster.drivers.bright.write import limit
from pipeline.cluster.head import Ran
from pipeline.cluster.objects import Ref
from pipeline.errors import PipelineError, Problem


class Outcome(msgspec.Struct, frozen=True):
    """What became of commands, by node; a node in none of these has them done.

    ``refused``: cmsh ended at them with an error. ``doubtful``: done to their end, but something in between
    sounds like an error. ``unknown``: the answer ends before them, and nobody says why; they may be done.
    """

    refused: dict[str, str]
    doubtful: dict[str, str]
    unknown: dict[str, str]


def each(session: Session, commands: Mapping[str, Sequence[str]]) -> Outcome:
    """Do its commands in each of these nodes; those that are the same in one loop, and all in one call.

    cmsh ends at the first error, so behind a node that is refused it goes on by another call: there are as
    many as nodes that are refused, and one more. Raises ``MachineError`` when there is no connection.
    """
    unsafe = {name: f"{name!r} {why}" for name in commands if (why := unsafe_name(name))}
    outcome = Outcome(unsafe, {}, {})
    piles = [tuple(_step(name, lines) for name, lines in commands.items() if name not in unsafe)]
    while piles:
        if pile := piles.pop():
            piles += _once(session, pile, outcome)
    return outcome


def _step(name: str, lines: Sequence[str]) -> Step:
    ref = Ref("node", name)
    return Step("device", name, f"use {name}", tuple(lines), "get hostname", re.escape(name), (ref,))


def _once(session: Session, pile: Sequence[Step], outcome: Outcome) -> list[tuple[Step, ...]]:
    """One call; returns what surely hasn't begun, as it is to be done next."""
    parts = groups(pile)
    try:
        ran, is_lost = session.run(text(parts), seconds=limit(session, pile)), False
    except UnreachableError as error:
        ran, is_lost = error.ran, True
        if not any(one.begun for one in told(parts, ran.out)):
            raise
        # A node that doesn't answer is told of in the same words as a daemon that doesn't.
        reachable(session)
    after = told(parts, ran.out)
    stopped = [one for one in after if one.begun and not one.ended]
    left = tuple(one.step for one in after if not one.begun)
    _sort(after, ran, outcome, is_lost=is_lost)
    if is_lost:
        return [left]
    if not left or any(one.step.name in outcome.refused for one in stopped):
        return [left]
    if stopped or not says_no(ran, [line for one in after for line in one.lines]):
        outcome.unknown.update(dict.fromkeys((step.name for step in left), _words(after, ran)))
        return []
    if len(left) < len(pile):
        return [left]
    # Nothing has begun: cmsh doesn't take the loop because of one of its names, perhaps.
    if len(left) == 1:
        outcome.refused[left[0].name] = _words(after, ran)
        return []
    half = len(left) // 2
    return [left[half:], left[:half]]


def _sort(after: Sequence[Told], ran: Ran, outcome: Outcome, *, is_lost: bool) -> None:
    """Those that have begun."""
    for one in after:
        words = " / ".join(troubles(one.lines))
        if one.ended and words:
            outcome.doubtful[one.step.name] = words
        elif one.begun and not one.ended:
            is_refused = not is_lost and says_no(ran, one.lines)
            (outcome.refused if is_refused else outcome.unknown)[one.step.name] = _words([one], ran)


def _words(after: Sequence[Told], ran: Ran) -> str:
    lines = [line for one in after for line in (troubles(one.lines) or one.lines[-2:])]
    said = [line.strip() for line in ran.err.splitlines()[-4:] if line.strip()]
    if lines or said:
        return " / ".join((*lines[-4:], *said))
    return f"cmsh ended with exit code {ran.code}" if ran.code else "cmsh said nothing"


def raise_any(refused: Mapping[str, str], what: str) -> None:
    """Raise with a problem for each node, if there are any."""
    if refused:
        raise PipelineError(Problem(f"{what}: {why}", name) for name, why in sorted(refused.items()))
