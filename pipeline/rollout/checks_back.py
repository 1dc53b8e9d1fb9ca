"""What stands against taking nodes back, before anything is touched: all of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from pipeline.cluster.drivers.nodes import Survey
from pipeline.cluster.head import Head
from pipeline.cluster.model import Cluster
from pipeline.cluster.nodesets import folded
from pipeline.recipe.model import Site
from pipeline.rollout import already, returning, trees
from pipeline.rollout import folder as folders
from pipeline.rollout.checks import disks, gathered, of_hook, refused
from pipeline.rollout.checks_nodes import findings_back
from pipeline.rollout.checks_signed import targeted, unsigned
from pipeline.rollout.model import Finding, Order
from pipeline.rollout.ordering import led_to
from pipeline.rollout.parts import Hook
from pipeline.store.store import Store


class Back(msgspec.Struct, frozen=True):
    """The order that takes ``kept`` back, and whoever can tell what is wrong with it."""

    order: Order
    kept: folders.Kept
    cluster: Cluster
    site: Site
    store: Store
    survey: Survey
    head: Head
    hooks: Sequence[Hook] = ()
    already: already.Back = {}


def find_back(asked: Back) -> tuple[Finding, ...]:
    """Everything, errors first; each once. Nothing is touched."""
    order, survey = _installed(asked.order), asked.survey
    overlap = partial(folders.refuse_overlap, asked.site.store, asked.order, asked.kept.folder)
    return gathered(
        (
            lambda: returning.findings(asked.order, survey),
            lambda: returning.kept_categories(asked.kept, survey),
            lambda: refused([overlap]),
            lambda: findings_back(order, survey),
            lambda: disks(order, survey, asked.head, asked.cluster),
            lambda: _directories(asked, order),
            lambda: _turned_links(asked, order),
            lambda: _not_rebooted(asked.order, asked.already),
            lambda: already.findings(asked.order, asked.already),
            lambda: unsigned(asked.site, asked.store, targeted(order, asked.store), "warning"),
            *(of_hook(hook, asked.order.nodes) for hook in asked.hooks),
        )
    )


def _installed(order: Order) -> Order:
    """The part of ``order`` that is rebooted and installed."""
    stay = frozenset(order.not_rebooted)
    return msgspec.structs.replace(
        order,
        nodes=tuple(node for node in order.nodes if node.name not in stay),
        wanted={name: image for name, image in order.wanted.items() if name not in stay},
    )


def _not_rebooted(order: Order, back: already.Back) -> list[Finding]:
    names = [name for name in order.not_rebooted if name not in back]
    if not names:
        return []
    what = "not rebooted since, and not now: only its image setting and what hooks did are undone"
    return [Finding("warning", what, folded(names))]


def _directories(asked: Back, order: Order) -> list[Finding]:
    """Where nodes are installed from, on the head node. What was changed there keeps nobody."""
    names = dict.fromkeys(order.wanted.values())
    wanted = [target for name in names if (target := order.targets.get(name)) and target.path]
    lost = trees.lost(asked.head, wanted)
    found = [
        Finding(
            "error",
            f"the directory {target.path} is gone, from which nodes would be installed",
            target.name,
            "publish the version again" if target.version else "put it there again",
            f"pipeline publish {target}" if target.version else "",
        )
        for target in lost
    ]
    there = []
    for target in wanted:
        version = asked.store.versions.get(target.image, target.version) if target.version else None
        if version is not None and target not in lost:
            there.append(trees.tree(asked.store, target, version))
    changed = trees.on_head(asked.site, asked.store, asked.head, there, asked.cluster.rollout.ignore)
    return [*found, *(msgspec.structs.replace(each, severity="warning") for each in changed)]


def _turned_links(asked: Back, order: Order) -> list[Finding]:
    """Links that lead to what nodes are taken back from: older orders don't tell where they led before."""
    given = asked.kept.order
    new = {(its.image, its.version) for its in (given.targets[name] for name in given.wanted.values())}
    found = []
    for name in dict.fromkeys(order.wanted.values()):
        target = order.targets.get(name)
        if target is None or target.version:
            continue
        version = led_to(asked.site, asked.store, target.path)
        if version is not None and (version.image, version.number) in new:
            what = f"{target.path} points to {version.label} by now, from which nodes are to be taken back"
            hint = "turn it back to what they had; or start a rollout to that version"
            found.append(Finding("error", what, name, hint, f"pipeline rollback {version.image}"))
    return found
