"""The dates in an ISO image, all set to one: programs that write images put in when they ran.

genisoimage knows no SOURCE_DATE_EPOCH, and notes the times at which the files' inodes changed, which nobody
can set. The places are those of ECMA-119 (8.4 volume descriptors, 9.1 directory records) and of IEEE P1282,
Rock Ridge (4.1.6 ``TF``) over IEEE P1281, SUSP (5.1 ``CE``: the fields of a record go on elsewhere).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 2048
_FIRST_DESCRIPTOR = 16
_PRIMARY, _SUPPLEMENTARY, _END = 1, 2, 255
_ROOT, _CREATED, _MODIFIED, _EFFECTIVE, _VOLUME_DATE = 156, 813, 830, 864, 17
_EXTENT, _LENGTH, _DATE, _FLAGS, _NAME_LENGTH, _NAME = 2, 10, 18, 25, 32, 33
_IS_DIRECTORY = 2
_LONG_FORM, _SHORT_DATE = 0x80, 7


def set_dates(image: Path, epoch: int) -> None:
    """Set all dates in ``image``, of volumes, files and folders, to ``epoch`` in seconds since 1970."""
    content = bytearray(image.read_bytes())
    at = time.gmtime(epoch)
    short = bytes([at.tm_year - 1900, at.tm_mon, at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec, 0])
    for volume in _volumes(content):
        for place in (_CREATED, _MODIFIED, _EFFECTIVE):
            date = time.strftime("%Y%m%d%H%M%S00", at).encode() + b"\0"
            content[volume + place : volume + place + _VOLUME_DATE] = date
        for record in _records(content, volume + _ROOT):
            content[record + _DATE : record + _DATE + _SHORT_DATE] = short
            for stamps in _stamps(content, record):
                for stamp in stamps:
                    content[stamp : stamp + _SHORT_DATE] = short
    image.write_bytes(content)


def _volumes(content: bytearray) -> Iterator[int]:
    """Where the volume descriptors with a tree of their own begin: ISO 9660's, and Joliet's if any."""
    at = _FIRST_DESCRIPTOR * _BLOCK
    while content[at] != _END:
        if content[at] in (_PRIMARY, _SUPPLEMENTARY):
            yield at
        at += _BLOCK


def _number(content: bytearray, at: int) -> int:
    """A number of 32 bits in both orders, of which the first is the little-endian one."""
    return int.from_bytes(content[at : at + 4], "little")


def _records(content: bytearray, root: int) -> Iterator[int]:
    """Where the directory records begin: the one in the volume descriptor, and all in its tree."""
    yield root
    todo, seen = [root], set()
    while todo:
        folder = todo.pop()
        start = _number(content, folder + _EXTENT) * _BLOCK
        if start in seen:  # "." and ".." are records of folders, too
            continue
        seen.add(start)
        at, end = start, start + _number(content, folder + _LENGTH)
        while at < end:
            if content[at] == 0:  # no record crosses the end of a block
                at += _BLOCK - at % _BLOCK
                continue
            yield at
            if content[at + _FLAGS] & _IS_DIRECTORY:
                todo.append(at)
            at += content[at]


def _stamps(content: bytearray, record: int) -> Iterator[range]:
    """Where the dates of each of the record's ``TF`` fields begin."""
    name = content[record + _NAME_LENGTH]
    areas = [(record + _NAME + name + (name + 1) % 2, record + content[record])]
    while areas:
        at, end = areas.pop()
        while at + 4 <= end and content[at + 2] >= 4:
            kind, length = bytes(content[at : at + 2]), content[at + 2]
            if kind == b"CE":
                start = _number(content, at + 4) * _BLOCK + _number(content, at + 12)
                areas.append((start, start + _number(content, at + 20)))
            elif kind == b"TF" and not content[at + 4] & _LONG_FORM:
                yield range(at + 5, at + length, _SHORT_DATE)
            at += length
