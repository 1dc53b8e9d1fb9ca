"""Reading zip archives."""

from __future__ import annotations

import calendar
import codecs
import stat
import zipfile
from collections.abc import Callable, Iterator
from typing import IO

from pipeline.fileops.members import Member
from pipeline.fileops.text import decode

UNIX = 3
"""``create_system`` of archives whose members have a Unix mode (APPNOTE.TXT, 4.4.2)."""

LONGEST_TARGET = 4096
"""PATH_MAX: no link can be longer."""

DAMAGE = (zipfile.BadZipFile,)
"""What reading a damaged archive may raise, beside built-in exceptions."""

codecs.lookup("cp437")  # names without the UTF-8 flag; in the chroot it could not be imported


def open_zip(file: IO[bytes]) -> Iterator[tuple[Member, Callable[[], IO[bytes]]]]:
    """Each member with what opens its content. Owners are not read: all belongs to root."""
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            yield _member(archive, info), lambda info=info: archive.open(info)  # type: ignore[misc]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    # ZipInfo.filename ends at the first NUL, orig_filename does not.
    name = info.orig_filename
    full = info.external_attr >> 16 if info.create_system == UNIX else 0
    mode, kind, mtime = stat.S_IMODE(full), stat.S_IFMT(full), _seconds(info)
    if info.flag_bits & 1:
        return Member(name, "refused", what="is encrypted")
    if info.is_dir() or kind == stat.S_IFDIR:
        return Member(name, "directory", mode or 0o755, mtime=mtime)
    if kind == stat.S_IFLNK:
        if info.file_size > LONGEST_TARGET:
            return Member(name, "refused", what="is a link that is too long")
        return Member(name, "link", mode, mtime=mtime, target=decode(archive.read(info)))
    if kind in (0, stat.S_IFREG):
        return Member(name, "file", mode or 0o644, mtime=mtime, size=info.file_size)
    return Member(name, "refused", what="is a device or fifo")


def _seconds(info: zipfile.ZipInfo) -> float:
    """Zip has local times of an unknown place; taken as UTC they are the same wherever an image is built."""
    return float(max(0, calendar.timegm((*info.date_time, 0, 0, 0))))
