"""What a directory holds, as find(1) tells it anywhere, against what a version has.

For each path there is a record, ``PATH//TYPE MODE UID GID SIZE//TARGET`` (no path has ``//`` in it);
directories have no size, times are not told. Sorted and each ended by a zero byte, they have a digest, so
that trees that are as they should be cost one line from wherever they are.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import zlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from pipeline.store.compare import shown_entries
from pipeline.store.records import Version
from pipeline.store.store import Store
from pipeline.store.tree import Entry, raw_path, readable

LETTERS = {
    "file": "f",
    "dir": "d",
    "link": "l",
    "char": "c",
    "block": "b",
    "fifo": "p",
    "socket": "s",
}

FIND = r"""
find -H "$1" -xdev -mindepth 1 \
  \( -type f -printf '%P//%y %m %U %G %s//\0' \
  -o -type l -printf '%P//%y %m %U %G //%l\0' \
  -o -printf '%P//%y %m %U %G //\0' \)
""".strip()

LIST = f"""
LC_ALL=C; export LC_ALL
{FIND} | sort -z
"""
"""For a shell with the directory as ``$1``: its records. Other file systems mounted in it are left out."""

PACKED = f"""
test -d "$1" || {{ echo none; exit 0; }}
exec 3>&1
code=$( {{ {{ {FIND}; echo $? >&4; }} | gzip -c | base64 >&3; }} 4>&1 ) && exit "$code"
"""
"""For a shell with the directory as ``$1``: its records in any order, packed, or ``none``. It fails when
some could not be read."""

DIGEST = r"""
test -d "$1" || { echo none; exit 0; }
digest=$( { %s
} | sha256sum) && echo "${digest%%%% *}"
""" % LIST.strip()  # noqa: UP031 - braces are the shell's
"""For a shell with the directory as ``$1``: the digest of its records, or ``none``: no such directory."""

NONE = "none"

How = Literal["missing", "extra", "changed"]


class Difference(msgspec.Struct, frozen=True, order=True):
    """A path (from the root, with its slash) that is ``missing``, ``extra`` or ``changed``, and in what."""

    path: str
    how: How
    why: str = ""

    def __str__(self) -> str:
        return f"{self.path} is {self.how}" + (f" ({self.why})" if self.why else "")


def records_of(store: Store, version: Version) -> list[bytes]:
    """The records of a version, sorted. Raises ``PipelineError`` when a manifest is damaged or missing."""
    return sorted(record(entry) for entry in shown_entries(store, version.layers).values() if entry.path)


def unpacked(printed: str) -> list[bytes] | None:
    """The records that ``PACKED`` printed; None: there is no such directory. Raises ``ValueError``."""
    if printed.strip() == NONE:
        return None
    try:
        return gzip.decompress(base64.b64decode("".join(printed.split()), validate=True)).split(b"\0")[:-1]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(str(error)) from None


def record(entry: Entry) -> bytes:
    """An entry of a manifest as its record."""
    size = str(entry.size) if entry.type == "file" and entry.size is not None else ""
    mode = f"{int(entry.mode or '0', 8):o}"
    about = f"{LETTERS[entry.type]} {mode} {entry.uid} {entry.gid} {size}"
    return b"//".join((raw_path(entry.path), about.encode(), raw_path(entry.target or "")))


def digest(records: Iterable[bytes]) -> str:
    """What ``DIGEST`` prints for them; they are sorted."""
    sha256 = hashlib.sha256()
    for each in records:
        sha256.update(each + b"\0")
    return sha256.hexdigest()


def differences(wanted: Iterable[bytes], found: Iterable[bytes]) -> tuple[Difference, ...]:
    """What of ``wanted`` isn't so in ``found``, by path."""
    one, other = _by_path(wanted), _by_path(found)
    told = [
        Difference(_shown(path), *_how(one.get(path), other.get(path)))
        for path in one.keys() | other.keys()
        if one.get(path) != other.get(path)
    ]
    return tuple(sorted(told))


FIELDS = ("type", "mode", "owner", "group", "size")


def _how(one: tuple[bytes, bytes] | None, other: tuple[bytes, bytes] | None) -> tuple[How, str]:
    if one is None or other is None:
        return ("missing" if other is None else "extra"), ""
    pairs = zip(FIELDS, one[0].split(b" "), other[0].split(b" "), strict=True)
    told = [f"{name} {now.decode()} for {was.decode()}" for name, was, now in pairs if was != now]
    if one[1] != other[1]:
        told.append(f"leads to {readable(other[1])} for {readable(one[1])}")
    return "changed", ", ".join(told)


def _by_path(records: Iterable[bytes]) -> Mapping[bytes, tuple[bytes, bytes]]:
    found = {}
    for each in records:
        path, _, rest = each.partition(b"//")
        about, _, target = rest.partition(b"//")
        found[path] = about, target
    return found


def _shown(path: bytes) -> str:
    return f"/{readable(path)}"
