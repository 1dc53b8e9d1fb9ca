"""Layers as overlayfs stacks them, looked at without mounting them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipeline.store.filesystem import DIRECTORY
from pipeline.store.tree import OPAQUE, is_whiteout


class Found(NamedTuple):
    """Where the stack gets a path from: ``number`` counts the trees from the lowest, 0."""

    number: int
    file: bytes
    status: os.stat_result


class _HiddenError(Exception):
    """The layer hides the path from those below it."""


def is_opaque(directory: bytes) -> bool:
    """Whether a directory of a layer hides those of the same name below it."""
    try:
        return os.getxattr(directory, OPAQUE, follow_symlinks=False) == b"y"
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise


def _in_layer(tree: bytes, path: bytes) -> tuple[bytes, os.stat_result | None, bool]:
    """(file, status, opaque): status is None when the layer lacks ``path``; opaque when it hides those below.

    Raises ``_HiddenError`` when a part of the path is deleted, or is no directory.
    """
    opaque = False
    here = tree
    parts = path.split(b"/") if path else []
    status = os.lstat(tree)
    for number, part in enumerate(parts):
        here += b"/" + part
        try:
            status = os.lstat(here)
        except FileNotFoundError:
            return here, None, opaque
        if is_whiteout(status) or (number < len(parts) - 1 and not stat.S_ISDIR(status.st_mode)):
            raise _HiddenError
        if stat.S_ISDIR(status.st_mode) and is_opaque(here):
            opaque = True
    return here, status, opaque


def find(trees: Sequence[Path], path: bytes) -> Found | None:
    """What a stack of ``trees``, lowest first, shows at the relative ``path``; None when nothing."""
    for number in range(len(trees) - 1, -1, -1):
        try:
            file, status, opaque = _in_layer(os.fsencode(trees[number]), path)
        except _HiddenError:
            return None
        if status is not None:
            return Found(number, file, status)
        if opaque:
            return None
    return None


def leaves_alone(upper: Path, path: bytes) -> bool:
    """Whether what lies at ``path`` below the layer ``upper`` shows through it."""
    try:
        _, status, opaque = _in_layer(os.fsencode(upper), path)
    except _HiddenError:
        return False
    return status is None and not opaque


@contextmanager
def open_directory(root: Path, path: bytes) -> Iterator[int | None]:
    """The directory ``path`` below ``root``, opened without following any link; None when it is not one."""
    fd = os.open(root, DIRECTORY)
    try:
        there = True
        for part in path.split(b"/") if path else []:
            try:
                child = os.open(part, DIRECTORY, dir_fd=fd)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise
                there = False
                break
            os.close(fd)
            fd = child
        yield fd if there else None
    finally:
        os.close(fd)


@contextmanager
def times_kept(directory: int) -> Iterator[None]:
    """Leave a directory's times as they were, whatever is linked or removed in it."""
    before = os.fstat(directory)
    yield
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))
