"""Reading ISO 9660 images: with Rock Ridge's names and modes, or Joliet's names, or as they are."""

from __future__ import annotations

import calendar
import codecs
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, BinaryIO

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from pipeline.fileops.members import Member
from pipeline.fileops.text import decode

MAGIC, MAGIC_AT = b"CD001", 32769

DAMAGE = (PyCdlibException,)
"""What reading a damaged image may raise, beside built-in exceptions."""

# Python imports these only when pycdlib meets a Joliet name or a date, and in the chroot could not do it.
codecs.lookup("utf-16_be")
time.strptime("2000", "%Y")


def open_iso(file: BinaryIO) -> Iterator[tuple[Member, Callable[[], IO[bytes]]]]:
    """Each member with what opens its content. Without Rock Ridge all is root's, 0644 or 0755."""
    iso = pycdlib.PyCdlib()
    iso.open_fp(file)
    try:
        kind = "rr_path" if iso.has_rock_ridge() else "joliet_path" if iso.has_joliet() else "iso_path"
        size = file.seek(0, os.SEEK_END)
        for path, name, record in _walk(iso, kind):
            if _is_cut(iso, record, size):
                raise EOFError(f"{name} goes on behind its end: was it cut off?")
            yield _member(name, record), lambda path=path: _open(iso, kind, path)  # type: ignore[misc]
    finally:
        iso.close()


def _is_cut(iso: Any, record: Any, size: int) -> bool:
    """Whether an image of ``size`` bytes ends before ``record`` does.

    pycdlib shortens a file to what there is. So one that ends where the image does is whole only if the image
    is as long as its volume descriptor says; that alone is no proof, since padding may have been left out.
    """
    block = iso.pvd.logical_block_size()
    end = record.extent_location() * block + record.get_data_length()
    if record.is_dir():
        return bool(end > size)
    return bool(end == size < iso.pvd.space_size * block)


def _open(iso: Any, kind: str, path: str) -> IO[bytes]:
    opened: IO[bytes] = iso.open_file_from_iso(**{kind: path})
    return opened.__enter__()


def _walk(iso: Any, kind: str) -> Iterator[tuple[str, str, Any]]:
    """(path as pycdlib finds it, name to give it, record) of all but the root, folders first."""
    todo = [("", "", iso.get_record(**{kind: "/"}))]
    while todo:
        path, name, folder = todo.pop()
        for record in folder.children:
            if record.is_dot() or record.is_dotdot():
                continue
            rock = record.rock_ridge
            own = _name(record, kind)
            place = f"{path}/{own}"
            if rock is not None and rock.child_link_record_exists():
                # Rock Ridge moves folders that lie too deep; the link in their place leads to them.
                record = rock.cl_to_moved_dr
                place = iso.full_path_from_dirrecord(record, rockridge=True)
            elif rock is not None and rock.relocated_record():
                continue
            shown = own if kind != "iso_path" else own.split(";")[0].rstrip(".").lower()
            here = f"{name}/{shown}" if name else shown
            yield place, here, record
            if record.is_dir():
                todo.append((place, here, record))


def _name(record: Any, kind: str) -> str:
    if kind == "rr_path":
        return decode(record.rock_ridge.name())
    identifier: bytes = record.file_identifier()
    return identifier.decode("utf-16_be") if kind == "joliet_path" else decode(identifier)


def _member(name: str, record: Any) -> Member:
    rock = record.rock_ridge
    date = record.date
    clock = (date.hour, date.minute - 15 * date.gmtoffset, date.second)
    mtime = float(
        calendar.timegm((1900 + date.years_since_1900, date.month, date.day_of_month, *clock, 0, 0, 0))
    )
    directory = record.is_dir()
    if rock is None:
        size = 0 if directory else record.get_data_length()
        return Member(
            name, "directory" if directory else "file", 0o755 if directory else 0o644, mtime=mtime, size=size
        )
    attributes = rock.dr_entries.px_record or (rock.ce_entries and rock.ce_entries.px_record)
    full = attributes.posix_file_mode if attributes else 0
    uid, gid = (attributes.posix_user_id, attributes.posix_group_id) if attributes else (0, 0)
    mode = stat.S_IMODE(full) or (0o755 if directory else 0o644)
    if rock.is_symlink():
        return Member(name, "link", mode, uid, gid, mtime, target=decode(rock.symlink_path()))
    if directory:
        return Member(name, "directory", mode, uid, gid, mtime)
    if stat.S_IFMT(full) not in (0, stat.S_IFREG):
        return Member(name, "refused", what="is a device or fifo")
    return Member(name, "file", mode, uid, gid, mtime, size=record.get_data_length())
