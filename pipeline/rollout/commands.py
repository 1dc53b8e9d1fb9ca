"""The commands that are told as the next step. Each names its rollout: another may have begun since."""

from __future__ import annotations

from typing import Literal

from pipeline.rollout.model import Order

Verb = Literal["status", "resume", "abort", "rollback"]


def command(verb: Verb, cluster: str, number: int) -> str:
    """The command that does this with this rollout, and no other."""
    return f"pipeline rollout {verb} {cluster} --number {number}"


def command_of(verb: Verb, order: Order) -> str:
    """The same for the rollout of ``order``."""
    return command(verb, order.cluster, order.number)
