"""The commands that are told as the next step. Each names its rollout: another may have begun since."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Literal

from pipeline.cluster.nodesets import folded
from pipeline.rollout.model import Order

Verb = Literal["status", "resume", "abort", "rollback"]


def command(verb: Verb, cluster: str, number: int) -> str:
    """The command that does this with this rollout, and no other."""
    return f"pipeline rollout {verb} {cluster} --number {number}"


def command_of(verb: Verb, order: Order) -> str:
    """The same for the rollout of ``order``."""
    return command(verb, order.cluster, order.number)


def start_again(order: Order, names: Sequence[str]) -> str:
    """The command that takes these nodes of ``order`` to the same versions once more."""
    goals = {order.targets[image] for name in names if (image := order.wanted[name]) in order.targets}
    images = "".join(f" --image {label}" for label in sorted(str(goal) for goal in goals if goal.version))
    return f"pipeline rollout start {order.cluster}{images} --nodes {quoted(names)}"


def quoted(names: Iterable[str]) -> str:
    """A node set, for a shell."""
    return shlex.quote(folded(names))
