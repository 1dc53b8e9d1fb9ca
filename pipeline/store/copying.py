"""Copying one path with all that belongs to it."""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.store.filesystem import FICLONE
from pipeline.store.tree import BLOCK, OVERLAY_XATTRS, Entry, Item, by_descriptor, raw_path, xattrs

_ZEROS = bytes(BLOCK)


class Attributes(NamedTuple):
    """What belongs to a path beside its content: ``mode`` is ``st_mode`` whole, ``mtime`` nanoseconds.

    ``xattrs`` are without those of overlayfs.
    """

    mode: int
    uid: int
    gid: int
    mtime: int
    xattrs: Mapping[str, bytes]


def attributes_of(status: os.stat_result, found: Mapping[str, bytes]) -> Attributes:
    """The attributes of a path whose status and extended attributes are known."""
    own = {name: value for name, value in found.items() if not name.startswith(OVERLAY_XATTRS)}
    return Attributes(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, own)


def attributes_in(entry: Entry) -> Attributes:
    """The attributes that a manifest says a directory has."""
    return Attributes(
        stat.S_IFDIR | int(entry.mode or "0755", 8),
        entry.uid or 0,
        entry.gid or 0,
        entry.mtime or 0,
        {
            os.fsdecode(raw_path(name)): base64.b64decode(value)
            for name, value in (entry.xattrs or {}).items()
        },
    )


def copy_attributes(source: bytes, status: os.stat_result, target: Item) -> None:
    """Give ``target`` the owner, mode, extended attributes and times of ``source`` (no link)."""
    set_attributes(target, attributes_of(status, xattrs(source)))


def set_attributes(target: Item, attributes: Attributes) -> None:
    """Set all of them in the order that keeps them, whatever ``target`` is; links are not followed."""
    if stat.S_ISREG(attributes.mode) or stat.S_ISDIR(attributes.mode):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(target.name, flags, dir_fd=target.directory)
        try:
            set_attributes_of_open(fd, attributes)
        finally:
            os.close(fd)
        return
    os.chown(target.name, attributes.uid, attributes.gid, dir_fd=target.directory, follow_symlinks=False)
    for name, value in attributes.xattrs.items():
        os.setxattr(by_descriptor(target), name, value, follow_symlinks=False)
    if not stat.S_ISLNK(attributes.mode):
        os.chmod(target.name, stat.S_IMODE(attributes.mode), dir_fd=target.directory)
    times = (attributes.mtime, attributes.mtime)
    os.utime(target.name, ns=times, dir_fd=target.directory, follow_symlinks=False)


def set_attributes_of_open(fd: int, attributes: Attributes) -> None:
    """The same for an open file or directory.

    A change of owner clears setuid and capabilities, so it comes first; ACLs change the mode, so that comes
    after them; times come last.
    """
    os.fchown(fd, attributes.uid, attributes.gid)
    for name, value in attributes.xattrs.items():
        os.setxattr(fd, name, value)
    os.fchmod(fd, stat.S_IMODE(attributes.mode))
    os.utime(fd, ns=(attributes.mtime, attributes.mtime))


def share(source: int, target: int) -> bool:
    """Let an empty file have the content of another without copying it; False where that cannot be."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY):
            return False
        raise
    return True


def copy_content(source: int, target: int | None, status: os.stat_result) -> str:
    """The sha256 of an open file, which is copied into the empty file ``target`` on the way (None: not).

    What is hashed is what is written, so content and digest cannot differ. Holes stay holes.
    """
    if status.st_blocks * 512 < status.st_size:
        return _copy_sparse(source, target, status.st_size)
    sha256 = hashlib.sha256()
    left = status.st_size
    while left and (block := os.read(source, BLOCK)):
        sha256.update(block)
        left -= len(block)
        if target is not None:
            _write(target, block)
    return sha256.hexdigest()


def _copy_sparse(source: int, target: int | None, size: int) -> str:
    sha256 = hashlib.sha256()
    at = 0
    while at < size:
        data = _seek(source, at, os.SEEK_DATA, size)
        for _ in range((data - at) // BLOCK):
            sha256.update(_ZEROS)
        sha256.update(_ZEROS[: (data - at) % BLOCK])
        end = _seek(source, data, os.SEEK_HOLE, size)
        os.lseek(source, data, os.SEEK_SET)
        if target is not None:
            os.lseek(target, data, os.SEEK_SET)
        at = data
        while at < end:
            block = os.read(source, min(BLOCK, end - at))
            if not block:
                raise OSError(errno.EIO, "it became shorter while it was copied")
            sha256.update(block)
            if target is not None:
                _write(target, block)
            at += len(block)
    if target is not None:
        os.ftruncate(target, size)
    return sha256.hexdigest()


def _seek(fd: int, at: int, what: int, end: int) -> int:
    try:
        return min(os.lseek(fd, at, what), end)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole from here on
            return end
        raise


def _write(fd: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(fd, view) :]
