"""Versions that clusters have by what their applies and ended rollouts left: nodes are installed from them
whenever they boot, or would be by `rollback`. All of it is in the store; the cluster manager isn't asked.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

import msgspec

from pipeline.cluster import record, rolled
from pipeline.cluster.load import usual_file
from pipeline.cluster.madenames import made_for
from pipeline.cluster.nodesets import folded
from pipeline.errors import PipelineError
from pipeline.recipe.model import Site
from pipeline.rollout import folder as folders
from pipeline.rollout.journal import DamagedError
from pipeline.rollout.model import Node, Order, Target
from pipeline.rollout.states import Progress


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


class _Past:
    """The orders of all clusters that can be read, the newest first, with the cluster of each.

    What a newer one says of a node or a category counts, whichever cluster's it is: its file may have been
    renamed. Clocks are set: one of a higher number is newer than all that its cluster had before.
    """

    def __init__(self, store: Path, clusters: Sequence[str]) -> None:
        self._store = store
        self._known: list[tuple[float, int, str]] = []
        for cluster in clusters:
            when = 0.0
            for number in folders.numbers(folders.rollouts(store, cluster)):
                if (order := self._order(cluster, number)) is not None:
                    when = max(when, order.when)
                    self._known.append((when, number, cluster))
        self._known.sort(reverse=True)

    def orders(self) -> Iterator[tuple[str, Order]]:
        """All of them; they are large, and none is kept."""
        for _, number, cluster in self._known:
            if (order := self._order(cluster, number)) is not None:
                yield cluster, order

    def progress(self, cluster: str, order: Order) -> Progress | None:
        """How it is by now; None: that can't be read."""
        try:
            return folders.read(folders.rollouts(self._store, cluster), order.number).progress
        except DamagedError:
            return None

    def _order(self, cluster: str, number: int) -> Order | None:
        try:
            return folders.order_of(folders.folder_of(folders.rollouts(self._store, cluster), number))
        except DamagedError:
            return None  # it was given up, or nothing else goes on (``unfinished``)

    def switched(self, categories: frozenset[str]) -> dict[str, list[str]]:
        """The clusters whose rollouts have switched each of ``categories``, the last one first."""
        found: dict[str, list[str]] = {category: [] for category in categories}
        for cluster, order in self.orders() if categories else ():
            progress = self.progress(cluster, order) if categories & order.categories.keys() else None
            for category in categories.intersection(progress.switched if progress is not None else ()):
                found[category].append(cluster)
        return found


def needs(site: Site) -> tuple[Need, ...]:
    """What all clusters of the store have, and go back to."""
    top = site.store / rolled.FOLDER
    names = sorted(
        {file.stem for file in top.glob("*.json")} | {file.parent.name for file in top.glob("*/*")}
    )
    past, found = _Past(site.store, names), list[Need]()
    records: dict[str, record.Record] = {}
    known: dict[str, rolled.Rolled] = {}
    for name in names:
        try:
            records[name], known[name] = record.load(site.store, name), rolled.load(site.store, name)
        except PipelineError as error:
            command = error.problems[0].command or _command(site, name, "cluster status")
            found.append(Need(f"what {name} has can't be read, and it may be this one", command))
    found += _of_images(site, records)
    now = {old: name for name, last in records.items() for old in last.took}
    for name, its in _latest(known, past).items():
        called = name if records[name].applied else now.get(name, name)
        applied = rolled.applied_since(records[called].applied, known[name])
        found += _of_categories(site, called, applied, its)
    return (*found, *_of_nodes(site, past), *_ways_back(past))


def _command(site: Site, cluster: str, verb: str) -> str:
    """What changes it; "" when the cluster has no file any more, without which that can't be done."""
    return f"pipeline {verb} {cluster}" if usual_file(cluster, site).exists() else ""


def _of_images(site: Site, records: Mapping[str, record.Record]) -> Iterator[Need]:
    """The directories that cluster files give to images of each head node: of several the one that was
    applied last."""
    found: dict[tuple[str, str], list[tuple[float, str, str]]] = {}
    for cluster, last in records.items():
        for name, properties in last.applied.items():
            if name.startswith("image/") and (path := str(properties.get("path", ""))):
                found.setdefault((last.of.head, name), []).append((last.when, cluster, path))
    for (_, name), given in found.items():
        latest = max(when for when, _, _ in given)
        for _, cluster, path in (each for each in given if each[0] == latest):
            why = f"the image {name.removeprefix('image/')} of {cluster} has its directory, as was applied"
            yield Need(why, _command(site, cluster, "cluster apply"), path=path)


def _latest(known: Mapping[str, rolled.Rolled], past: _Past) -> dict[str, rolled.Rolled]:
    """Of each cluster what its rollouts have given to categories, without what another's has switched since.

    What was noted without a rollout stays: an import has found it.
    """
    times = Counter(category for its in known.values() for category in its)
    by = past.switched(frozenset(category for category, count in times.items() if count > 1))
    return {
        cluster: {
            category: images
            for category, images in its.items()
            if cluster not in (clusters := by.get(category, [])) or clusters[0] == cluster
        }
        for cluster, its in known.items()
    }


def _of_categories(site: Site, cluster: str, applied: rolled.Applied, known: rolled.Rolled) -> Iterator[Need]:
    found: dict[tuple[str, int], list[str]] = {}
    for category, images in known.items():
        now = applied.get(f"category/{category}", {}).get("image")
        for image, name in images.items():
            made = made_for(name)
            # Where something else was applied since, it has that.
            if made is not None and made[0] == image and now in (None, name):
                found.setdefault(made, []).append(category)
    for (image, number), categories in found.items():
        many = "categories" if len(categories) > 1 else "category"
        why = f"the {many} {', '.join(sorted(categories))} of {cluster} {_has(categories)} it, as rolled out"
        yield Need(why, _command(site, cluster, "rollout start"), image, number)


def _of_nodes(site: Site, past: _Past) -> Iterator[Need]:
    """What nodes have by the last rollout that they were in: where not all of its nodes were taken, a
    category has something else."""
    known: set[str] = set()
    found: dict[tuple[str, Target], list[str]] = {}
    for cluster, order in past.orders():
        nodes = [node for node in order.nodes if node.name not in known]
        known.update(node.name for node in nodes)
        progress = past.progress(cluster, order) if nodes else None
        for node in nodes:
            for name in _images(order, node, progress):
                target = order.targets.get(name, Target(name))
                found.setdefault((cluster, target), []).append(node.name)
    for (cluster, target), names in found.items():
        if target.version or target.path:
            why = f"{folded(names)} of {cluster} {_has(names)} it, as rolled out"
            yield _need(target, why, _command(site, cluster, "rollout start"))


def _images(order: Order, node: Node, progress: Progress | None) -> tuple[str, ...]:
    """The image that a node has after a rollout; both where that is not known for sure."""
    both = tuple(dict.fromkeys((order.wanted[node.name], node.image, order.back_to(node.image))))
    its = progress.nodes.get(node.name) if progress is not None else None
    if its is None:
        return both
    if not its.is_touched:
        return (order.back_to(node.image) if its.way == "back" and its.was_rebooted else node.image,)
    return both[:1] if its.way == "out" and its.state == "released" else both


def _ways_back(past: _Past) -> Iterator[Need]:
    """What `rollback` takes nodes back to: those of the last rollout of each cluster, unless it was one
    itself, or others have taken them to something else since."""
    clusters: set[str] = set()
    known: set[str] = set()
    for cluster, order in past.orders():
        if cluster not in clusters and order.back_of is None:
            yield from _way_back(cluster, order, past.progress(cluster, order), known)
        clusters.add(cluster)
        known.update(node.name for node in order.nodes)


def _way_back(cluster: str, order: Order, progress: Progress | None, but: Set[str]) -> Iterator[Need]:
    left = (node for node in order.nodes if node.name not in but)
    nodes = (node for node in left if progress is None or progress.nodes[node.name].is_touched)
    for name in dict.fromkeys(order.back_to(node.image) for node in nodes):
        target = order.targets.get(name)
        if target is not None and (target.version or target.path):
            yield _need(target, f"rollback of rollout {order.number} of {cluster} goes back to it")


def _need(target: Target, why: str, command: str = "") -> Need:
    return Need(why, command, target.image, target.version, target.path)


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
