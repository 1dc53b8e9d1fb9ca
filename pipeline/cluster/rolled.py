"""Which image a category has by now for the one that its file names: a rollout has made one for a version.

The file says NAME, and after a rollout to version 2 the cluster manager has NAME-2: that is as it should be,
and anything else is not. The record is ``clusters/CLUSTER/rolled.json`` in the store, replaced by one rename.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Properties, Ref, State, Value, Wanted
from pipeline.cluster.rolledimages import with_images
from pipeline.errors import PipelineError
from pipeline.store.filesystem import write_whole

FOLDER = "clusters"
RECORD = "rolled.json"
LOCK = "rolled.lock"

Rolled = Mapping[str, Mapping[str, str]]
"""Category → the file's image → the manager's."""

Applied = Mapping[str, Mapping[str, str | bool | int | tuple[str, ...]]]


def load(store: Path, cluster: str) -> Rolled:
    """What was rolled out in ``cluster``; empty when nothing was."""
    return _read(_file(store, cluster))


def note(store: Path, cluster: str, category: str, image: str, rolled: str) -> None:
    """From now on the manager's image ``rolled`` is what the file means by ``image`` of ``category``.

    ``rolled`` the same as ``image``: as before the first rollout.
    """
    with _alone(store, cluster):
        now = {key: dict(value) for key, value in load(store, cluster).items()}
        now.setdefault(category, {})[image] = rolled
        write_whole(_file(store, cluster), msgspec.json.format(msgspec.json.encode(now), indent=1))


def with_rolled(store: Path, cluster: Cluster, leaving: Collection[str] = ()) -> Cluster:
    """``cluster`` with the images that its categories have by now for those that its file names, and with
    what these images are to have.

    The directories of these have to be there; not of those that are ``leaving``: categories whose nodes are
    about to get something else.
    """
    known = load(store, cluster.name)
    told: dict[str, list[str]] = {}
    made: dict[str, Wanted] = {}
    wanted = []
    for item in cluster.wanted:
        image = str(item.exact.get("image", ""))
        rolled = known.get(item.ref.name, {}).get(image) if item.ref.kind == "category" else None
        if rolled in (None, image):
            wanted.append(item)
            continue
        told.setdefault(f"has {rolled} for {image}, as rolled out", []).append(item.ref.name)
        number = rolled.removeprefix(f"{image}-")
        version = f"{image}@{number}" if number.isdecimal() and item.ref.name not in leaving else ""
        if item.ref.name not in leaving:
            made.setdefault(rolled, item)
        wanted.append(msgspec.structs.replace(item, exact={**item.exact, "image": rolled}, version=version))
    notes = [f"category {', '.join(categories)}: {what}" for what, categories in told.items()]
    meant = msgspec.structs.replace(cluster, wanted=tuple(wanted), notes=(*cluster.notes, *notes))
    return with_images(store, meant, made)


def with_others(store: Path, cluster: Cluster, state: State) -> Cluster:
    """``cluster`` with the images that its categories have by rollouts of another file: it was renamed, or
    both are about the same categories. What a rollout has made is no plan's to take back."""
    here = load(store, cluster.name)
    told: dict[tuple[str, str, str], list[str]] = {}
    wanted = []
    for item in cluster.wanted:
        image = str(item.exact.get("image", "")) if item.ref.kind == "category" else ""
        has = str(state.objects.get(item.ref, {}).get("image", ""))
        if image and has != image and image not in here.get(item.ref.name, {}):
            by = _rolled_by(store, item.ref.name, image, has)
            if by:
                told.setdefault((has, image, by), []).append(item.ref.name)
                item = msgspec.structs.replace(item, exact={**item.exact, "image": has})
        wanted.append(item)
    notes = [
        f"category {', '.join(categories)}: has {has} for {image}, as rolled out by the cluster {by}"
        for (has, image, by), categories in told.items()
    ]
    return msgspec.structs.replace(cluster, wanted=tuple(wanted), notes=(*cluster.notes, *notes))


def _rolled_by(store: Path, category: str, image: str, rolled: str) -> str:
    """The cluster by whose rollout ``category`` has ``rolled`` for ``image``; "" when it was none."""
    for file in _records(store):
        if _read(file).get(category, {}).get(image) == rolled:
            return file.parent.name
    return ""


def applied_since(store: Path, cluster: str, applied: Applied) -> Applied:
    """``applied`` as if each rollout since had been an apply: what differs now was changed by hand."""
    since: dict[str, dict[str, Value]] = {}
    for category, images in load(store, cluster).items():
        name = str(Ref("category", category))
        was = str(applied.get(name, {}).get("image", ""))
        for image, rolled in images.items():
            if was == image or re.fullmatch(rf"{re.escape(image)}-\d+", was):
                since[name] = {**applied[name], "image": rolled}
    return {**applied, **since} if since else applied


class Meant(msgspec.Struct, frozen=True):
    """A cluster as its files would say it. ``rolled`` is what to note: (category, image, the manager's);
    ``images`` are those that only rollouts made."""

    state: State
    rolled: tuple[tuple[str, str, str], ...] = ()
    images: tuple[str, ...] = ()


def as_files_say(store: Path, state: State) -> Meant:
    """``state`` with the images that files of this store mean for those that rollouts have made of them."""
    known = _meanings(store)
    objects: dict[Ref, Properties] = dict(state.objects)
    rolled = []
    for ref, found in state.objects.items():
        image = known.get((ref.name, str(found.get("image", "")))) if ref.kind == "category" else None
        if image is not None and Ref("image", image) in state.objects:
            rolled.append((ref.name, image, str(found["image"])))
            objects[ref] = {**found, "image": image}
    used = {str(found["image"]) for ref, found in objects.items() if found.get("image")}
    made = sorted({manager for _, manager in known} - used - {*known.values()})
    for name in made:
        objects.pop(Ref("image", name), None)
    there = tuple(name for name in made if Ref("image", name) in state.objects)
    return Meant(State(objects, state.notes, state.older), tuple(rolled), there)


def _meanings(store: Path) -> dict[tuple[str, str], str]:
    """Of all clusters of the store: (category, the manager's image) → the one that the file means."""
    return {
        (category, rolled): image
        for file in _records(store)
        for category, images in _read(file).items()
        for image, rolled in images.items()
    }


def _records(store: Path) -> list[Path]:
    return sorted((store / FOLDER).glob(f"*/{RECORD}"))


def _read(file: Path) -> Rolled:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, str]])
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise PipelineError(
            f"what was rolled out cannot be read: {error}",
            where=str(file),
            hint="without it a plan wants the images that the cluster file names, until the next rollout",
            command=f"mv {file} {file}.broken",
        ) from None


def _file(store: Path, cluster: str) -> Path:
    return store / FOLDER / cluster / RECORD


@contextmanager
def _alone(store: Path, cluster: str) -> Iterator[None]:
    place = _file(store, cluster).parent
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(place / LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
