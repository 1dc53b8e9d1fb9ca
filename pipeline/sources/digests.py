"""sha256 digests of files and trees of this machine; those of files are kept until the files change."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError
from pipeline.sources.records import Records

CHUNK = 1 << 20
SETTLED_NS = 2_000_000_000
"""A file touched more recently could be written once more without its times showing it (FAT counts 2 s)."""


class Digest(msgspec.Struct, frozen=True):
    """The sha256 (64 hex digits) and size in bytes of a file's content."""

    sha256: str
    size: int


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What ``stat`` said of a file (times in ns) when its content had this digest."""

    device: int
    inode: int
    size: int
    mtime: int
    ctime: int
    sha256: str = ""


class FileDigests:
    """Digests of local files; an unchanged file is not read again. ``directory`` keeps what is known."""

    def __init__(self, directory: Path) -> None:
        self._records = Records(directory, Seen)

    def of(self, path: Path) -> Digest:
        """The digest of the file at ``path``. Raises ``PipelineError`` when it is none or cannot be read."""
        name = os.path.abspath(path)
        try:
            with open(path, "rb", opener=_without_waiting) as stream:
                now = _seen(os.fstat(stream.fileno()), path)
                known = self._records.get(name)
                if known is not None and msgspec.structs.replace(known, sha256="") == now:
                    return Digest(known.sha256, known.size)
                found = sha256()
                while chunk := stream.read(CHUNK):
                    found.update(chunk)
                after = _seen(os.fstat(stream.fileno()), path)
        except OSError as error:
            raise PipelineError(f"cannot read {path}: {error.strerror}") from None
        if after != now:
            raise PipelineError(f"{path} changed while it was read", hint="run again when it is complete")
        if time.time_ns() - max(now.mtime, now.ctime) > SETTLED_NS:
            self._records.put(name, msgspec.structs.replace(now, sha256=found.hexdigest()))
        return Digest(found.hexdigest(), now.size)


def tree_digest(path: Path) -> str:
    """The sha256 (64 hex digits) of the tree below ``path``.

    It covers every entry's path, type, permission bits, link target, device number and content, and the
    permission bits of ``path`` itself; not owners and times, which a checkout does not keep.
    """
    whole = sha256()
    try:
        for name, found in _walk(os.fsencode(path), b""):
            # Length first, so that no name can be mistaken for the entry that follows it.
            for part in (name, *found):
                whole.update(b"%d:" % len(part) + part)
    except OSError as error:
        raise PipelineError(f"cannot read {os.fsdecode(error.filename or path)}: {error.strerror}") from None
    return whole.hexdigest()


def _walk(directory: bytes, prefix: bytes) -> Iterator[tuple[bytes, tuple[bytes, ...]]]:
    """(path, what its digest covers) of ``directory`` and all below it, in the order of the raw names."""
    yield prefix, (b"directory", b"%o" % stat.S_IMODE(os.stat(directory).st_mode))
    with os.scandir(directory) as opened:
        entries = sorted(opened, key=lambda entry: entry.name)
    for entry in entries:
        name = prefix + b"/" + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, name)
        else:
            yield name, _entry(entry.path, entry.stat(follow_symlinks=False))


def _entry(path: bytes, found: os.stat_result) -> tuple[bytes, ...]:
    if stat.S_ISLNK(found.st_mode):
        return (b"link", os.readlink(path))
    mode = b"%o" % stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        return (b"special", b"%o" % stat.S_IFMT(found.st_mode), mode, b"%d" % found.st_rdev)
    content = sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(CHUNK):
            content.update(chunk)
    return (b"file", mode, content.digest())


def _seen(found: os.stat_result, path: Path) -> Seen:
    if not stat.S_ISREG(found.st_mode):
        raise PipelineError(f"{path} is not a file")
    return Seen(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _without_waiting(path: str, flags: int) -> int:
    """Open without waiting for the other end of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
