"""What a directory tree holds, for comparing."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.removing import remove_tree
from pipeline.store.filesystem import DIRECTORY
from pipeline.store.tree import Entry, entries

DEFAULT_ACL, ACCESS_ACL = "system.posix_acl_default", "system.posix_acl_access"
_ANY = 0xFFFFFFFF
SHARED_ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, 7, who)
    for tag, who in ((0x01, _ANY), (0x02, 65534), (0x04, _ANY), (0x10, _ANY), (0x20, _ANY))
)
"""``setfacl -d -m u:nobody:rwx,g::rwx,o::rwx``, as the kernel keeps it (acl_ea_header)."""


def tree_entries(root: Path) -> list[Entry]:
    """The manifest of ``root``."""
    fd = os.open(root, DIRECTORY)
    try:
        return [entry for entry, _ in entries(fd)]
    finally:
        os.close(fd)


def acls(root: Path) -> list[str]:
    """The paths in ``root`` that have an ACL."""
    names = {DEFAULT_ACL, ACCESS_ACL}
    paths = [root, *root.rglob("*")]
    return [str(path) for path in paths if names & set(os.listxattr(path, follow_symlinks=False))]


def names_of_files(root: Path) -> list[str]:
    """Everything below ``root`` that is no directory, sorted."""
    found = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(str(path.relative_to(root)) for path in found)


@contextmanager
def deep(top: Path, levels: int, name: str = "d") -> Iterator[None]:
    """Directories in directories below ``top``, with a file in the last; what is left of them is removed at
    the end, since pytest cannot."""
    try:
        _make_deep(top, levels, name)
        yield
    finally:
        remove_tree(top / name)


def _make_deep(top: Path, levels: int, name: str) -> None:
    here = os.open(top, DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
