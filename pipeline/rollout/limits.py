"""The limits of a rollout as numbers of nodes."""

from __future__ import annotations

from pipeline.cluster.model import Cluster
from pipeline.cluster.rolling import Share
from pipeline.recipe.findings import positions
from pipeline.recipe.lines import KeyPath
from pipeline.rollout.model import Finding, Policy, Waits


def policy(cluster: Cluster, nodes: int, members: int) -> tuple[Policy, tuple[Finding, ...]]:
    """The limits for a rollout of ``nodes`` nodes, and those that are more than there could ever be.

    Percent are of ``nodes``. A number may be more than ``nodes``, for only some may be asked for, but not
    more than the ``members`` of all categories that it is about.
    """
    said = cluster.rollout
    kept: dict[str, int] = {}
    there = "the 1 node that" if members == 1 else f"the {members} nodes that"
    are = "is" if members == 1 else "are"
    over: list[tuple[KeyPath, str]] = []

    def limit(key: str, share: Share, at: KeyPath) -> int:
        if members and not share.is_percent and share.number > members:
            over.append((("rollout", *at), f"{key} = {share} is more than {there} there {are}"))
        return share.of(nodes)

    canary = min(limit("canary", Share(said.canary), ("canary",)), max(nodes, 1))
    most = limit("max_unavailable", said.max_unavailable, ("max_unavailable",))
    for name, share in said.domains.items():
        kept[name] = limit(f"domains.{name}", share, ("domains", name))
    budget = said.failure_budget.of(nodes, least=0)
    limit("failure_budget", said.failure_budget, ("failure_budget",))
    if budget == members > 0 and not said.failure_budget.is_percent:
        all_of_them = "the only node" if members == 1 else f"all {members} nodes"
        what = f"failure_budget = {budget} would let {all_of_them} fail"
        over.append((("rollout", "failure_budget"), what))
    made = Policy(
        canary=canary,
        max_unavailable=most,
        domains=kept,
        failure_budget=budget,
        on_failure=said.on_failure,
        install=said.install,
        waits=Waits(**said.waits),
    )
    places = positions(cluster.file, [at for at, _ in over])
    return made, tuple(Finding("error", what, place) for (_, what), place in zip(over, places, strict=True))
