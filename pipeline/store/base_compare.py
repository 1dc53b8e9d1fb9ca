"""Whether the directory of a base still holds what was imported, without importing it again."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pipeline.store import manifest
from pipeline.store.base_changes import Pair, some_of
from pipeline.store.filesystem import DIRECTORY, told
from pipeline.store.importing import SKIPPED, base_key, left_out
from pipeline.store.mounts import mounts_below
from pipeline.store.store import Store, layer_name
from pipeline.store.tree import Entry, Item, groups_links, lstat, read_entry, readable, walk

UNREAD = "unread"
"""Stands for the digest of a file that differs in its size anyway."""


def changed_since(store: Store, digest: str, path: Path) -> str | None:
    """What of the directory ``path`` differs from the imported base of ``digest`` (``some_of``); None when an
    import would come to the same.

    Files whose size and time are as they were are read only where nothing else differs. Raises
    ``PipelineError`` when the manifest is damaged, or something vanishes meanwhile.
    """
    imported = _manifest(store, digest)
    with told("the base cannot be compared with what was imported", path):
        return some_of(_pairs(path, imported, read=False)) or some_of(_pairs(path, imported, read=True))


def has_base(store: Store, digest: str) -> bool:
    """Whether the store has the imported base of ``digest``."""
    return _manifest(store, digest).is_file()


def _manifest(store: Store, digest: str) -> Path:
    return store.layer_manifest(layer_name(base_key(digest)))


class _Tree(msgspec.Struct, frozen=True):
    """What is known of a directory: ``first`` are the entries of files with several names, by inode."""

    device: int
    mounts: frozenset[bytes]
    read: bool
    first: dict[int, Entry] = msgspec.field(default_factory=dict)


def _pairs(path: Path, imported: Path, *, read: bool) -> Iterator[Pair]:
    root = os.open(path, DIRECTORY)
    try:
        tree = _Tree(os.fstat(root).st_dev, mounts_below(path), read)
        known = manifest.read(imported)
        old = next(known, None)
        for item in walk(root, tree.mounts):
            while old is not None and manifest.key(old) < item.path:
                yield old, None
                old = next(known, None)
            before = old if old is not None and manifest.key(old) == item.path else None
            now = _entry(item, before, tree)
            if now is None:
                continue
            yield before, now
            if before is not None:
                old = next(known, None)
        while old is not None:
            yield old, None
            old = next(known, None)
    finally:
        os.close(root)


def _entry(item: Item, before: Entry | None, tree: _Tree) -> Entry | None:
    """The entry that an import would make; None for what it would leave out."""
    status = lstat(item)
    entry = left_out(item, status, tree.device, tree.mounts)
    if entry is not None:
        return None if entry.type == SKIPPED else replace(entry, target=None)
    first = tree.first.get(status.st_ino) if groups_links(status) else None
    if first is not None:
        return replace(first, path=readable(item.path), hardlink=first.path)
    entry = replace(read_entry(item, status, _digest(status, before, tree)), opaque=False)
    if groups_links(status):
        tree.first[status.st_ino] = entry
    return entry


def _digest(status: os.stat_result, before: Entry | None, tree: _Tree) -> str | None:
    """The digest of a file that need not be read; None: read it."""
    if not stat.S_ISREG(status.st_mode):
        return None
    if before is None or before.size != status.st_size:
        return UNREAD
    return before.sha256 if before.mtime == status.st_mtime_ns and not tree.read else None
