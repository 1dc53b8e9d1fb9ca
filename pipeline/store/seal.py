"""What makes an upper directory a layer: self-contained, free of what no image needs, with settled times."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.store import overlay
from pipeline.store.copying import attributes_of, copy_content, set_attributes_of_open, share
from pipeline.store.filesystem import DIRECTORY, inherit_nothing
from pipeline.store.tree import (
    OPAQUE,
    OVERLAY_XATTRS,
    Item,
    by_descriptor,
    digest_of,
    is_whiteout,
    lstat,
    open_file,
    walk,
    xattrs,
)
from pipeline.unwanted import UNWANTED

_CLOCK_STEP_NS = 20_000_000
"""The kernel stamps files with the time of its last tick, up to 10 ms (HZ=100) behind ``time.time``."""

SPAN = 1 << 13
"""Seconds over which the time of a layer is spread, after those of the layers below: a bit over two hours.
rsync takes one of ``SPAN`` changed files of the same size for the old one, where it looks at nothing else."""

SPANS = 128
"""Layers whose times are in their order; the few above these share the last span."""


def drop_unwanted(upper: Path, trees: Sequence[Path]) -> None:
    """Take ``UNWANTED`` out of ``upper``, as if the stage had never written it.

    What the stage deleted stays deleted: whiteouts and opaque directories are left where they are.
    """
    for path, names in UNWANTED:
        with overlay.open_directory(upper, path) as directory:
            if directory is None:
                continue
            found = [name for name in map(os.fsencode, os.listdir(directory)) if names.fullmatch(name)]
            if not found:
                continue
            with overlay.times_kept(directory):
                for name in found:
                    _drop(Item(directory, name, path + b"/" + name if path else name, False), upper, trees)
        _drop_if_empty(upper, trees, path)


def _drop(item: Item, upper: Path, trees: Sequence[Path]) -> None:
    status = lstat(item)
    if is_whiteout(status):
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(item.name, dir_fd=item.directory)
        return
    directories = _drop_files(upper, item.path)
    for path in reversed(directories):
        parent, _, name = path.rpartition(b"/")
        with overlay.open_directory(upper, parent) as directory:
            if directory is not None:
                with overlay.times_kept(directory):
                    _drop_directory_if_empty(Item(directory, name, path, True), trees)


def _drop_files(upper: Path, path: bytes) -> list[bytes]:
    """Drop all files below the directory ``path``; returns it and the directories below it, in order."""
    directories = []
    with overlay.open_directory(upper, path) as top:
        for item in walk(top) if top is not None else ():
            if item.is_dir:
                directories.append(path + b"/" + item.path if item.path else path)
            elif not is_whiteout(lstat(item)):
                with overlay.times_kept(item.directory):
                    os.unlink(item.name, dir_fd=item.directory)
    return directories


def _drop_if_empty(upper: Path, trees: Sequence[Path], path: bytes) -> None:
    """Drop the directory ``path``, and then those above it, as far as nothing but their times is new."""
    while path:
        parent, _, name = path.rpartition(b"/")
        with overlay.open_directory(upper, parent) as directory:
            if directory is None:
                return
            with overlay.times_kept(directory):
                if not _drop_directory_if_empty(Item(directory, name, path, True), trees):
                    return
        path = parent


def _drop_directory_if_empty(item: Item, trees: Sequence[Path]) -> bool:
    status = lstat(item)
    attributes = xattrs(by_descriptor(item))
    below = overlay.find(trees, item.path)
    if below is not None:
        hides = attributes.get(OPAQUE) == b"y"
        if hides or not _same_attributes(status, attributes, below):
            return False
    try:
        os.rmdir(item.name, dir_fd=item.directory)
    except OSError:
        return False  # not empty
    return True


def _same_attributes(status: os.stat_result, attributes: Mapping[str, bytes], below: overlay.Found) -> bool:
    own = attributes_of(status, attributes)
    return own == attributes_of(below.status, xattrs(below.file))._replace(mtime=own.mtime)


def put_back(upper: Path, trees: Sequence[Path], shims: Mapping[str, str]) -> None:
    """Undo copies of shims that only a change of mode, owner or time made.

    ``shims`` maps the relative path of each stand-in program to its sha256. Where the stage changed mode or
    owner the image's own program gets them; where the image has no such program nothing is left. The layer of
    the shims has to show each with the mode, owner and attributes of the program that it stands for.
    """
    for path, sha256 in shims.items():
        raw = os.fsencode(path)
        parent, _, name = raw.rpartition(b"/")
        with overlay.open_directory(upper, parent) as directory:
            if directory is None:
                continue
            item = Item(directory, name, raw, False)
            with overlay.times_kept(directory):
                done = _put_back(item, trees, sha256)
        if done:
            _drop_if_empty(upper, trees, parent)


def _put_back(item: Item, trees: Sequence[Path], sha256: str) -> bool:
    """Whether there is nothing at ``item`` any more."""
    try:
        status = lstat(item)
    except FileNotFoundError:
        return False
    below = overlay.find(trees, item.path)
    if is_whiteout(status):
        if below is None:  # the shim was deleted, and the image never had the program
            os.unlink(item.name, dir_fd=item.directory)
        return below is None
    if not stat.S_ISREG(status.st_mode):
        return False
    fd = open_file(item)
    try:
        if digest_of(fd) != sha256:
            return False
        attributes = xattrs(fd)
    finally:
        os.close(fd)
    os.unlink(item.name, dir_fd=item.directory)
    if below is None or not stat.S_ISREG(below.status.st_mode):
        return True
    if _same_attributes(status, attributes, below):
        return True
    _copy_real(below, item, status, attributes)
    return False


def _copy_real(
    below: overlay.Found, item: Item, status: os.stat_result, attributes: Mapping[str, bytes]
) -> None:
    source = os.open(below.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        target = os.open(item.name, flags, 0o600, dir_fd=item.directory)
        try:
            if not share(source, target):
                copy_content(source, target, below.status)
            own = attributes_of(status, attributes)
            inherit_nothing(target)
            set_attributes_of_open(target, own._replace(mtime=below.status.st_mtime_ns))
        finally:
            os.close(target)
    finally:
        os.close(source)


def settle(upper: Path, trees: Sequence[Path], started: float, epoch: int) -> Mapping[int, str]:
    """Remove overlayfs's own attributes, and set every time since ``started`` to one of this layer's own.

    ``started`` and ``epoch`` are seconds since 1970; see ``_own_time``. Older times stay: files of packages
    keep theirs, so that ``rpm -V`` is clean. ``opaque`` stays where something below is hidden by it; the
    kernel also puts it on every new directory. Returns the sha256 of each file that had to be read, by inode.
    """
    since = int(started * 10**9) - _CLOCK_STEP_NS
    root = os.open(upper, DIRECTORY)
    try:
        seconds, digests = _own_time(root, since, epoch + min(max(len(trees) - 1, 0), SPANS - 1) * SPAN)
        own = seconds * 10**9
        for item in walk(root):
            status = lstat(item)
            if not is_whiteout(status):
                where = by_descriptor(item)
                for name in os.listxattr(where, follow_symlinks=False):
                    if not name.startswith(OVERLAY_XATTRS):
                        continue
                    if name != OPAQUE or overlay.find(trees, item.path) is None:
                        os.removexattr(where, name, follow_symlinks=False)
            if status.st_mtime_ns >= since:
                os.utime(item.name, ns=(own, own), dir_fd=item.directory, follow_symlinks=False)
    finally:
        os.close(root)
    return digests


def epoch_of(newest: int, now: float) -> int:
    """The time before which no stage's files are, for a base whose newest file is of the time ``newest`` and
    that is imported ``now``, all in seconds: no stage sees files of those before it that lie in the future,
    nor does a clock that goes on change what it takes for its own."""
    return min(newest, int(now) - SPANS * SPAN)


def _own_time(root: int, since: int, earliest: int) -> tuple[int, dict[int, str]]:
    """``earliest`` and up to ``SPAN`` seconds more, which is decided by the names and contents of the files
    that are to get it.

    The same files have the same time, other ones another: rsync, by which nodes are updated, takes a file of
    the same size and time for the same. One time for all, and later than those of the layers below, so that
    none of them is older than what it was made of: make(1), newaliases(1) look at times. Only seconds: not
    every rsync and file system looks at more. With it come the digests, by inode.
    """
    whole, digests = hashlib.sha256(), dict[int, str]()
    for item in walk(root):
        status = lstat(item)
        if stat.S_ISREG(status.st_mode) and status.st_mtime_ns >= since:
            if status.st_ino not in digests:
                fd = open_file(item)
                try:
                    digests[status.st_ino] = digest_of(fd)
                finally:
                    os.close(fd)
            whole.update(b"%d:%s%s" % (len(item.path), item.path, digests[status.st_ino].encode()))
    return earliest + int.from_bytes(whole.digest()[:8]) % SPAN, digests
