"""Which paths differ between two stacks of layers, without reading what they have in common.

Only the manifests of layers that are not in both stacks are read; what those layers leave to the layers
below is looked up there, path by path.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import PipelineError
from pipeline.store import manifest
from pipeline.store.filesystem import DIRECTORY
from pipeline.store.overlay import find
from pipeline.store.store import Store
from pipeline.store.tree import Entry, Item, raw_path, read_entry, readable

FIELDS = ("type", "mode", "uid", "gid", "size", "target", "rdev", "xattrs", "sha256")
"""What counts as a difference; times do not."""


class FileChange(msgspec.Struct, frozen=True, kw_only=True):
    """A path (with its leading slash, escaped as in manifests) that is ``added``, ``removed`` or ``changed``.

    ``fields`` maps each of ``FIELDS`` that differs to its (old, new); ``type`` is the present one, or the
    one that it had; ``bytes`` is by how much the path's content grew.
    """

    path: str
    change: str
    type: str
    bytes: int
    fields: dict[str, tuple[Any, Any]] = {}


class _Side(msgspec.Struct):
    """What layers above the common ones do: ``entries`` they show, ``hidden`` paths whose lower contents they
    hide, both by escaped path."""

    entries: dict[str, Entry] = msgspec.field(default_factory=dict)
    hidden: set[str] = msgspec.field(default_factory=set)

    def lay(self, found: Iterable[Entry]) -> None:
        """Put one more layer on top."""
        for entry in found:
            below = self.entries.get(entry.path)
            if below is not None and below.type == "dir" and (entry.type != "dir" or entry.opaque):
                start = f"{entry.path}/"
                for path in [path for path in self.entries if path.startswith(start)]:
                    del self.entries[path]
            if entry.type != "dir" or entry.opaque:
                self.hidden.add(entry.path)
            if entry.type == "whiteout":
                self.entries.pop(entry.path, None)
            else:
                self.entries[entry.path] = entry

    def hides(self, path: str) -> bool:
        """Whether what the common layers have at ``path`` cannot be seen."""
        if not self.hidden:
            return False
        return path in self.hidden or any(above in self.hidden for above in _above(path))


def changed_files(store: Store, old: Sequence[str], new: Sequence[str]) -> tuple[FileChange, ...]:
    """What differs between two stacks of layers (names, lowest first), sorted by path.

    Raises ``PipelineError`` when a layer or its manifest is missing or damaged.
    """
    common = _common(store, old, new)
    one, other = _side(store, old[common:]), _side(store, new[common:])
    below = _Below([store.layer_tree(name) for name in old[:common]])
    try:
        changes = [
            change
            for path in _candidates(one, other, below)
            if (change := change_of(path, _shown(one, path, below), _shown(other, path, below))) is not None
        ]
    finally:
        below.close()
    return tuple(sorted(changes, key=lambda change: raw_path(change.path)))


def shown_entries(store: Store, layers: Sequence[str]) -> Mapping[str, Entry]:
    """What a stack of layers (names, lowest first) shows, by escaped path; the root is the empty one.

    Other names of a file (``Entry.hardlink``) have its attributes. Raises as ``changed_files``.
    """
    return _side(store, layers).entries


def _common(store: Store, old: Sequence[str], new: Sequence[str]) -> int:
    """How many of the lowest layers are the same; layers with one digest hold the same."""
    count = 0
    for one, other in zip(old, new, strict=False):
        if one != other and _digest(store, one) != _digest(store, other):
            break
        count += 1
    return count


def _digest(store: Store, name: str) -> str:
    layer = store.layer_called(name)
    if layer is None:
        where = str(store.layer_tree(name).parent)
        raise PipelineError(f"the layer {name} is missing", where=where, command="pipeline fsck")
    return layer.digest


def _side(store: Store, layers: Sequence[str]) -> _Side:
    side = _Side()
    for name in layers:
        side.lay(manifest.read(store.layer_manifest(name)))
    return side


class _Below:
    """The common layers, looked up one path at a time."""

    def __init__(self, trees: Sequence[Path]) -> None:
        self._trees = trees
        self._roots = [os.open(tree, DIRECTORY) for tree in trees]

    def close(self) -> None:
        for fd in self._roots:
            os.close(fd)

    def entry(self, path: str) -> Entry | None:
        """What they show at ``path``; a file there is read, for its digest."""
        raw = raw_path(path)
        found = find(self._trees, raw)
        if found is None:
            return None
        root = self._roots[found.number]
        item = Item(root, raw or b".", raw, stat.S_ISDIR(found.status.st_mode))
        return read_entry(item, found.status)

    def inside(self, path: str) -> Iterator[str]:
        """Every path that they show below the directory ``path``."""
        raw = raw_path(path)
        found = find(self._trees, raw)
        if found is None or not stat.S_ISDIR(found.status.st_mode):
            return
        names: set[bytes] = set()
        for tree in self._trees[: found.number + 1]:
            place = os.path.join(os.fsencode(tree), raw)
            if os.path.isdir(place) and not os.path.islink(place):
                names.update(os.fsencode(name) for name in os.listdir(place))
        for name in names:
            inner = raw + b"/" + name if raw else name
            if find(self._trees, inner) is not None:
                yield readable(inner)
                yield from self.inside(readable(inner))


def _candidates(one: _Side, other: _Side, below: _Below) -> set[str]:
    """Every path that may differ: in a layer of one stack only, or hidden by one of them only."""
    paths = {*one.entries, *other.entries}
    for path in one.hidden ^ other.hidden:
        paths.add(path)
        paths.update(below.inside(path))
    return paths


def _shown(side: _Side, path: str, below: _Below) -> Entry | None:
    own = side.entries.get(path)
    if own is not None:
        return own
    return None if side.hides(path) else below.entry(path)


def _above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def change_of(path: str, old: Entry | None, new: Entry | None) -> FileChange | None:
    """How ``path`` differs, which is ``old`` on one side and ``new`` on the other; None when it does not."""
    if old is None and new is None:
        return None
    there = new or old
    assert there is not None
    change = "changed" if old and new else "added" if new else "removed"
    fields: dict[str, tuple[Any, Any]] = {}
    if old is not None and new is not None:
        for name in FIELDS:
            values = getattr(old, name), getattr(new, name)
            if values[0] != values[1]:
                fields[name] = values
        if not fields:
            return None
    size = ((new.size or 0) if new else 0) - ((old.size or 0) if old else 0)
    return FileChange(path=f"/{path}", change=change, type=there.type, bytes=size, fields=fields)
