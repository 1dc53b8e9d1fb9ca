"""Whether a directory changed, as quickly as its status data can be read."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import struct
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError
from pipeline.store.filesystem import told

if TYPE_CHECKING:
    from pipeline.store.forked import Turns

_ENOUGH = 256
"""As many directories at one depth are worth two processes (2 ms to start)."""
_RECORD = struct.Struct("=QqqqI").pack
_name_of = attrgetter("name")
_WIDTH = 32


def fingerprint(path: Path) -> str:
    """A digest over path, inode, ctime, mtime, size and mode of all below ``path`` on its file system.

    Equal means unchanged: whatever changes a file or its attributes changes its ctime, which nobody can set.
    """
    with told("the directory cannot be read", path):
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            try:
                return _fingerprint(root)
            except FileNotFoundError as error:
                raise PipelineError(
                    f"{os.fsdecode(error.filename)} vanished while the directory was read",
                    where=str(path),
                    hint="wait until nobody changes it, and run the same command again",
                ) from None
        finally:
            os.close(root)


def _fingerprint(root: int) -> str:
    status = os.fstat(root)
    total = hashlib.sha256(_RECORD(status.st_ino, status.st_ctime_ns, status.st_mtime_ns, 0, status.st_mode))
    level = ["."]
    while level and len(level) < _ENOUGH:
        level = [below for directory in level for below in _add(total, root, directory, status.st_dev)]
    if level:
        for digest in _digests(root, level, status.st_dev):
            total.update(digest)
    return total.hexdigest()


def _digests(root: int, directories: list[str], device: int) -> list[bytes]:
    """The digest of each of ``directories`` with all below it, worked out by two processes."""
    from pipeline.store.forked import Turns, in_processes  # a base of some thousand files does without

    turns = Turns()
    with mmap.mmap(-1, _WIDTH * len(directories)) as shared:
        try:
            in_processes(
                lambda _number, _tell: _fill(shared, turns, root, directories, device), lambda _: None
            )
        finally:
            turns.close()
        return [shared[at : at + _WIDTH] for at in range(0, len(shared), _WIDTH)]


def _fill(shared: mmap.mmap, turns: Turns, root: int, directories: list[str], device: int) -> None:
    while (number := turns.take()) < len(directories):
        digest = hashlib.sha256()
        todo = [directories[number]]
        while todo:
            todo += _add(digest, root, todo.pop(), device)
        shared[number * _WIDTH : (number + 1) * _WIDTH] = digest.digest()


def _add(digest: hashlib._Hash, root: int, directory: str, device: int) -> list[str]:
    """Add the entries of one directory; returns the directories among them."""
    below = []
    names = [directory]
    records = []
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    try:
        with os.scandir(fd) as found:
            for entry in sorted(found, key=_name_of):
                name = entry.name
                status = entry.stat(follow_symlinks=False)
                mode = status.st_mode
                names.append(name)
                if status.st_dev != device:
                    records.append(b"mount")
                    continue
                if stat.S_ISDIR(mode):
                    below.append(f"{directory}/{name}")
                records.append(
                    _RECORD(status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size, mode)
                )
    finally:
        os.close(fd)
    digest.update(os.fsencode("\0".join(names)))
    digest.update(b"\0\0")
    digest.update(b"".join(records))
    return below
