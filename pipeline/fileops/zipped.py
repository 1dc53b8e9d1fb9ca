"""Reading zip archives."""

from __future__ import annotations

import calendar
import codecs
import os
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

END, FARTHEST_END, IN_ZIP64 = b"PK\5\6", 22 + 0xFFFF, 0xFFFFFFFF
"""The end record: how it begins, how far from the end of the file, and what refers to zip64."""

DAMAGE = (zipfile.BadZipFile,)
"""What reading a damaged archive may raise, beside built-in exceptions."""

codecs.lookup("cp437")  # names without the UTF-8 flag; in the chroot it could not be imported


def open_zip(file: IO[bytes]) -> Iterator[tuple[Member, Callable[[], IO[bytes]]]]:
    """Each member with what opens its content. Owners are not read: all belongs to root."""
    with zipfile.ZipFile(file) as archive:
        if _is_inner(archive, file):
            raise zipfile.BadZipFile("only an archive inside of it has its end: was it cut off?")
        for info in archive.infolist():
            yield _member(archive, info), lambda info=info: archive.open(info)  # type: ignore[misc]


def _is_inner(archive: zipfile.ZipFile, file: IO[bytes]) -> bool:
    """Whether the end that was found is that of a zip archive which is a member of this one.

    An archive's end says where its directory is, counted from where that archive begins.
    """
    file.seek(max(0, file.seek(0, os.SEEK_END) - FARTHEST_END))
    tail = file.read()
    said = int.from_bytes(tail[tail.rfind(END) :][16:20], "little")
    return said not in (IN_ZIP64, archive.start_dir)


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
