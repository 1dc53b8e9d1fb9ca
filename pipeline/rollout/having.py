"""Versions that clusters have by what their applies and ended rollouts left: nodes are installed from them
whenever they boot, or would be by `rollback`. All of it is in the store; the cluster manager isn't asked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pipeline.cluster import record, rolled
from pipeline.cluster.nodesets import folded
from pipeline.errors import PipelineError
from pipeline.rollout import folder as folders
from pipeline.rollout.journal import DamagedError
from pipeline.rollout.model import Node, Order, Target
from pipeline.rollout.states import Progress

MADE = re.compile(r"-(\d+)")
"""What follows the name of an image in that of the manager's image for a version."""


class Need(msgspec.Struct, frozen=True):
    """That ``image@number``, or whatever is at ``path``, has to stay; without either any version may have to.

    ``command`` is what changes that; "": only letting go of it by force.
    """

    why: str
    command: str = ""
    image: str = ""
    number: int = 0
    path: str = ""

    def is_of(self, image: str, number: int, place: Path) -> bool:
        """Whether it is about this version, whose directory is ``place``."""
        if not (self.image or self.path):
            return True
        return (self.image, self.number) == (image, number) or self._is_at(place)

    def _is_at(self, place: Path) -> bool:
        """Whether ``path`` is ``place``, or a link that leads there, such as an image's."""
        return bool(self.path) and os.path.realpath(self.path) == os.path.realpath(place)


def needs(store: Path) -> tuple[Need, ...]:
    """What all clusters of the store have, and go back to."""
    top = store / rolled.FOLDER
    names = {file.stem for file in top.glob("*.json")} | {file.parent.name for file in top.glob("*/*")}
    return tuple(need for cluster in sorted(names) for need in _of_cluster(store, cluster))


def _of_cluster(store: Path, cluster: str) -> Iterator[Need]:
    try:
        applied = record.load(store, cluster).applied
        yield from _of_images(cluster, applied)
        yield from _of_categories(cluster, applied, rolled.load(store, cluster))
    except PipelineError as error:
        command = error.problems[0].command or f"pipeline cluster status {cluster}"
        yield Need(f"what {cluster} has can't be read, and it may be this one", command)
    yield from _of_nodes(cluster, folders.rollouts(store, cluster))
    yield from _way_back(cluster, folders.rollouts(store, cluster))


def _of_images(cluster: str, applied: rolled.Applied) -> Iterator[Need]:
    """The directories that the cluster file gives to images."""
    for name, properties in applied.items():
        if name.startswith("image/") and (path := str(properties.get("path", ""))):
            why = f"the image {name.removeprefix('image/')} of {cluster} has its directory, as was applied"
            yield Need(why, f"pipeline cluster apply {cluster}", path=path)


def _of_categories(cluster: str, applied: rolled.Applied, known: rolled.Rolled) -> Iterator[Need]:
    found: dict[tuple[str, int], list[str]] = {}
    for category, images in known.items():
        now = applied.get(f"category/{category}", {}).get("image")
        for image, name in images.items():
            made = MADE.fullmatch(name.removeprefix(image))
            # Where something else was applied since, it has that.
            if made is not None and now in (None, name):
                found.setdefault((image, int(made[1])), []).append(category)
    for (image, number), categories in found.items():
        many = "categories" if len(categories) > 1 else "category"
        why = f"the {many} {', '.join(sorted(categories))} of {cluster} {_has(categories)} it, as rolled out"
        yield Need(why, f"pipeline rollout start {cluster}", image, number)


def _of_nodes(cluster: str, place: Path) -> Iterator[Need]:
    """What nodes have by the last rollout that they were in: where not all of its nodes were taken, a
    category has something else."""
    known: set[str] = set()
    found: dict[Target, list[str]] = {}
    for order in _orders(place):
        nodes = [node for node in order.nodes if node.name not in known]
        known.update(node.name for node in nodes)
        progress = _progress(place, order) if nodes else None
        for node in nodes:
            for name in _images(order, node, progress):
                found.setdefault(order.targets.get(name, Target(name)), []).append(node.name)
    for target, names in found.items():
        if target.version or target.path:
            why = f"{folded(names)} of {cluster} {_has(names)} it, as rolled out"
            yield _need(target, why, f"pipeline rollout start {cluster}")


def _images(order: Order, node: Node, progress: Progress | None) -> tuple[str, ...]:
    """The image that a node has after a rollout; both where that is not known for sure."""
    both = tuple(dict.fromkeys((order.wanted[node.name], node.image, order.back_to(node.image))))
    its = progress.nodes.get(node.name) if progress is not None else None
    if its is None:
        return both
    if not its.is_touched:
        return (order.back_to(node.image) if its.way == "back" and its.was_rebooted else node.image,)
    return both[:1] if its.way == "out" and its.state == "released" else both


def _way_back(cluster: str, place: Path) -> Iterator[Need]:
    """What `rollback` takes nodes back to: those of the last rollout, unless it was one itself."""
    order = next(_orders(place), None)
    if order is None or order.back_of is not None:
        return
    progress = _progress(place, order)
    nodes = (node for node in order.nodes if progress is None or progress.nodes[node.name].is_touched)
    for name in dict.fromkeys(order.back_to(node.image) for node in nodes):
        target = order.targets.get(name)
        if target is not None and (target.version or target.path):
            yield _need(target, f"rollback of rollout {order.number} of {cluster} goes back to it")


def _orders(place: Path) -> Iterator[Order]:
    """Those of all rollouts that can be read, the newest first."""
    for number in reversed(folders.numbers(place)):
        try:
            yield folders.order_of(folders.folder_of(place, number))
        except DamagedError:
            continue  # it was given up, or nothing else goes on (``unfinished``)


def _progress(place: Path, order: Order) -> Progress | None:
    try:
        return folders.read(place, order.number).progress
    except DamagedError:
        return None


def _need(target: Target, why: str, command: str = "") -> Need:
    return Need(why, command, target.image, target.version, target.path)


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
