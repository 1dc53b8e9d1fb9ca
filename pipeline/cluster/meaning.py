"""What a cluster file means by its images now, decided from what was read and from what rollouts noted.

That order matters: a rollout may end while the cluster is read, and it notes an image after it has switched
to it. An image whose object is gone means nothing any more.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec

from pipeline.cluster.madenames import is_made_for, made_for
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Ref, State, Wanted
from pipeline.cluster.record import Record, since_rolled
from pipeline.cluster.rolled import Noted, Notes, applied_since
from pipeline.cluster.rolledimages import Made, with_images


class Meaning(msgspec.Struct, frozen=True):
    """``cluster`` with the images that its categories have by now for those that its file names, and with
    what these are to have; ``last`` as if rollouts since had been applies. ``gone`` are categories whose
    image is not there any more, each with the one that its file names."""

    cluster: Cluster
    last: Record
    gone: tuple[tuple[str, str], ...] = ()


def meaning(
    store: Path, cluster: Cluster, state: State, last: Record, leaving: Collection[str] = ()
) -> Meaning:
    """What ``cluster`` means, given what is there.

    The directories of what is meant have to be there; not of what nodes of the categories ``leaving`` have:
    they are about to get something else.
    """
    found = _Found(Notes(store, cluster.name), cluster, state, leaving)
    wanted = tuple(map(found.meant, cluster.wanted))
    notes = (*cluster.notes, *found.notes())
    made = {**_of_nodes(cluster, state, leaving), **found.made}
    meant = with_images(store, msgspec.structs.replace(cluster, wanted=wanted, notes=notes), made)
    applied = applied_since(last.applied, found.known)
    since = since_rolled(msgspec.structs.replace(last, applied=applied), meant, _versions(cluster, state))
    return Meaning(meant, since, tuple(found.gone))


class _Found:
    """Categories one after the other; ``made`` are the images that they have by rollouts, ``known`` is what
    counts of what was noted."""

    def __init__(self, notes: Notes, cluster: Cluster, state: State, leaving: Collection[str]) -> None:
        self._notes = notes
        self._cluster = cluster.name
        self._state = state
        self._leaving = leaving
        said = {item.ref.name for item in cluster.wanted if item.ref.kind == "image"}
        self._there = said | {ref.name for ref in state.objects if ref.kind == "image"}
        self._told: dict[str, list[str]] = {}
        self.made: dict[str, Made] = {}
        self.known: dict[str, dict[str, str]] = {}
        self.gone: list[tuple[str, str]] = []

    def meant(self, item: Wanted) -> Wanted:
        """A category with the image that it has by now; anything else as it is."""
        category, image = item.ref.name, str(item.exact.get("image", ""))
        if item.ref.kind != "category" or not image:
            return item
        has = str(self._state.objects.get(item.ref, {}).get("image", ""))
        noted = self._notes.of(category, image, has, self._there)
        if noted is None or noted.image not in self._there:
            if noted is not None and noted.image != image:
                self._tell(_lost(noted.image, image), category)
                self.gone.append((category, image))
            return item
        self.known[category] = {image: noted.image}
        return item if noted.image == image else self._rolled(item, image, noted)

    def _rolled(self, item: Wanted, image: str, noted: Noted) -> Wanted:
        category, rolled = item.ref.name, noted.image
        by = "" if noted.by == self._cluster else f" by the cluster {noted.by}"
        self._tell(f"has {rolled} for {image}, as rolled out{by}", category)
        version = ""
        if category not in self._leaving:
            self.made.setdefault(rolled, Made(image, item.at))
            version = f"{image}@{rolled.removeprefix(f'{image}-')}" if is_made_for(rolled, image) else ""
        return msgspec.structs.replace(item, exact={**item.exact, "image": rolled}, version=version)

    def _tell(self, what: str, category: str) -> None:
        self._told.setdefault(what, []).append(category)

    def notes(self) -> list[str]:
        return [f"category {', '.join(categories)}: {what}" for what, categories in self._told.items()]


def _lost(rolled: str, image: str) -> str:
    return (
        f"{rolled}, which a rollout made for {image}, is gone from the cluster manager; {image} counts again"
    )


def _images(cluster: Cluster) -> dict[str, Made]:
    """The images that the file names, each with where."""
    found: dict[str, Made] = {}
    for item in cluster.wanted:
        name = item.ref.name if item.ref.kind == "image" else str(item.exact.get("image", ""))
        if name and item.ref.kind in ("image", "category"):
            found.setdefault(name, Made(name, item.at))
    return found


def _of_nodes(cluster: Cluster, state: State, leaving: Collection[str]) -> dict[str, Made]:
    """Images of versions that nodes have as their own: a rollout of only some nodes leaves it so."""
    images = _images(cluster)
    own = {
        image
        for node, image in state.own.items()
        if state.objects.get(Ref("node", node), {}).get("category") not in leaving
    }
    found = {name: made_for(name) for name in sorted(own) if Ref("image", name) in state.objects}
    return {name: images[made[0]] for name, made in found.items() if made is not None and made[0] in images}


def _versions(cluster: Cluster, state: State) -> frozenset[str]:
    """Images of versions that are there, of images that the file names, whoever has them."""
    images = _images(cluster)
    found = {ref.name: made_for(ref.name) for ref in state.objects if ref.kind == "image"}
    return frozenset(name for name, made in found.items() if made is not None and made[0] in images)
