"""Questions about an image's files, answered in its chroot by ``Root.call``; standard library only.

Every path is one of the image, absolute or relative to ``/``, as bytes (names need not be UTF-8).
Each answer is what the program that testinfra would have started says (GNU coreutils 8.4 to 9.1).
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from contextlib import suppress
from typing import NamedTuple

import msgspec

from pipeline.verify import grep

LINKS = 40
"""How many links a path may have before it is a loop (the kernel's own limit)."""

RPM_DATABASES = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm", "/root/.rpmdb")
KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISFIFO, "pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISBLK, "block"),
    (stat.S_ISCHR, "char"),
)


class _Table(NamedTuple):
    """A file of accounts: how many fields a line has, how many it needs, and which have to be numbers."""

    path: str
    fields: int
    least: int
    numbers: tuple[int, ...] = ()


PASSWD = _Table("/etc/passwd", 7, 4, (2, 3))
GROUP = _Table("/etc/group", 4, 3, (2,))
SHADOW = _Table("/etc/shadow", 9, 5)


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What is at a path. All but ``link`` and ``real`` is about what the path leads to in the end.

    ``kind`` is empty where nothing is (a dangling link included), ``error`` then says why. ``real`` is the
    path without links, None where ``realpath`` would fail. ``mode`` has 12 bits, ``mtime`` whole seconds.
    """

    link: bool
    real: bytes | None
    kind: str = ""
    error: str = ""
    executable: bool = False
    mode: int = 0
    uid: int = 0
    gid: int = 0
    user: str = "UNKNOWN"
    group: str = "UNKNOWN"
    size: int = 0
    mtime: int = 0
    inode: int = 0


class Accounts(msgspec.Struct, frozen=True):
    """The fields of each line of /etc/passwd, /etc/group and /etc/shadow."""

    passwd: tuple[tuple[str, ...], ...]
    group: tuple[tuple[str, ...], ...]
    shadow: tuple[tuple[str, ...], ...]


class Read(msgspec.Struct, frozen=True):
    """A file's content, or why there is none."""

    content: bytes = b""
    error: str = ""


class Listing(msgspec.Struct, frozen=True):
    """The names in a directory, or why there are none."""

    names: tuple[bytes, ...] = ()
    error: str = ""


class Match(msgspec.Struct, frozen=True):
    """Whether a line matches; ``found`` is None where only the image's grep can tell."""

    found: bool | None


def look(path: bytes) -> Look:
    """What ``test``, ``stat -L`` and ``realpath`` say of ``path``."""
    link = False
    with suppress(OSError):
        link = stat.S_ISLNK(os.lstat(path).st_mode)
    real = _real(path)
    try:
        status = os.stat(path)
    except OSError as error:
        return Look(link=link, real=real, error=error.strerror or "unknown error")
    users, groups = _lines(PASSWD), _lines(GROUP)
    return Look(
        link=link,
        real=real,
        kind=next((kind for test, kind in KINDS if test(status.st_mode)), "other"),
        executable=os.access(path, os.X_OK, effective_ids=True),
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        user=_name(users, status.st_uid),
        group=_name(groups, status.st_gid),
        size=status.st_size,
        mtime=int(status.st_mtime // 1),
        inode=status.st_ino,
    )


def read(path: bytes) -> Read:
    """What ``cat`` prints."""
    try:
        with _regular(path) as file:
            return Read(file.read())
    except OSError as error:
        return Read(error=error.strerror or "unknown error")


def digest(path: bytes, algorithm: str) -> Read:
    """The hex digest of a file's content."""
    try:
        with _regular(path) as file:
            return Read(hashlib.file_digest(file, algorithm).hexdigest().encode())
    except OSError as error:
        return Read(error=error.strerror or "unknown error")


def listing(path: bytes) -> Listing:
    """What ``ls -1`` lists under LANG=C: no hidden names, sorted by bytes; a file lists itself."""
    try:
        try:
            folder = stat.S_ISDIR(os.stat(path).st_mode)
        except FileNotFoundError:
            os.lstat(path)
            folder = False  # a dangling link lists itself
        if not folder:
            return Listing((path,))
        return Listing(tuple(sorted(name for name in os.listdir(path) if not name.startswith(b"."))))
    except OSError as error:
        return Listing(error=error.strerror or "unknown error")


def matches(path: bytes, pattern: str) -> Match:
    """What ``grep -q`` says, where that is certain: a regular file and a plain basic regular expression."""
    expression = grep.translate(pattern)
    try:
        if expression is None or not stat.S_ISREG(os.stat(path).st_mode):
            return Match(None)
        with open(path, "rb") as file:
            return Match(grep.matches(expression, file.read()))
    except OSError:
        return Match(None)


def accounts() -> Accounts:
    """The image's own users and groups, without any directory service."""
    return Accounts(_lines(PASSWD), _lines(GROUP), _lines(SHADOW))


def rpm_database() -> tuple[tuple[str, int, int, int], ...]:
    """Path, size, mtime (ns) and inode of each file of the rpm database: equal while no package changed.

    Left out is what a mere query writes: Berkeley DB's regions and locks, SQLite's shared memory.
    """
    found = []
    for place in RPM_DATABASES:
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                passing = entry.name.startswith(("__db.", ".")) or entry.name.endswith("-shm")
                if not passing and status.st_size and stat.S_ISREG(status.st_mode):
                    found.append((entry.path, status.st_size, status.st_mtime_ns, status.st_ino))
    return tuple(sorted(found))


def _regular(path: bytes) -> io.BufferedReader:
    """The open file; an ``OSError`` for a pipe or a device, which might never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        number = errno.EISDIR if os.path.isdir(path) else errno.EINVAL
        raise OSError(number, os.strerror(number))
    return open(path, "rb")


def _lines(table: _Table) -> tuple[tuple[str, ...], ...]:
    """The entries of a file like /etc/passwd that the C library reads, with all their fields.

    Left out are blank lines, those for NIS, and those without what has to be there; empty without the file.
    """
    try:
        with open(table.path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return ()
    found = [line.split(":") for line in lines if line.strip() and line[0] not in "#+-"]
    return tuple(
        (*fields, *[""] * (table.fields - len(fields)))
        for fields in found
        if len(fields) >= table.least and all(fields[number].isdecimal() for number in table.numbers)
    )


def _name(lines: tuple[tuple[str, ...], ...], number: int) -> str:
    return next((line[0] for line in lines if line[2:3] == (str(number),)), "UNKNOWN")


def _real(path: bytes) -> bytes | None:
    """As ``realpath`` does: every component but the last has to exist, and directories are directories."""
    if not path:
        return None
    current = b"/"
    rest = [part for part in path.split(b"/") if part]
    links = 0
    while rest:
        part = rest.pop(0)
        if part == b".":
            continue
        if part == b"..":
            current = os.path.dirname(current)
            continue
        step = os.path.join(current, part)
        try:
            status = os.lstat(step)
        except FileNotFoundError:
            return None if rest else step
        except OSError:
            return None
        if stat.S_ISLNK(status.st_mode):
            links += 1
            target = os.readlink(step)
            if links > LINKS:
                return None
            rest = [part for part in target.split(b"/") if part] + rest
            current = b"/" if target.startswith(b"/") else current
        elif rest and not stat.S_ISDIR(status.st_mode):
            return None
        else:
            current = step
    return current
