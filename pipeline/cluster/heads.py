"""Another head node than at the last apply: nothing was applied there, and nothing is owed to it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pipeline.cluster import record
from pipeline.cluster.model import Cluster
from pipeline.cluster.record import Of
from pipeline.errors import UsageError


def is_here(its: Of, cluster: Cluster) -> bool:
    """Whether a record is of the head node that the site names now, as far as is known: one of before the
    head node was kept is of this one."""
    return its.head in ("", cluster.head) or cluster.same_head


def refuse_elsewhere(store: Path, cluster: Cluster, its: Of) -> None:
    """Raise ``UsageError`` where what was applied last was applied to another head node."""
    if is_here(its, cluster):
        return
    raise UsageError(
        f"what was applied as {cluster.name} was applied to the head node {its.head}, and the site's [head] "
        f"has {cluster.head}",
        where=str(record.file_of(store, cluster.name)),
        hint="name the old one again, or give the other one a store of its own (in the site file), for what "
        "is applied and rolled out is kept there; only if both are names of one head node, say so",
        command=f"pipeline cluster plan {cluster.name} --same-head",
    )


def refuse_rollout(store: Path, cluster: Cluster) -> None:
    """The same for rollouts, which go by what the store has of a cluster."""
    refuse_elsewhere(store, cluster, record.load(store, cluster.name).of)


def noted(cluster: Cluster, its: Of) -> Cluster:
    """``cluster`` with a note where two names are taken for one head node."""
    if its.head in ("", cluster.head) or not cluster.same_head:
        return cluster
    note = f"{its.head} and {cluster.head} are taken for one head node: apply --same-head keeps that"
    return msgspec.structs.replace(cluster, notes=(*cluster.notes, note))
