"""Reboots that no rollout asked for: a node that has the new image set takes it at anybody's reboot."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.cluster.drivers.nodes import NodeFacts, NodeManager, Sync
from pipeline.rollout.desk import Desk
from pipeline.rollout.states import NodeProgress

BY_OTHERS = "others have rebooted it meanwhile"


def was_prepared(now: NodeProgress) -> bool:
    """Whether anything may have been set at it on its way out."""
    return "prepared" in (now.before or now).times


def rebooted_since(
    now: NodeProgress, had: str, given: str, sync: Sync | None, facts: NodeFacts | None
) -> str:
    """Why a node that was not told to reboot has been rebooted all the same since it was prepared, or "".

    ``facts`` is what its manager knows of it now; the others are those of ``was_installed``.
    """
    if was_installed(now, had, given, sync):
        return why_installed(sync)
    if facts is not None and _is_installing(facts, had, given):
        return f"{BY_OTHERS}: it is {facts.status.text or facts.status.condition}"
    return ""


def was_installed(now: NodeProgress, had: str, given: str, sync: Sync | None) -> bool:
    """Whether a node that was not told to reboot has been installed all the same since it was prepared.

    ``had`` is its image before, ``given`` the one that was set at it, ``sync`` its last provisioning.
    """
    if sync is None or not was_prepared(now):
        return False
    now = now.before or now
    if now.sync <= 0:  # when it was installed before is not known
        return sync.image == given != had
    return sync.ended > now.sync and not (sync.is_good and sync.image == had != given)


def _is_installing(facts: NodeFacts, had: str, given: str) -> bool:
    """Whether a node is being installed with what it was ``given``."""
    return facts.image == given != had and facts.status.condition in ("installing", "starting", "failed")


def why_installed(sync: Sync | None) -> str:
    """What became of it, for people."""
    return f"{BY_OTHERS}: it was installed from {sync.image}" if sync and sync.image else BY_OTHERS


def rebooted_by_others(desk: Desk, manager: NodeManager, names: Sequence[str]) -> dict[str, str]:
    """Those that were not told to reboot, and have been installed since they were prepared; why so."""
    of = desk.of
    names = [name for name in names if not of[name].was_rebooted and was_prepared(of[name])]
    if not names:
        return {}
    syncs, facts = manager.synced(names), manager.survey().nodes
    had, given = desk.nodes, desk.order.wanted
    found = {
        name: rebooted_since(of[name], had[name].image, given[name], syncs.get(name), facts.get(name))
        for name in names
    }
    return {name: why for name, why in found.items() if why}
