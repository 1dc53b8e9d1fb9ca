"""Unpacking an archive into an image, in two passes: all of it is looked at before anything is written.

It runs in the chroot. What it imports has to be imported before that is entered.
"""

from __future__ import annotations

import os
import posixpath
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import msgspec

from pipeline.errors import PipelineError, Problem, UnreadableError
from pipeline.fileops import iso, tarball, zipped
from pipeline.fileops.iso import MAGIC, MAGIC_AT
from pipeline.fileops.members import (
    CAPABILITIES,
    TOLD,
    Limits,
    Member,
    check_limits,
    check_ratio,
    parts,
    paths,
)
from pipeline.fileops.owners import Owner, give, look_up
from pipeline.fileops.place import check_kept, is_kept, kind, make_folders, telling

DAMAGE = (
    *tarball.DAMAGE,
    *zipped.DAMAGE,
    *iso.DAMAGE,
    ArithmeticError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    ValueError,
    struct.error,
    zlib.error,
)

CHUNK = 1 << 20
HOLE = 1 << 16
"""So many zeros in a sparse file, or more, become a hole."""
SET_ID = 0o6000
LATEST = 2.0**33
"""Seconds since 1970, in the year 2242: what is later, or before 1970, is taken for nonsense."""


class Request(msgspec.Struct, frozen=True):
    """``archive`` is where the chroot sees the file, ``source`` what errors call it."""

    archive: str
    source: str
    destination: str
    strip: int
    owner: str | None
    limits: Limits


def unpack(request: Request) -> tuple[str, ...]:
    """Unpack the archive; to be called in the chroot. Returns the extended attributes that were left out.

    Raises ``PipelineError`` when it is damaged, has members that lead out or are no files, is a bomb, does
    not fit on the disk, or would replace a directory by a file or the other way round.
    """
    owner = None if request.owner is None else look_up(request.owner)
    with _reading(request.source):
        members, total = _collect(request)
    destination = make_folders(request.destination)
    check_kept(destination, request.destination)
    names = (destination, posixpath.normpath(request.destination))
    where = paths(members, request.strip, names, request.source)
    _check_way(destination, members, where, request.source)
    _check_space(destination, total, request.source)
    with _reading(request.source):
        _write_all(request, destination, where, owner)
    return tuple(sorted(frozenset().union(*(member.left_out for member in members))))


def _collect(request: Request) -> tuple[list[Member], int]:
    """The members and their bytes in all, once the limits are known to hold."""
    size = os.stat(request.archive).st_size
    members: list[Member] = []
    total = packed = 0
    for member, _ in _open(request):
        members.append(member)
        total += max(member.size, 0)
        packed += 0 if member.sparse else max(member.size, 0)
        check_limits(len(members), total, request.limits, request.source)
    # Only now: an archive that was cut off declares much for its size as well, and its reader has found out.
    check_ratio(packed, size, request.source)
    return members, total


def _open(request: Request) -> Iterator[tuple[Member, Callable[[], IO[bytes]]]]:
    with open(request.archive, "rb") as file:
        head = file.read(512)
        file.seek(MAGIC_AT)
        is_iso = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            yield from zipped.open_zip(file)
        elif is_iso:
            yield from iso.open_iso(file)
        elif head.startswith(tuple(tarball.OPENERS)) or tarball.is_tar(head):
            yield from tarball.open_tar(file, os.stat(request.archive).st_size, request.source)
        else:
            raise _unknown(head, request.source)


def _unknown(head: bytes, source: str) -> UnreadableError:
    page = head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml"))
    return UnreadableError(
        "is no archive: expected tar (plain, gz, bz2, xz or zst), zip or ISO 9660",
        where=source,
        hint="it is a web page: open the address in a browser" if page else f"it begins with {head[:16]!r}",
    )


@contextmanager
def _reading(source: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        words = str(error) or type(error).__name__
        raise UnreadableError(f"the archive is damaged or not whole: {words}", where=source) from None


def _check_way(destination: str, members: Sequence[Member], where: Sequence[str], source: str) -> None:
    """Raise when the image has something in the way: nothing is replaced by something of another kind."""
    problems: dict[str, str] = {}
    folders: dict[str, bool] = {"": True}
    kept: dict[str, bool] = {"": True}
    for member, path in zip(members, where, strict=True):
        if not path:
            continue
        folder = path if member.type == "directory" else posixpath.dirname(path)
        if not _folder_free(destination, folder, folders, problems):
            continue
        full = posixpath.join(destination, path)
        if not _above_is_kept(destination, posixpath.dirname(path), kept):
            problems[full] = "would be lost: another filesystem lies there while a stage runs"
            continue
        if member.type != "directory" and os.path.isdir(full) and not os.path.islink(full):
            problems[full] = "is a directory in the image, and none in the archive"
    if problems:
        told = [Problem(f"{path} {why}", where=source) for path, why in list(problems.items())[:TOLD]]
        raise PipelineError(told)


def _folder_free(destination: str, folder: str, known: dict[str, bool], problems: dict[str, str]) -> bool:
    """Whether ``folder`` is, or can be made, a directory inside of the destination."""
    if folder in known:
        return known[folder]
    free = _folder_free(destination, posixpath.dirname(folder), known, problems)
    full = posixpath.join(destination, folder)
    if free and os.path.lexists(full):
        real = os.path.realpath(full)
        inside = destination == "/" or f"{real}/".startswith(destination + "/")
        if not inside:
            problems[full] = f"is a link in the image that leads out of {destination}, to {real}"
        elif not os.path.isdir(real):
            what = kind(os.lstat(full).st_mode)
            problems[full] = f"is {what} in the image, and a directory in the archive"
        free = full not in problems
    known[folder] = free
    return free


def _above_is_kept(destination: str, folder: str, known: dict[str, bool]) -> bool:
    """Whether what is put into ``folder``, a free one, gets into the image."""
    if folder not in known:
        full = posixpath.join(destination, folder)
        there = os.path.lexists(full)
        known[folder] = (
            is_kept(full) if there else _above_is_kept(destination, posixpath.dirname(folder), known)
        )
    return known[folder]


def _check_space(destination: str, total: int, source: str) -> None:
    disk = os.statvfs(destination)
    free = disk.f_bavail * disk.f_frsize
    if total > free:
        raise PipelineError(
            f"unpacks to {total} bytes, and only {free} are free",
            where=source,
            hint="the store's disk is full",
        )


def _write_all(request: Request, destination: str, where: Sequence[str], owner: Owner | None) -> None:
    made: list[tuple[str, Member]] = []
    known = {""}
    for (member, content), path in zip(_open(request), where, strict=True):
        if not path:
            continue
        full = posixpath.join(destination, path)
        if member.type == "directory":
            made += [(full, member)] * _make_folder(destination, path, known)
            continue
        _make_folder(destination, posixpath.dirname(path), known)
        with telling(full):
            if os.path.lexists(full):
                os.unlink(full)
        if member.type == "hardlink":
            target = "/".join(parts(member.target)[request.strip :])
            with telling(full):
                os.link(posixpath.join(destination, target), full, follow_symlinks=False)
            continue
        if member.type == "link":
            with telling(full):
                os.symlink(member.target, full)
        else:
            _write(full, member, content())
        _finish(full, member, owner)
    # A folder's time and mode last: what is written into it would change the one and may need the other.
    for full, member in reversed(made):
        _finish(full, member, owner)


def _make_folder(destination: str, folder: str, known: set[str]) -> bool:
    """Make ``folder`` and those above it where they are missing; whether it was."""
    if folder in known:
        return False
    _make_folder(destination, posixpath.dirname(folder), known)
    known.add(folder)
    full = posixpath.join(destination, folder)
    with telling(full):
        if os.path.isdir(full):
            return False
        os.mkdir(full, 0o755)
    return True


def _write(full: str, member: Member, content: IO[bytes]) -> None:
    with telling(full):
        file = os.fdopen(os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb", 0)
    with file, content:
        left = member.size
        while left:
            piece = content.read(min(HOLE if member.sparse else CHUNK, left))
            if not piece:
                raise EOFError(f"{member.name} ends {left} bytes early")
            left -= len(piece)
            with telling(full):
                if member.sparse and piece == bytes(len(piece)):
                    file.seek(len(piece), os.SEEK_CUR)
                else:
                    file.write(piece)
        if member.sparse:
            file.truncate(member.size)


def _finish(full: str, member: Member, owner: Owner | None) -> None:
    """Owner, mode and time. Another owner than the archive's does not get the archive's set-id bits."""
    said = owner or Owner(member.uid, member.gid)
    mode = member.mode & ~SET_ID if owner and member.type == "file" else member.mode
    seconds = member.mtime if 0 <= member.mtime <= LATEST else 0.0
    with telling(full):
        if member.type == "link":
            give(full, said, None)
        else:
            give(full, said, None)
            give(full, Owner(), mode)
            for name in member.xattrs.keys() - member.left_out - ({CAPABILITIES} if owner else set()):
                os.setxattr(full, name, member.xattrs[name], follow_symlinks=False)
        os.utime(full, (seconds, seconds), follow_symlinks=False)
