"""The order that takes a rollout back: each node that it touched, to what that node had before."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from pipeline.cluster.drivers.nodes import Survey
from pipeline.errors import UsageError
from pipeline.rollout.batches import arrange
from pipeline.rollout.folder import Kept
from pipeline.rollout.model import Finding, Node, Order, Target


def back_order(kept: Kept, survey: Survey, who: str, only: Sequence[str] | None = None) -> Order:
    """The order that takes back ``kept``, or ``only`` these nodes of it.

    Raises ``UsageError`` when there is nothing to take back, or some of ``only`` were not touched.
    """
    order, progress = kept.order, kept.progress
    touched = [
        node
        for node in order.nodes
        if progress.nodes[node.name].way == "out" and progress.nodes[node.name].state != "waiting"
    ]
    chosen = [node for node in touched if only is None or node.name in set(only)]
    if only is not None and (strange := sorted(set(only) - {node.name for node in touched})):
        raise UsageError(
            f"rollout {order.number} has not touched {', '.join(strange)}",
            command=f"pipeline rollout status {order.cluster}",
        )
    if not chosen:
        raise UsageError(
            f"rollout {order.number} of {order.cluster} has no node that could be taken back",
            command=f"pipeline rollout status {order.cluster}",
        )
    nodes = tuple(_as_now(node, survey) for node in chosen)
    whole = {node.name for node in chosen}
    return msgspec.structs.replace(
        order,
        number=0,
        who=who,
        when=time.time(),
        nodes=nodes,
        batches=arrange(nodes, order.policy, order.unavailable),
        targets={**order.targets, **_targets(nodes, order, survey)},
        wanted={node.name: node.image for node in chosen},
        categories={
            category: had
            for category in progress.switched
            if (had := _had(category, order)) and all(node.name in whole for node in _of(category, order))
        },
        back_of=order.number,
    )


def findings(order: Order, survey: Survey) -> tuple[Finding, ...]:
    """What stands against taking nodes back."""
    gone = sorted({image for image in order.wanted.values() if image not in survey.images})
    found = [
        Finding("error", f"the cluster manager has no image {image!r} any more", image, "nodes had it before")
        for image in gone
    ]
    for name, image in order.wanted.items():
        facts = survey.nodes.get(name)
        if facts is None:
            found.append(Finding("error", "the cluster manager has no such node any more", name))
        elif facts.image not in (image, *order.targets):
            what = f"it has {facts.image} by now, which this rollout did not give it"
            found.append(Finding("warning", what, name))
    return tuple(found)


def _as_now(node: Node, survey: Survey) -> Node:
    """A node with what it has now, to which it would return if going back fails."""
    facts = survey.nodes.get(node.name)
    if facts is None:
        return node
    return msgspec.structs.replace(node, image=facts.image, own_image=facts.own_image)


def _targets(nodes: Sequence[Node], order: Order, survey: Survey) -> dict[str, Target]:
    images = (node.image for node in nodes if node.image not in order.targets)
    return {
        name: Target(name, path=survey.images[name].path if name in survey.images else "") for name in images
    }


def _of(category: str, order: Order) -> list[Node]:
    return [node for node in order.nodes if node.category == category]


def _had(category: str, order: Order) -> str:
    """The image that a category had: that of its nodes that had none of their own."""
    return next((node.image for node in _of(category, order) if not node.own_image), "")
