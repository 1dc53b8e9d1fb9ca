"""Nodes that a later rollout has brought back already: no disk is wiped once more for what is on it."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.cluster.drivers.nodes import Survey, Sync
from pipeline.cluster.nodesets import folded
from pipeline.errors import UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.commands import command, start_again
from pipeline.rollout.folder import Kept
from pipeline.rollout.journal import DamagedError
from pipeline.rollout.model import Finding, Order
from pipeline.rollout.summary import installed

Back = Mapping[str, int]
"""Nodes, and the rollout by which each is back."""


def already_back(kept: Kept, survey: Survey, syncs: Mapping[str, Sync]) -> dict[str, int]:
    """Nodes of ``kept`` that have what they go back to: the last rollout that had its turn with them has
    proved it, and the manager says so (``syncs`` are the last provisionings)."""
    order = kept.order
    goals = {node.name: order.back_to(node.image) for node in order.nodes}
    left = {name for name, goal in goals.items() if _has(name, goal, survey, syncs.get(name))}
    place, found = kept.folder.parent, dict[str, int]()
    for number in reversed(folders.numbers(place)):
        if number <= order.number or not left:
            break
        try:
            later = folders.read(place, number)
        except DamagedError:
            break  # what it did is not known, and so is nothing of what was before it
        for node in (node for node in later.order.nodes if node.name in left):
            its = later.progress.nodes[node.name]
            if not (its.was_rebooted or (node.name in later.order.not_rebooted and its.state != "waiting")):
                continue
            left.remove(node.name)
            if its.state == "released" and installed(node, its) == goals[node.name]:
                found[node.name] = number
    return found


def _has(name: str, image: str, survey: Survey, sync: Sync | None) -> bool:
    """Whether a node is up with this image, and gets no other one."""
    facts = survey.nodes.get(name)
    is_so = facts is not None and facts.image == image and facts.status.condition == "up"
    return is_so and sync is not None and sync.is_good and sync.image == image


def refuse_back(order: Order, back: Back, survey: Survey) -> None:
    """Raise ``UsageError`` when ``order``, which takes back, has nothing to do any more."""
    has = survey.categories
    if not all(node.name in back for node in order.nodes):
        return
    if any(name in has and has[name].image != image for name, image in order.categories.items()):
        return
    names = [node.name for node in order.nodes]
    start, them = start_again(order, names), "it" if len(names) == 1 else "them"
    last = max(back[name] for name in names)
    raise UsageError(
        f"{folded(names)}: taken back already from rollout {order.back_of}, by {_by(back, names)}",
        hint=f"to install {them} once more: {start}" if " --image " in start else None,
        command=command("status", order.cluster, last),
    )


def findings(order: Order, back: Back) -> list[Finding]:
    """That some nodes need nothing any more."""
    names = [node.name for node in order.nodes if node.name in back]
    if not names:
        return []
    return [Finding("warning", f"back already, by {_by(back, names)}: not installed again", folded(names))]


def _by(back: Back, names: list[str]) -> str:
    return ", ".join(f"rollout {number}" for number in sorted({back[name] for name in names}))
