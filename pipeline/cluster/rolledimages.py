"""What the images that rollouts made are to have: the file says it of the image that they are versions of.

Kernel parameters are an object's of the cluster manager, and no part of a version's directory. The recipe's
are those of the version; what the file appends besides is for every version.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from pipeline.cluster.madenames import is_made_for, version_of
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Ref, Wanted
from pipeline.recipe.lines import KeyPath
from pipeline.store.records import Version


class Made(msgspec.Struct, frozen=True):
    """The image of the file that one made by a rollout is meant by, and where the file names it."""

    image: str
    at: KeyPath = ()


def with_images(store: Path, cluster: Cluster, made: Mapping[str, Made]) -> Cluster:
    """``cluster`` with the images ``made`` by rollouts. One that the file has itself is as it says."""
    said = {item.ref.name: item for item in cluster.wanted if item.ref.kind == "image"}
    meant = {name: of.image for name, of in made.items() if name not in said}
    found = []
    for name, image in meant.items():
        version = version_of(store, name) if is_made_for(name, image) else None
        found.append(_wanted(cluster, name, version, said.get(image, Wanted(Ref("image", image)))))
    found = [item if item.at else msgspec.structs.replace(item, at=made[item.ref.name].at) for item in found]
    return msgspec.structs.replace(cluster, wanted=(*found, *cluster.wanted), made=meant)


def _wanted(cluster: Cluster, name: str, version: Version | None, said: Wanted) -> Wanted:
    """What is wanted of image ``name``; of a version that nobody knows, what is ``said`` of the file's."""
    words = said.append.get("kernel_parameters", ())
    if version is not None:
        own = cluster.appended.get(said.ref.name, ())
        words = tuple(dict.fromkeys((*version.kernel_parameters, *own)))
    return Wanted(
        Ref("image", name),
        append={"kernel_parameters": words} if words else {},
        make=False,
        at=said.at,
        version=f"{version.image}@{version.number}" if version is not None else "",
    )
