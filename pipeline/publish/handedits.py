"""What somebody changed by hand: in the directory that is published, or kept from when it was mounted."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from pipeline.errors import MachineError, PipelineError
from pipeline.publish.copied import Shown, inside
from pipeline.publish.directories import OVERLAY, edits
from pipeline.publish.lowers import require_layers
from pipeline.publish.record import directory, present_directory, publication
from pipeline.recipe.model import Site
from pipeline.store.compare import FileChange, change_of
from pipeline.store.filesystem import DIRECTORY
from pipeline.store.mounts import mounts_below
from pipeline.store.records import Version
from pipeline.store.store import Store
from pipeline.store.tree import (
    OVERLAY_XATTRS,
    Entry,
    Item,
    by_descriptor,
    lstat,
    read_entry,
    readable,
    xattrs,
)

ATTRIBUTES = ("st_mode", "st_uid", "st_gid", "st_rdev")
FEW = 3
"""So many paths are told by name."""


def hand_edits(site: Site, store: Store, version: Version) -> tuple[FileChange, ...]:
    """How the published directory of ``version`` differs from it, sorted by path; times do not count.

    In a mounted one only what was written there is looked at. Of a copy everything is: what has the
    attributes, the size and the time that it was published with is taken for the same, and not read. What is
    below a directory that was removed is not told. Raises ``PipelineError`` when a layer of the version is
    not there to compare with.
    """
    now = publication(store, version.image)
    mode = now.directories.get(version.number)
    place = present_directory(site, now, version.image, version.number)
    if mode is None:
        return ()
    if mode == OVERLAY:
        return _in_upper(store, version, edits(store, place) / "upper")
    return _changes(store, version, place, mounted=False) if place.is_dir() else ()


def kept_edits(site: Site, store: Store, version: Version) -> tuple[FileChange, ...]:
    """What was changed in a mounted directory of ``version`` that is not there now; a later one has it again.

    Raises as ``hand_edits``.
    """
    if publication(store, version.image).directories.get(version.number) == OVERLAY:
        return ()
    return _in_upper(store, version, kept_in(site, store, version))


def kept_in(site: Site, store: Store, version: Version) -> Path:
    """The directory that edits in a mounted directory of ``version`` go to."""
    return edits(store, directory(site, version.image, version.number)) / "upper"


def some(changes: Sequence[FileChange]) -> str:
    """The first of ``changes``, and how many more."""
    more = f" and {len(changes) - FEW} more" if len(changes) > FEW else ""
    return ", ".join(change.path for change in changes[:FEW]) + more


def _in_upper(store: Store, version: Version, upper: Path) -> tuple[FileChange, ...]:
    if not upper.is_dir() or not os.listdir(upper):
        return ()
    return _changes(store, version, upper, mounted=True)


def _changes(store: Store, version: Version, place: Path, *, mounted: bool) -> tuple[FileChange, ...]:
    if os.geteuid() != 0:  # the marks of overlayfs are hidden from others
        raise MachineError(f"only root can look for what was changed by hand in {place}")
    require_layers(store, version)
    trees = [store.layer_tree(name) for name in reversed(version.layers)]
    with ExitStack() as opened:

        def item(path: Path) -> Item:
            fd = os.open(path, DIRECTORY)
            opened.callback(os.close, fd)
            return Item(fd, b".", b"", True)

        layers = [item(tree) for tree in trees]
        published = [item(place), *(layers if mounted else ())]
        old, new = (Shown(stack[0], lstat(stack[0]), stack) for stack in (layers, published))
        try:
            found = list(_compared(old, new, mounts_below(place), read=mounted))
        except FileNotFoundError as error:
            raise PipelineError(
                "it vanished while what was changed by hand was looked for",
                where=f"{place}/{readable(os.fsencode(error.filename or ''))}",
                hint="somebody is at work there; run the same command again",
            ) from None
    return tuple(sorted(found, key=lambda change: change.path))


def _compared(old: Shown, new: Shown, mounts: Collection[bytes], *, read: bool) -> Iterator[FileChange]:
    """How the tree ``new`` differs from ``old``, but for ``mounts``, the paths at which something is mounted.
    ``read``: files are read whatever their time says."""
    device = new.status.st_dev
    waiting: list[tuple[Shown | None, Shown | None]] = [(old, new)]
    while waiting:
        before, after = waiting.pop()
        if after is not None and after.item.path in mounts:
            continue
        if before is not None and after is not None and _is_same(before, after, read=read):
            change = None
        else:
            change = _told(before, after)
        if change is not None:
            yield change
        if after is None or not after.joined or after.status.st_dev != device:
            continue  # another file system
        were = inside(before.joined) if before is not None else {}
        are = inside(after.joined)
        for name in {*were, *are}:
            was, now = were.get(name), are.get(name)
            if not _is_one(was, now):
                waiting.append((was, now))


def _is_one(before: Shown | None, after: Shown | None) -> bool:
    """Whether a layer shows both: then nothing was written there or below."""
    return before is not None and after is not None and before.item == after.item


def _is_same(before: Shown, after: Shown, *, read: bool) -> bool:
    """Whether two paths are alike without a look at the content of a file, where their times say so."""
    one, other = before.status, after.status
    if any(getattr(one, name) != getattr(other, name) for name in ATTRIBUTES):
        return False
    if stat.S_ISREG(one.st_mode) and (
        read or (one.st_size, one.st_mtime_ns) != (other.st_size, other.st_mtime_ns)
    ):
        return False
    if stat.S_ISLNK(one.st_mode) and _target(before.item) != _target(after.item):
        return False
    return _attributes(before.item) == _attributes(after.item)


def _target(item: Item) -> bytes:
    return os.readlink(item.name, dir_fd=item.directory)


def _attributes(item: Item) -> dict[str, bytes]:
    found = xattrs(by_descriptor(item))
    return {name: value for name, value in found.items() if not name.startswith(OVERLAY_XATTRS)}


def _told(before: Shown | None, after: Shown | None) -> FileChange | None:
    both = before is not None and after is not None
    old, new = (_entry(shown, read=both) for shown in (before, after))
    there = new or old
    assert there is not None
    return change_of(there.path, old, new)


def _entry(shown: Shown | None, *, read: bool) -> Entry | None:
    """The entry of a path; where there is nothing to compare it with, no file is ``read``."""
    if shown is None:
        return None
    return read_entry(shown.item, shown.status, None if read else "unread")
