"""Hard links across layers: all names of a changed file go into the layer that changed it.

With ``index=on`` overlayfs copies a file of several names up once and finds it again, under its other names,
through ``work/index``, whose entries are named after the file handle of the lower file. A layer has no index,
so the names that were not touched would show the old content again. Seen on Linux 6.18.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from pipeline.libc import libc
from pipeline.store import overlay
from pipeline.store.copying import copy_attributes
from pipeline.store.filesystem import DIRECTORY, inherit_nothing
from pipeline.store.tree import Item, by_descriptor, lstat, raw_path, read_entry

_MAGIC = 0xFB
"""``OVL_FH_MAGIC`` of fs/overlayfs/overlayfs.h; before it stands the version, 0."""
_TYPE = 4
_HANDLE = 21
"""Where in an index entry's name (struct ovl_fb) the type and the bytes of the file handle begin."""

_HANDLE_BYTES = 128
"""``MAX_HANDLE_SZ`` of linux/exportfs.h."""
_AT_FDCWD = -100


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * _HANDLE_BYTES),
    )


def _handle(path: bytes) -> tuple[int, bytes] | None:
    """The file handle of ``path``, links not followed, as (type, bytes); None where there are none.

    It is what overlayfs names the entries of its index after (name_to_handle_at(2)).
    """
    answer = _FileHandle(handle_bytes=_HANDLE_BYTES)
    mount = ctypes.c_int()
    if libc().name_to_handle_at(_AT_FDCWD, path, ctypes.byref(answer), ctypes.byref(mount), 0) != 0:
        return None
    return answer.handle_type, bytes(answer.f_handle[: answer.handle_bytes])


def complete(
    upper: Path, index: Path, trees: Sequence[Path], groups: Sequence[Sequence[Sequence[str]]]
) -> None:
    """Link the files of ``index`` to those names that still show the lower file.

    ``trees`` are the layers below, lowest first, ``groups`` the hard-link groups of each.
    """
    changed = dict(_changed(index))
    if not changed:
        return
    for number, (tree, of_tree) in enumerate(zip(trees, groups, strict=True)):
        for group in of_tree:
            paths = [raw_path(path) for path in group]
            original = os.fsencode(tree) + b"/" + paths[0]
            name = changed.get(_handle(original) or (0, b""))
            if name is None:
                continue
            others = [path for path in paths if _shows_through(upper, trees, number, path)]
            if others and not _is_unchanged_copy(index, name, tree, paths[0]):
                for path in others:
                    _link(os.fsencode(index) + b"/" + name, upper, trees, path)


def _changed(index: Path) -> Iterator[tuple[tuple[int, bytes], bytes]]:
    """The index's files by the handle of what they were copied from."""
    if not index.is_dir():
        return
    for name in os.listdir(os.fsencode(index)):
        try:
            key = bytes.fromhex(name.decode())
        except ValueError:
            continue  # "#…": a whiteout that the kernel keeps at hand
        if len(key) > _HANDLE and key[1] == _MAGIC:
            yield (key[_TYPE], key[_HANDLE:]), name


def _shows_through(upper: Path, trees: Sequence[Path], number: int, path: bytes) -> bool:
    """Whether the stack's ``path`` is that of tree ``number``, and ``upper`` has nothing of its own there."""
    found = overlay.find(trees, path)
    return found is not None and found.number == number and overlay.leaves_alone(upper, path)


def _is_unchanged_copy(index: Path, name: bytes, tree: Path, path: bytes) -> bool:
    """Whether a copied-up file is in no directory of the layer, and is what it was copied from.

    That is what removing one of the names leaves: the others may as well stay in the layer below.
    """
    directories = os.open(index, DIRECTORY), os.open(tree, DIRECTORY)
    try:
        copy, original = Item(directories[0], name, b"", False), Item(directories[1], path, b"", False)
        status = lstat(copy)
        return status.st_nlink == 1 and read_entry(copy, status) == read_entry(original, lstat(original))
    finally:
        for directory in directories:
            os.close(directory)


def _link(file: bytes, upper: Path, trees: Sequence[Path], path: bytes) -> None:
    parent = b"/".join(path.split(b"/")[:-1])
    make_directories(upper, trees, parent)
    with overlay.open_directory(upper, parent) as directory:
        if directory is None:
            raise NotADirectoryError(os.fsdecode(parent))
        with overlay.times_kept(directory):
            os.link(file, path.split(b"/")[-1], dst_dir_fd=directory, follow_symlinks=False)


def make_directories(upper: Path, trees: Sequence[Path], path: bytes) -> None:
    """Copy up the directory ``path`` and those above it, as the kernel does, where ``upper`` lacks them."""
    if not path:
        return
    parent, _, name = path.rpartition(b"/")
    make_directories(upper, trees, parent)
    with overlay.open_directory(upper, parent) as directory:
        if directory is None:
            raise NotADirectoryError(os.fsdecode(parent))
        try:
            with overlay.times_kept(directory):
                os.mkdir(name, dir_fd=directory)
        except FileExistsError:
            return
        below = overlay.find(trees, path)
        if below is not None and stat.S_ISDIR(below.status.st_mode):
            made = Item(directory, name, path, True)
            inherit_nothing(by_descriptor(made))
            copy_attributes(below.file, below.status, made)


def read_groups(path: Path) -> list[list[str]]:
    """The hard-link groups of a layer: the side file that saves reading its whole manifest."""
    return msgspec.json.decode(path.read_bytes(), type=list[list[str]])
