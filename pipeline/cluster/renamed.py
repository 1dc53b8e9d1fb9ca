"""What was applied under another name of a cluster: its file was renamed, or another one took its place.

The record of applies goes by the name of the file. Where that is gone, and another one is about the same
objects of the same head node, what was applied under the old name is its own: its next apply takes that over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path

import msgspec

from pipeline.cluster import record
from pipeline.cluster.added import Added
from pipeline.cluster.compare import Applied
from pipeline.cluster.heads import is_here
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Properties, Value, members
from pipeline.cluster.record import Record
from pipeline.cluster.rolled import FOLDER
from pipeline.errors import PipelineError
from pipeline.store.filesystem import sync_directory


class Known(msgspec.Struct, frozen=True):
    """What was applied ``last``; of that the next apply is to take over what stands under the name ``taken``,
    if under any. ``notes`` are for the administrator."""

    last: Record
    taken: str = ""
    notes: tuple[str, ...] = ()


def known(store: Path, cluster: Cluster) -> Known:
    """What was applied of ``cluster``, whatever it was called. Nothing is written."""
    own = record.load(store, cluster.name)
    others = _Others(store, cluster)
    gone = {name: its for name, its in others.records(gone=True).items() if others.is_about(its)}
    if len(gone) == 1:
        [(name, its)] = gone.items()
        is_its = is_here(own.of, cluster) and is_here(its.of, cluster)
        is_its = is_its and its.of.role in ("", own.of.role or its.of.role)
        if is_its and not others.rivals(its):
            both = without_left(cluster, _both(own, its, name))
            return Known(both, name, (*others.notes, _taken(name, cluster.name)))
    notes = [_unclear(store, name, cluster.name, own) for name in gone]
    if not gone and own.is_new:
        there = others.records(gone=False)
        notes += [_there(name) for name, its in there.items() if others.is_about(its, same_head=True)]
    return Known(without_left(cluster, own), "", (*others.notes, *notes))


@contextmanager
def applying(store: Path, cluster: Cluster) -> Iterator[Known]:
    """Be the only one that applies this cluster, under its name and the one that is taken over."""
    with ExitStack() as locks:
        locks.enter_context(record.applying(store, cluster.name))
        held = {""}
        while (found := known(store, cluster)).taken not in held:
            locks.enter_context(record.applying(store, found.taken, cluster.name))
            held.add(found.taken)
        yield found


def save(store: Path, cluster: Cluster, last: Record, taken: str = "") -> None:
    """Keep ``last``; what stands under the name ``taken`` is in it, and goes.

    Stopped here: it is there twice, and taken over again, before anything else is done.
    """
    record.save(store, cluster.name, msgspec.structs.replace(last, of=record.of(cluster)))
    if taken:
        old = record.file_of(store, taken)
        old.unlink(missing_ok=True)
        sync_directory(old.parent)


def left_out(cluster: Cluster, last: Record) -> tuple[str, ...]:
    """What an import has left out, and the file does not name by now."""
    said = {str(item.ref) for item in cluster.wanted} if last.left else set()
    return tuple(name for name in last.left if name not in said)


def without_left(cluster: Cluster, last: Record) -> Record:
    """``last`` as if no apply had added what an import has left out."""
    names = frozenset(left_out(cluster, last))
    if not names:
        return last
    put = {name: its for name, its in last.added.put.items() if name not in names}
    before = {name: its for name, its in last.added.before.items() if name in put}
    owners = {name.partition("/setting/")[0] for name in names}
    lists = tuple(owner for owner in last.added.lists if owner not in owners)
    return msgspec.structs.replace(last, added=Added(put, before, lists, last.added.made))


def leave_out(store: Path, cluster: str, names: Iterable[str]) -> None:
    """Keep which of ``names``, that an import as ``cluster`` has left out, are not to be taken back."""
    put: set[str] = set()
    for file in sorted((store / FOLDER).glob("*.json")):
        with suppress(PipelineError):  # a plan tells what can't be read
            put.update(record.load(store, file.stem).added.put)
    left = tuple(name for name in names if name in put)
    if left:
        with record.applying(store, cluster):
            own = record.load(store, cluster)
            record.save(store, cluster, msgspec.structs.replace(own, left=_union(own.left, left)))


def _taken(name: str, cluster: str) -> str:
    return (
        f"the file of the cluster {name} is gone, and {cluster} is about the same: what was applied as "
        f"{name} is its own, and its next apply takes that over"
    )


def _unclear(store: Path, name: str, cluster: str, own: Record) -> str:
    told = (
        f"the cluster {name} of this store has applied objects of this file, too, and its file is gone; what "
        "it has added and what it owes stays as it is, for it is not clear whose it is now"
    )
    old, new = record.file_of(store, name), record.file_of(store, cluster)
    if own.is_new:
        return f"{told}; if {cluster}'s: mv {old} {new}"
    return f"{told}; if nobody's: rm {old}"


def _there(name: str) -> str:
    return f"the cluster {name} of this store has applied objects of this file, too: both own them"


class _Others:
    """The other clusters of the store, and their files; ``notes`` tell what of them can't be read."""

    def __init__(self, store: Path, cluster: Cluster) -> None:
        self._cluster = cluster
        self._folder = cluster.file.parent
        self._records: dict[str, Record] = {}
        self.notes: tuple[str, ...] = ()
        for file in sorted((store / FOLDER).glob("*.json")):
            if file.stem != cluster.name:
                self._read(store, file)

    def _read(self, store: Path, file: Path) -> None:
        try:
            self._records[file.stem] = record.load(store, file.stem)
        except PipelineError as error:
            if not (self._folder / f"{file.stem}.toml").exists():
                said = error.problems[0].message
                self.notes += (f"{file}: of another cluster, {said}; it may be about the same objects",)

    @cached_property
    def _tops(self) -> frozenset[str]:
        refs = (*(item.ref for item in self._cluster.wanted), *self._cluster.unasked)
        return _tops(map(str, refs))

    def records(self, *, gone: bool) -> dict[str, Record]:
        """Those whose file is gone, or the others."""
        return {name: its for name, its in self._records.items() if self._is_gone(name, its) == gone}

    def _is_gone(self, name: str, its: Record) -> bool:
        """A file of another project may use this store, too."""
        return not (self._folder / f"{name}.toml").exists() and not (
            its.of.file and Path(its.of.file).exists()
        )

    def is_about(self, its: Record, *, same_head: bool = False) -> bool:
        """Whether half of the objects, or more, are the cluster's, too."""
        is_other = same_head and not is_here(its.of, self._cluster)
        return not is_other and _is_half(_objects(its), self._tops)

    def rivals(self, gone: Record) -> list[str]:
        """Other files that may be about what is ``gone``: as far as is known from what they have applied."""
        there = {file.stem for file in self._folder.glob("*.toml")} - {self._cluster.name}
        objects = _objects(gone)
        return [
            name
            for name in sorted(there)
            if name not in self._records
            or self._records[name].is_new
            or _is_half(objects, _objects(self._records[name]))
        ]


def _objects(its: Record) -> frozenset[str]:
    return _tops((*its.applied, *its.added.put, *its.restarts, *its.builds, *its.making))


def _tops(names: Iterable[str]) -> frozenset[str]:
    """The images, categories, nodes and networks that these are or belong to."""
    return frozenset("/".join(name.split("/")[:2]) for name in names)


def _is_half(objects: frozenset[str], of: frozenset[str]) -> bool:
    return bool(objects) and 2 * len(objects & of) >= len(objects)


def _both(own: Record, its: Record, name: str) -> Record:
    """One record of two, the later one's word counting. To add the same again changes nothing."""
    old, new = (its, own) if own.when >= its.when else (own, its)
    return Record(
        when=new.when,
        restarts=_union(old.restarts, new.restarts),
        builds=_union(old.builds, new.builds),
        applied=_merged(old.applied, new.applied),
        added=_added(old.added, new.added),
        making={**old.making, **new.making},
        begun=_union(old.begun, new.begun),
        of=new.of if new.of.head else old.of,
        took=_union(own.took, (*its.took, name)),
        left=_union(old.left, new.left),
    )


def _union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def _merged(old: Applied, new: Applied) -> dict[str, Properties]:
    return {name: {**old.get(name, {}), **new.get(name, {})} for name in (*old, *new)}


def _added(old: Added, new: Added) -> Added:
    put: dict[str, Properties] = {}
    for name, properties in _merged(old.put, new.put).items():
        both = {key: _members(old.put, new.put, name, key) for key in properties if key.startswith("+")}
        put[name] = {**properties, **both}
    before = {name: its for name in put if (its := _before(old, new, name)) is not None}
    return Added(put, before, _union(old.lists, new.lists), _union(old.made, new.made))


def _members(old: Applied, new: Applied, name: str, key: str) -> Value:
    return _union(members(old.get(name, {}).get(key)), members(new.get(name, {}).get(key)))


def _before(old: Added, new: Added, name: str) -> Mapping[str, Value] | None:
    """What a setting was before; where that is what the ``old`` one had put, what it was before that."""
    if name not in new.put:
        return old.before.get(name)
    its = new.before.get(name)
    if its is not None and name in old.put and its.items() <= old.put[name].items():
        return old.before.get(name)
    return its
