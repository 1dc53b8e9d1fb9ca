"""Base trees: an administrator's directory becomes a layer, once, and again only when it changed."""

from __future__ import annotations

import hashlib
import heapq
import os
import stat
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pipeline.errors import PipelineError
from pipeline.events import Note, Observer, Progress
from pipeline.store import manifest
from pipeline.store.base_trees import require_base
from pipeline.store.copying import (
    attributes_in,
    attributes_of,
    copy_content,
    set_attributes,
    set_attributes_of_open,
    share,
)
from pipeline.store.filesystem import DIRECTORY, told
from pipeline.store.fingerprint import fingerprint
from pipeline.store.forked import Message, Share, Tell, Turns, in_processes
from pipeline.store.mounts import mounts_below
from pipeline.store.records import Base, Draft, Summary
from pipeline.store.seal import epoch_of
from pipeline.store.store import Store, layer_name
from pipeline.store.tree import (
    Entry,
    Item,
    by_descriptor,
    describe,
    groups_links,
    is_whiteout,
    lstat,
    open_file,
    raw_path,
    readable,
    walk,
    xattrs,
)
from pipeline.store.work import Work

_RUN = 256
"""How many paths a process takes at a time."""
_BLOCK = 4096
SKIPPED = "skipped"
"""The type of an entry that is not copied; its target says why. It never gets into a manifest."""


class _Survey(msgspec.Struct, frozen=True):
    """What was found before copying: ``mounts`` are where something is mounted, ``leaders`` the first names
    of files with several, by inode."""

    source: int
    target: int
    size: int
    mounts: frozenset[bytes]
    leaders: dict[int, bytes] = msgspec.field(default_factory=dict)


def base_key(digest: str) -> str:
    """The key of the layer that holds a base tree, from the digest of its manifest."""
    return hashlib.sha256(b"base\0" + digest.encode()).hexdigest()


def import_base(store: Store, name: str, path: Path, observer: Observer) -> Base:
    """The layer of the directory ``path``, which is copied only when it changed since the last time.

    Everything is kept but sockets and what is mounted there, which are noted. Raises ``PipelineError`` when
    it is missing, not a root, unreadable, keeps changing, or does not fit on the disk.
    """
    require_base(name, path)
    now = fingerprint(path)
    known = _known(store, name, path, now)
    if known is not None:
        return known

    def note(text: str) -> None:
        observer(Note(image="", stage=f"base {name}", text=text))

    with store.lock(f"base-{name}", lambda: note("another process is importing it: waiting")):
        for _ in range(2):
            now = fingerprint(path)
            base = _known(store, name, path, now) or _import(store, name, path, now, observer)
            if base is not None:
                return base
            note(f"{path} changed while it was imported: once more")
    raise PipelineError(
        f"{path} keeps changing while it is imported",
        where=f"base {name!r}",
        hint="wait until nobody works in it, and run the same command again",
    )


def _known(store: Store, name: str, path: Path, now: str) -> Base | None:
    base = store.base(name)
    if base is None or base.path != str(path) or base.fingerprint != now:
        return None
    return base if store.layer_called(base.layer) is not None else None


def _import(store: Store, name: str, path: Path, before: str, observer: Observer) -> Base | None:
    """Copy the tree into a layer; None when it was changed meanwhile."""
    with store.begin() as work, told(f"base {name!r} cannot be imported", path):
        notes: list[str] = []
        try:
            summary = _copy(work, path, f"importing base {name}", notes, observer)
        except FileNotFoundError:
            if fingerprint(path) == before:
                raise
            return None  # it vanished
        if fingerprint(path) != before:
            return None
        if summary.ahead is not None:
            notes.append(f"/{summary.ahead} has a time in the future; what stages write gets one before now")
        draft = Draft(key=base_key(summary.digest), image="", stage=name, type="base", notes=tuple(notes))
        for text in notes:
            observer(Note(image="", stage=f"base {name}", text=text))
        layer = store.finish(work, draft, summary)
        base = Base(
            name=name,
            path=str(path),
            fingerprint=before,
            digest=layer.digest,
            layer=layer_name(layer.key),
            epoch=epoch_of(summary.newest, time.time()),
            bytes=layer.bytes,
            files=layer.files,
        )
        store.set_base(base)
        return base


def _copy(work: Work, path: Path, what: str, notes: list[str], observer: Observer) -> Summary:
    source = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    target = os.open(work.upper, DIRECTORY)
    turns = Turns()
    try:
        survey = _look(source, target, path)
        done = 0

        def heard(message: Message) -> None:
            nonlocal done
            done += message.done
            observer(Progress(image="", what=what, done=done, total=survey.size))

        spools = [work.path / "spool.0", work.path / "spool.1"]
        in_processes(lambda number, tell: _copy_share(survey, turns, spools[number], tell), heard)
        directories: list[Entry] = []
        merged = heapq.merge(*map(_lines, spools), key=manifest.key)
        summary = manifest.write(work.path / "manifest.gz", _finished(survey, merged, directories, notes))
        for entry in directories:
            set_attributes(_at(target, raw_path(entry.path)), attributes_in(entry))
        for spool in spools:
            spool.unlink()
        return summary
    finally:
        turns.close()
        os.close(source)
        os.close(target)


def _at(root: int, path: bytes) -> Item:
    return Item(root, path or b".", path, True)


def _look(source: int, target: int, path: Path) -> _Survey:
    """Count, and make the directories, so that the processes can copy in any order."""
    device, mounts = os.fstat(source).st_dev, mounts_below(path)
    leaders: dict[int, bytes] = {}
    size = blocks = paths = 0
    for item in walk(source, mounts):
        paths += 1
        if item.is_dir and item.path:
            os.mkdir(item.path, 0o700, dir_fd=target)
            continue
        status = lstat(item)
        if status.st_dev != device or item.path in mounts:
            continue
        if status.st_nlink > 1 and status.st_ino in leaders:
            continue
        if groups_links(status):
            leaders[status.st_ino] = item.path
        if stat.S_ISREG(status.st_mode):
            size += status.st_size
            blocks += status.st_blocks
    room = os.fstatvfs(target)
    needed = blocks * 512 + paths * _BLOCK // 8
    if needed > room.f_bavail * room.f_frsize:
        raise PipelineError(
            f"{path} needs {needed // 1_000_000:,} MB in the store, where there are"
            f" {room.f_bavail * room.f_frsize // 1_000_000:,} MB",
            hint="make room, or put the store on a bigger disk",
        )
    return _Survey(source, target, size, mounts, leaders)


def _copy_share(survey: _Survey, turns: Turns, spool: Path, tell: Tell) -> None:
    """Copy what falls to this process, and write an entry for each path to ``spool``."""
    mine = Share(turns, _RUN)
    device = os.fstat(survey.source).st_dev
    clones = True
    untold = 0
    with spool.open("xb") as lines:
        for item in walk(survey.source, survey.mounts):
            if not mine.next_is_mine():
                continue
            status = lstat(item)
            entry = left_out(item, status, device, survey.mounts)
            if entry is not None:
                pass
            elif groups_links(status) and survey.leaders.get(status.st_ino) != item.path:
                leader = survey.leaders.get(status.st_ino, b"")
                entry = Entry(path=readable(item.path), type="file", hardlink=readable(leader))
            elif stat.S_ISREG(status.st_mode):
                entry, clones = _copy_file(item, survey.target, clones)
                untold += status.st_size
            else:
                entry = _copy_other(item, status, survey.target)
            lines.write(manifest.line(entry))
            if untold > 1 << 24:
                tell(Message(done=untold))
                untold = 0
    tell(Message(done=untold))


def left_out(item: Item, status: os.stat_result, device: int, mounts: Collection[bytes]) -> Entry | None:
    """What stands for a path that is not copied, with the reason as its ``target``; None for one that is.

    ``device`` is that of the base, ``mounts`` are the paths below it at which something is mounted.
    """
    path = readable(item.path)
    if stat.S_ISSOCK(status.st_mode):
        return Entry(path=path, type=SKIPPED, target="a socket")
    if status.st_dev != device or item.path in mounts:
        if stat.S_ISDIR(status.st_mode):
            return Entry(path=path, type="dir", mode="0755", uid=0, gid=0, mtime=0, target="mount")
        on = "something is mounted on it" if item.path in mounts else "on another file system"
        return Entry(path=path, type=SKIPPED, target=on)
    if is_whiteout(status):
        return Entry(path=path, type=SKIPPED, target="a device 0:0, which overlayfs takes for a deletion")
    return None


def _copy_file(item: Item, target: int, clones: bool) -> tuple[Entry, bool]:
    """(entry, whether blocks can be shared)."""
    source = open_file(item)
    try:
        status = os.fstat(source)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        copy = os.open(item.path, flags, 0o600, dir_fd=target)
        try:
            shared = clones and status.st_size > 0 and share(source, copy)
            sha256 = copy_content(source, None if shared else copy, status)
            found = xattrs(source)
            set_attributes_of_open(copy, attributes_of(status, found))
        finally:
            os.close(copy)
        return describe(item, status, found, sha256), clones and (shared or status.st_size == 0)
    finally:
        os.close(source)


def _copy_other(item: Item, status: os.stat_result, target: int) -> Entry:
    """Copy a link, device or fifo; a directory is there already, and gets its attributes at the end."""
    found = xattrs(by_descriptor(item))
    entry = describe(item, status, found, None)
    if stat.S_ISDIR(status.st_mode):
        return replace(entry, opaque=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(item.name, dir_fd=item.directory), item.path, dir_fd=target)
    else:
        os.mknod(item.path, status.st_mode, status.st_rdev, dir_fd=target)
    set_attributes(_at(target, item.path), attributes_of(status, found))
    return entry


def _lines(spool: Path) -> Iterator[Entry]:
    decoder = msgspec.json.Decoder(Entry)
    with spool.open("rb") as lines:
        for text in lines:
            yield decoder.decode(text)


def _finished(
    survey: _Survey, merged: Iterator[Entry], directories: list[Entry], notes: list[str]
) -> Iterator[Entry]:
    """The entries of the manifest: hard links made and filled in, what was left out noted."""
    leaders = {readable(path) for path in survey.leaders.values()}
    known: dict[str, Entry] = {}
    for entry in merged:
        if entry.type == SKIPPED:
            notes.append(f"/{entry.path} was left out: {entry.target}")
            continue
        if entry.type == "dir":
            if entry.target is not None:
                notes.append(f"/{entry.path} is a mount point: imported as an empty directory")
                entry = replace(entry, target=None)
            directories.append(entry)
        elif entry.hardlink is not None:
            first = known[entry.hardlink]
            os.link(
                raw_path(first.path),
                raw_path(entry.path),
                src_dir_fd=survey.target,
                dst_dir_fd=survey.target,
                follow_symlinks=False,
            )
            entry = replace(first, path=entry.path, hardlink=first.path)
        elif entry.path in leaders:
            known[entry.path] = entry
        yield entry
