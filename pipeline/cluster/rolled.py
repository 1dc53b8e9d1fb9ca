"""Which image a category has by now for the one that its file names: a rollout has made one for a version.

The file says NAME, and after a rollout to version 2 the cluster manager has NAME-2: that is as it should be,
and anything else is not. The record is ``clusters/CLUSTER/rolled.json`` in the store, replaced by one rename.
"""

from __future__ import annotations

import fcntl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.cluster.madenames import is_made_for
from pipeline.cluster.objects import Properties, Ref, State, Value
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


class Noted(msgspec.Struct, frozen=True):
    """What a category has for an image of its file, and by the rollouts of which cluster."""

    image: str
    by: str


class Notes:
    """What rollouts of ``cluster`` have noted, and of the other clusters of the store where it has nothing: a
    file was renamed, or both are about the same categories."""

    def __init__(self, store: Path, cluster: str) -> None:
        self._cluster = cluster
        self._own = load(store, cluster)
        files = [file for file in _records(store) if file.parent.name != cluster]
        self._others = [(file.parent.name, _read(file)) for file in sorted(files, key=_age)]

    def of(self, category: str, image: str, has: str, there: Collection[str]) -> Noted | None:
        """What ``category`` has for ``image``; None: nothing was noted. Of other clusters' notes that of the
        image that it ``has`` counts, then the newest one that is ``there``, then the newest."""
        own = self._own.get(category, {}).get(image)
        if own is not None:
            return Noted(own, self._cluster)
        noted = [Noted(of[category][image], by) for by, of in self._others if image in of.get(category, {})]
        return min(noted, key=lambda one: (one.image != has, one.image not in there), default=None)


def _age(file: Path) -> float:
    return -file.stat().st_mtime


def applied_since(applied: Applied, known: Rolled) -> Applied:
    """``applied`` as if each rollout since had been an apply: what differs now was changed by hand."""
    since: dict[str, dict[str, Value]] = {}
    for category, images in known.items():
        name = str(Ref("category", category))
        was = str(applied.get(name, {}).get("image", ""))
        for image, rolled in images.items():
            if was == image or is_made_for(was, image):
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
    return Meant(msgspec.structs.replace(state, objects=objects), tuple(rolled), there)


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
