"""The same commands in many nodes: who has them done, and why not the others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipeline.cluster.drivers.bright.parse import troubles
from pipeline.cluster.drivers.bright.quote import unsafe_name
from pipeline.cluster.drivers.bright.script import Told, groups, text, told
from pipeline.cluster.drivers.bright.session import Session
from pipeline.cluster.drivers.bright.steps import Step
from pipeline.cluster.drivers.bright.write import limit
from pipeline.cluster.objects import Ref
from pipeline.errors import PipelineError, Problem

ROUNDS = 8
"""How often it goes on behind a node that was refused; then it is no matter of single nodes."""


def each(session: Session, commands: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Do its commands in each of these nodes; those that are the same in one loop, and all in one call.

    Returns why it is not done, for each node where it isn't. cmsh ends at the first error, so behind a node
    that is refused it goes on by another call. Raises ``MachineError`` when nothing is known.
    """
    refused = {name: f"{name!r} {why}" for name in commands if (why := unsafe_name(name))}
    left = {name: _step(name, lines) for name, lines in commands.items() if name not in refused}
    for number in range(ROUNDS):
        if not left:
            break
        parts = groups(left.values())
        ran = session.run(text(parts), seconds=limit(session, tuple(left.values())))
        after = told(parts, ran.out)
        done = {one.step.name for one in after if one.ended and not troubles(one.lines)}
        begun = [one for one in after if one.begun and one.step.name not in done]
        said = " / ".join(line.strip() for line in ran.err.splitlines()[-4:] if line.strip())
        for name in done:
            del left[name]
        for one in begun:
            refused[one.step.name] = _why(one, said, ran.code)
            del left[one.step.name]
        if left and (not begun or number == ROUNDS - 1):
            why = said or " / ".join(line for one in after for line in one.lines[-2:]) or "cmsh said nothing"
            refused.update(dict.fromkeys(left, why))
            break
    return refused


def _step(name: str, lines: Sequence[str]) -> Step:
    ref = Ref("node", name)
    return Step("device", name, f"use {name}", tuple(lines), "get hostname", re.escape(name), (ref,))


def _why(one: Told, said: str, code: int) -> str:
    words = troubles(one.lines) or list(one.lines[-2:])
    return " / ".join([*words, *([said] if said else [])]) or f"cmsh ended with exit code {code}"


def raise_any(refused: Mapping[str, str], what: str) -> None:
    """Raise with a problem for each node, if there are any."""
    if refused:
        raise PipelineError(Problem(f"{what}: {why}", name) for name, why in sorted(refused.items()))
