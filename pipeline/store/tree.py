"""A directory tree as a sequence of entries, in the order of its raw paths."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import re
import stat
from collections.abc import Collection, Generator, Iterator, Mapping
from typing import NamedTuple

import msgspec

from pipeline.errors import PipelineError
from pipeline.removing import parent
from pipeline.store.filesystem import DIRECTORY

OPAQUE = "trusted.overlay.opaque"
OVERLAY_XATTRS = "trusted.overlay."
BLOCK = 1 << 20

TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One path of a tree; one line of a manifest.

    ``path`` is relative, escaped by ``readable``; the root is the empty path. ``type`` is ``file``, ``dir``,
    ``link``, ``char``, ``block``, ``fifo``, ``socket`` or ``whiteout`` (a deletion, which has nothing else).
    ``mode`` is four octal digits or more, ``size`` bytes, ``mtime`` nanoseconds since 1970, ``rdev``
    ``major:minor``, ``sha256`` 64 hex digits, ``xattrs`` base64 by name. ``hardlink`` is the first path, in
    order, of the file that this is another name of. ``opaque``: the directory hides what lies below it.
    """

    path: str
    type: str
    mode: str | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    mtime: int | None = None
    rdev: str | None = None
    target: str | None = None
    sha256: str | None = None
    xattrs: dict[str, str] | None = None
    hardlink: str | None = None
    opaque: bool = False


class Item(NamedTuple):
    """A path met on a walk: ``name`` in the open directory ``directory``. The descriptor is the walk's, and
    good until its next step."""

    directory: int
    name: bytes
    path: bytes
    is_dir: bool


def readable(raw: bytes) -> str:
    """``raw`` as text that ``raw_path`` turns back.

    UTF-8 stands as it is, ``\\xNN`` for a byte that is not UTF-8, ``\\\\`` for a backslash.
    """
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def raw_path(text: str) -> bytes:
    """The bytes that ``readable`` made ``text`` of."""
    plain = text.encode()
    if b"\\" not in plain:
        return plain
    return re.sub(
        rb"\\(\\|x([0-9a-f]{2}))",
        lambda match: bytes.fromhex(match[2].decode()) if match[2] else b"\\",
        plain,
    )


def is_whiteout(status: os.stat_result) -> bool:
    """Whether overlayfs takes it for a deletion: a character device 0:0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def walk(root: int, mounts: Collection[bytes] = ()) -> Generator[Item, None, None]:
    """Every path below the open directory ``root``, the root itself first, sorted by raw path bytes.

    Neither links nor other file systems are entered, nor the paths ``mounts``: a mount from the same file
    system is known by nothing else. A mount point itself is met. Memory is that of the directories from the
    root to the present one, of which only the present one is open. Raises ``FileNotFoundError`` when it is
    moved meanwhile.
    """
    device = os.fstat(root).st_dev
    # Opened anew: processes that were forked with ``root`` open share the place up to which it was listed.
    here = os.open(b".", DIRECTORY, dir_fd=root)
    try:
        yield Item(here, b".", b"", True)
        levels = [(os.fstat(here), b"", _steps(here))]
        while True:
            _, prefix, steps = levels[-1]
            if steps:
                key, is_dir = steps.pop()
                if not key.endswith(b"/"):
                    yield Item(here, key, prefix + key, is_dir)
                    continue
                if prefix + key[:-1] in mounts:
                    continue
                other = os.open(key[:-1], DIRECTORY, dir_fd=here)
                status = os.fstat(other)
                if status.st_dev != device:
                    os.close(other)
                    continue
                os.close(here)
                here = other
                levels.append((status, prefix + key, _steps(here)))
            else:
                levels.pop()
                if not levels:
                    return
                other = _above(here, levels[-1][0], prefix)
                os.close(here)
                here = other
    finally:
        os.close(here)


def _above(directory: int, status: os.stat_result, path: bytes) -> int:
    above = parent(directory, status)
    if above is None:
        raise FileNotFoundError(errno.ENOENT, "moved while it was read", os.fsdecode(path))
    return above


def _steps(directory: int) -> list[tuple[bytes, bool]]:
    """What a walk does in a directory, last first: meet ``name``, go into ``name/``.

    ``a-b`` lies between ``a`` and ``a/c``: sorting the names to meet together with the names to enter gives
    the order of whole paths without ever holding more than one directory.
    """
    with os.scandir(directory) as found:
        met = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in found]
    met += [(name + b"/", True) for name, is_dir in met if is_dir]
    met.sort(reverse=True)
    return met


def lstat(item: Item) -> os.stat_result:
    """The status of a path, links not followed."""
    return os.stat(item.name, dir_fd=item.directory, follow_symlinks=False)


def by_descriptor(item: Item) -> bytes:
    """A path for calls that take no directory descriptor; only its last component may be a link."""
    return b"/proc/self/fd/%d/%s" % (item.directory, item.name)


def xattrs(where: int | bytes) -> dict[str, bytes]:
    """The extended attributes of an open file or of a path (links not followed), overlayfs's own included."""
    if isinstance(where, int):
        return {name: os.getxattr(where, name) for name in os.listxattr(where)}
    names = os.listxattr(where, follow_symlinks=False)
    return {name: os.getxattr(where, name, follow_symlinks=False) for name in names}


def open_file(item: Item) -> int:
    """Open a regular file for reading; never a link, never waiting on what took its place."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(item.name, flags, dir_fd=item.directory)


def digest_of(fd: int) -> str:
    """The sha256 of an open file's content."""
    sha256 = hashlib.sha256()
    while block := os.read(fd, BLOCK):
        sha256.update(block)
    return sha256.hexdigest()


def describe(item: Item, status: os.stat_result, attributes: dict[str, bytes], sha256: str | None) -> Entry:
    """The entry of a path, from what was found out about it."""
    kind = TYPES[stat.S_IFMT(status.st_mode)]
    if is_whiteout(status):
        return Entry(path=readable(item.path), type="whiteout")
    kept = {
        readable(os.fsencode(name)): base64.b64encode(value).decode()
        for name, value in sorted(attributes.items())
        if not name.startswith(OVERLAY_XATTRS)
    }
    device = kind in ("char", "block")
    return Entry(
        path=readable(item.path),
        type=kind,
        mode=f"{stat.S_IMODE(status.st_mode):04o}",
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind == "file" else None,
        mtime=status.st_mtime_ns,
        rdev=f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}" if device else None,
        target=readable(os.readlink(item.name, dir_fd=item.directory)) if kind == "link" else None,
        sha256=sha256,
        xattrs=kept or None,
        opaque=kind == "dir" and attributes.get(OPAQUE) == b"y",
    )


def read_entry(item: Item, status: os.stat_result, sha256: str | None = None) -> Entry:
    """The entry of a path; the content of a regular file is read unless its digest is known."""
    if stat.S_ISREG(status.st_mode):
        fd = open_file(item)
        try:
            return describe(item, status, xattrs(fd), sha256 or digest_of(fd))
        finally:
            os.close(fd)
    return describe(item, status, {} if is_whiteout(status) else xattrs(by_descriptor(item)), None)


def groups_links(status: os.stat_result) -> bool:
    """Whether other names of the same file may be told as hard links (whiteouts share inodes by chance)."""
    return status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode) and not is_whiteout(status)


def entries(root: int, digests: Mapping[int, str] | None = None) -> Iterator[tuple[Entry, os.stat_result]]:
    """Every entry below the open directory ``root`` in order; a file with several names is read once, and one
    whose digest is known by its inode not at all."""
    digests = digests or {}
    first: dict[int, Entry] = {}
    for item in walk(root):
        try:
            status = lstat(item)
            known = first.get(status.st_ino) if groups_links(status) else None
            if known is None:
                entry = read_entry(item, status, digests.get(status.st_ino))
                if groups_links(status):
                    first[status.st_ino] = entry
            else:
                path = readable(item.path)
                entry = msgspec.structs.replace(known, path=path, hardlink=known.path)
        except FileNotFoundError:
            raise PipelineError(
                "it vanished while the tree was read", where="/" + readable(item.path)
            ) from None
        yield entry, status
