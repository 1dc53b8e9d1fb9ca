"""Publishing by copying: the layers of a version merged into one directory tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import PipelineError
from pipeline.removing import remove_tree
from pipeline.store.copying import (
    Attributes,
    attributes_of,
    copy_content,
    set_attributes,
    set_attributes_of_open,
    share,
)
from pipeline.store.filesystem import DIRECTORY, inherit_nothing, sync, told
from pipeline.store.overlay import is_opaque
from pipeline.store.records import Version
from pipeline.store.store import Store
from pipeline.store.tree import Item, by_descriptor, groups_links, is_whiteout, lstat, open_file, xattrs


class Shown(NamedTuple):
    """A path of the merged tree: ``item`` is where a layer has it; its name is the path from the root.

    ``joined`` are the directories that are shown as this one, uppermost first; none of what is no directory.
    """

    item: Item
    status: os.stat_result
    joined: Sequence[Item] = ()


def copy_version(store: Store, version: Version, target: Path) -> None:
    """Write ``version`` as the new directory ``target``, complete and on the disk when this returns.

    Owners, modes, times, extended attributes, hard links, devices, holes and names that are no UTF-8 are
    kept; deletions are applied. Where the file system can, files share their blocks with the store. Raises
    ``PipelineError`` when it does not fit or ``target`` exists; then nothing of it is left.
    """
    with told(f"{version.label} cannot be copied", target):
        try:
            target.mkdir(mode=0o700)
        except FileExistsError:
            raise PipelineError(f"{target} is in the way", command=f"ls -ld {target}") from None
        try:
            inherit_nothing(target)
            copy_merged([store.layer_tree(name) for name in version.layers], target)
            sync(target)
        except BaseException:
            remove_tree(target)
            raise


def copy_merged(trees: Sequence[Path], target: Path) -> None:
    """Fill the empty directory ``target`` with what a stack of ``trees``, lowest first, shows."""
    opened: list[int] = []
    try:
        opened.extend(os.open(tree, DIRECTORY) for tree in reversed(trees))
        copy = os.open(target, DIRECTORY)
        opened.append(copy)
        directories: list[tuple[bytes, Attributes]] = []
        names: dict[tuple[int, int], bytes] = {}
        for shown in merged([Item(fd, b".", b"", True) for fd in opened[:-1]]):
            if stat.S_ISDIR(shown.status.st_mode):
                if shown.item.path:
                    os.mkdir(shown.item.path, 0o700, dir_fd=copy)
                found = xattrs(by_descriptor(shown.item))
                directories.append((shown.item.path, attributes_of(shown.status, found)))
            else:
                _copy(shown, copy, names)
        for path, attributes in directories:  # last: what is made in a directory changes its time
            set_attributes(Item(copy, path or b".", path, True), attributes)
    finally:
        for fd in opened:
            os.close(fd)


def merged(layers: Sequence[Item]) -> Iterator[Shown]:
    """What the directories ``layers`` of one path, uppermost first, show as one, and all below it.

    A directory comes before what is in it.
    """
    waiting = [Shown(layers[0], lstat(layers[0]), layers)]
    while waiting:
        directory = waiting.pop()
        yield directory
        for shown in inside(directory.joined).values():
            if shown.joined:
                waiting.append(shown)
            else:
                yield shown


def inside(layers: Sequence[Item]) -> dict[bytes, Shown]:
    """What the directories ``layers`` of one path, uppermost first, show in it as one, by name.

    The way of overlayfs: the uppermost shows; directories of one name are joined down to the first that is
    opaque, or to a layer where the name is a deletion or something else.
    """
    found: dict[bytes, Shown] = {}
    joined: dict[bytes, list[Item]] = {}
    hidden: set[bytes] = set()
    for layer in layers:
        for name, item in _children(layer):
            if name in hidden:
                continue
            status = lstat(item)
            if stat.S_ISDIR(status.st_mode):
                joined.setdefault(name, []).append(item)
                found.setdefault(name, Shown(item, status, joined[name]))
                if is_opaque(by_descriptor(item)):
                    hidden.add(name)
                continue
            hidden.add(name)
            if name not in found and not is_whiteout(status):
                found[name] = Shown(item, status)
    return found


def _children(layer: Item) -> Iterator[tuple[bytes, Item]]:
    fd = os.open(layer.name, DIRECTORY, dir_fd=layer.directory)
    try:
        names = [os.fsencode(name) for name in os.listdir(fd)]
    finally:
        os.close(fd)
    for name in names:
        path = layer.path + b"/" + name if layer.path else name
        yield name, Item(layer.directory, path, path, False)


def _copy(shown: Shown, target: int, names: dict[tuple[int, int], bytes]) -> None:
    """Copy what is no directory; ``names`` holds the first name of each file that has several."""
    item, status, _ = shown
    if groups_links(status):
        first = names.setdefault((status.st_dev, status.st_ino), item.path)
        if first != item.path:
            os.link(first, item.path, src_dir_fd=target, dst_dir_fd=target, follow_symlinks=False)
            return
    if stat.S_ISREG(status.st_mode):
        _copy_file(item, status, target)
        return
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(item.name, dir_fd=item.directory), item.path, dir_fd=target)
    else:
        os.mknod(item.path, status.st_mode, status.st_rdev, dir_fd=target)
    found = xattrs(by_descriptor(item))
    set_attributes(Item(target, item.path, item.path, False), attributes_of(status, found))


def _copy_file(item: Item, status: os.stat_result, target: int) -> None:
    source = open_file(item)
    try:
        copy = os.open(item.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            if not share(source, copy):
                copy_content(source, copy, status)
            set_attributes_of_open(copy, attributes_of(status, xattrs(source)))
        finally:
            os.close(copy)
    finally:
        os.close(source)
