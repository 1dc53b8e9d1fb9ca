"""The order that takes a rollout back: each node that it touched, to what that node had before."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from pipeline.cluster.drivers.nodes import Survey, Sync
from pipeline.cluster.nodesets import folded
from pipeline.errors import UsageError
from pipeline.rollout.batches import arrange
from pipeline.rollout.commands import command_of
from pipeline.rollout.engine import NOT_REBOOTED
from pipeline.rollout.folder import Kept
from pipeline.rollout.model import Finding, Node, Order, Target
from pipeline.rollout.others import rebooted_since
from pipeline.rollout.states import NodeProgress


def back_order(
    kept: Kept,
    survey: Survey,
    who: str,
    only: Sequence[str] | None = None,
    syncs: Mapping[str, Sync] | None = None,
    back: Mapping[str, int] = {},
) -> Order:
    """The order that takes back ``kept``, or ``only`` these nodes of it.

    ``syncs`` are the last provisionings: a node that others have rebooted meanwhile is installed again.
    Those that are ``back`` already are not.

    Raises ``UsageError`` when there is nothing to take back, or some of ``only`` were not touched.
    """
    order = kept.order
    unmoved = _not_rebooted(kept, survey, syncs or {}) - back.keys()
    stay = unmoved.union(back)
    touched = [node for node in order.nodes if kept.progress.nodes[node.name].is_touched]
    chosen = [node for node in touched if only is None or node.name in set(only)]
    _refuse(kept, touched, chosen, only)
    parts = [[_as_now(node, survey) for node in part] for part in _in_turn(chosen, kept, survey)]
    # What failed on its way back is not taken to where it came from, and none goes before others for proof.
    policy = msgspec.structs.replace(order.policy, on_failure="stop", canary=0)
    gone = _down(order, survey, {node.name for node in chosen})
    batches = tuple(batch for part in parts for batch in arrange(part, policy, gone))
    nodes = tuple(node for part in parts for node in part)
    wanted = {node.name: node.image if node.name in unmoved else order.back_to(node.image) for node in chosen}
    whole, have = {node.name for node in chosen}, _have_new(kept, survey)
    return msgspec.structs.replace(
        order,
        number=0,
        who=who,
        when=time.time(),
        nodes=nodes,
        batches=batches,
        targets={**order.targets, **_targets(nodes, order, survey)},
        wanted=wanted,
        own={node.name: "" for node in chosen if _category_has(node, wanted[node.name], survey)},
        categories={
            category: order.back_to(had)
            for category in have
            if (had := order.had_before(category))
            and all(node.name in whole for node in _of(category, order))
        },
        linked={},
        had={category: survey.categories[category].image for category in have},
        unavailable=gone,
        neighbours=(*(node for node in order.nodes if node.name not in whole), *order.neighbours),
        policy=policy,
        back_of=order.number,
        held=tuple(
            node.name
            for node in chosen
            if node.name not in back
            if _is_held(kept.progress.nodes[node.name], stays=node.name in unmoved)
        ),
        not_rebooted=tuple(node.name for node in chosen if node.name in stay),
    )


def _not_rebooted(kept: Kept, survey: Survey, syncs: Mapping[str, Sync]) -> frozenset[str]:
    """Nodes that have lost nothing: neither this rollout nor others have rebooted them."""
    of, given = kept.progress.nodes, kept.order.wanted
    return frozenset(
        name
        for name, had in ((node.name, node.image) for node in kept.order.nodes)
        if not of[name].was_rebooted
        and not rebooted_since(of[name], had, given[name], syncs.get(name), survey.nodes.get(name))
    )


def _is_held(node: NodeProgress, *, stays: bool) -> bool:
    """Whether it stays away from users when it is not taken back: it has failed, or was never proved.

    ``stays``: nobody has rebooted it.
    """
    is_begun_only = stays and node.way == "out" and node.state in NOT_REBOOTED
    return node.state != "released" and not is_begun_only


def _refuse(kept: Kept, touched: Sequence[Node], chosen: Sequence[Node], only: Sequence[str] | None) -> None:
    order, nodes = kept.order, kept.progress.nodes
    status = command_of("status", order)
    strange = sorted(set(only or ()) - {node.name for node in touched})
    if strange:
        raise UsageError(f"rollout {order.number} has not touched {', '.join(strange)}", command=status)
    if not chosen:
        what = f"rollout {order.number} of {order.cluster} has no node that could be taken back"
        raise UsageError(what, command=status)
    names = {node.name for node in chosen}
    moving = [name for name, node in nodes.items() if node.is_moving]
    left = [name for name in moving if name not in names]
    if kept.is_unfinished and left:
        raise UsageError(
            f"rollout {order.number} is not at its end, and {', '.join(left[:5])} would be left on the way",
            hint="resume it first; abort it then, and take back what you like",
            command=command_of("resume", order),
        )


def _in_turn(chosen: Sequence[Node], kept: Kept, survey: Survey) -> tuple[list[Node], ...]:
    """Those that are down first: others may wait for what is on them. Then those on their way, who have what
    hooks give to one at a time; then all that users have."""
    parts: tuple[list[Node], ...] = ([], [], [])
    for node in chosen:
        is_moving = kept.progress.nodes[node.name].is_moving
        parts[0 if not _is_up(node.name, survey) else 1 if is_moving else 2].append(node)
    return parts


def _is_up(name: str, survey: Survey) -> bool:
    return name in survey.nodes and survey.nodes[name].status.condition == "up"


def _down(order: Order, survey: Survey, chosen: set[str]) -> tuple[Node, ...]:
    """Nodes of the rollout and of its domains that are away by now, and are not taken back."""
    known = {node.name: node for node in (*order.nodes, *order.unavailable)}
    return tuple(node for name, node in known.items() if name not in chosen and not _is_up(name, survey))


def _category_has(node: Node, image: str, survey: Survey) -> bool:
    """Whether the node had its category's image, and the category has ``image`` now."""
    category = survey.categories.get(node.category)
    return not node.own_image and category is not None and category.image == image


def findings(order: Order, survey: Survey) -> tuple[Finding, ...]:
    """What stands against taking nodes back."""
    gone = sorted({image for image in order.wanted.values() if image not in survey.images})
    found = [
        Finding("error", f"the cluster manager has no image {image!r} any more", image, "nodes had it before")
        for image in gone
    ]
    found += _moved(order, survey)
    for name, image in order.wanted.items():
        facts = survey.nodes.get(name)
        if facts is None:
            found.append(Finding("error", "the cluster manager has no such node any more", name))
        elif facts.image not in (image, *order.targets):
            what = f"it has {facts.image} by now, which this rollout did not give it"
            found.append(Finding("warning", what, name))
    return tuple(found)


def _moved(order: Order, survey: Survey) -> list[Finding]:
    """Nodes that somebody has put into another category: what they had was that of the one before."""
    alike: dict[tuple[str, str], list[str]] = {}
    for node in order.nodes:
        facts = survey.nodes.get(node.name)
        if facts is not None and facts.category != node.category:
            alike.setdefault((facts.category, node.category), []).append(node.name)
    return [
        Finding(
            "error",
            f"{'it is' if len(names) == 1 else 'they are'} in the category {now} by now, not in {before}",
            folded(names),
            f"put {'it' if len(names) == 1 else 'them'} into {before} again, or name others by --nodes",
        )
        for (now, before), names in alike.items()
    ]


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


def _have_new(kept: Kept, survey: Survey) -> list[str]:
    """The categories that were switched; of those that were just being switched, which have the new image."""
    new, has = kept.order.categories, survey.categories
    others = _others(kept, survey)
    switched = [name for name in kept.progress.switched if name in has and name not in others]
    begun = [name for name in kept.progress.switching if name in has and has[name].image == new[name]]
    return [*switched, *begun]


def _others(kept: Kept, survey: Survey) -> dict[str, str]:
    """The categories that were switched, and were given another image by others since; which one."""
    order, has = kept.order, survey.categories
    return {
        name: has[name].image
        for name in kept.progress.switched
        if name in has and has[name].image not in (order.categories[name], order.had_before(name))
    }


def kept_categories(kept: Kept, survey: Survey) -> list[Finding]:
    """Categories that keep the image that others gave them since."""
    return [
        Finding("warning", f"the category has {image} by now, which others gave it, and keeps that", name)
        for name, image in _others(kept, survey).items()
    ]
