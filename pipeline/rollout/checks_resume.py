"""What stands against going on with a rollout: what its hooks or tests lack that they had when it began."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import Problem, UsageError
from pipeline.rollout.checks import gathered, of_hook
from pipeline.rollout.commands import command_of
from pipeline.rollout.folder import Kept
from pipeline.rollout.model import Finding, Node
from pipeline.rollout.parts import Hook, Verifier


def refuse_resume(kept: Kept, hooks: Sequence[Hook], verifier: Verifier, *, retry: bool = False) -> None:
    """Raise ``UsageError`` with each error because of which good nodes would fail. Nothing is touched.

    While nodes are away, or failed, services are not as at the start: then only what can't be asked counts.
    """
    asked, of = _left(kept, retry), kept.progress.nodes
    as_at_start = not any(node.is_away for node in of.values())
    found = [
        each for each in gathered([of_hook(hook, asked) for hook in hooks]) if as_at_start or each.unasked
    ]
    to_prove = [node for node in asked if of[node.name].state != "verified"]
    if to_prove:
        found += gathered([lambda: verifier.find(to_prove)])
    errors = [each for each in found if each.severity == "error"]
    if errors:
        raise UsageError([*map(_problem, errors), _last(kept)])


def _left(kept: Kept, retry: bool) -> list[Node]:
    """Nodes that have yet to go, or are on their way; of a rollout that goes back all may be."""
    of, goes_back = kept.progress.nodes, kept.progress.is_going_back
    settled = {"released"} if retry else {"released", "failed"}
    return [node for node in kept.order.nodes if goes_back or of[node.name].state not in settled]


def _problem(each: Finding) -> Problem:
    return Problem(each.what, each.where or None, each.hint or None, each.command or None)


def _last(kept: Kept) -> Problem:
    order = kept.order
    return Problem(
        f"rollout {order.number} of {order.cluster} does not go on: nodes would fail for that",
        str(kept.folder),
        "put it right, then resume it; nodes on their way go on by themselves",
        command_of("resume", order),
    )
