"""What is mounted, as the kernel tells it: a bind mount from the same file system has no other ``st_dev``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

MOUNTS = Path("/proc/thread-self/mountinfo")


class Mount(msgspec.Struct, frozen=True):
    """Where something is mounted; of what is mounted below a ``shared`` one other mount namespaces hear."""

    point: str
    shared: bool


def mount_above(place: Path) -> Mount | None:
    """The mount on which ``place`` lies, or the nearest directory above it that is there."""
    place = Path(os.path.realpath(place))
    there = next(each for each in (place, *place.parents) if each.is_dir())
    found = os.open(there, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        number = mount_of(found)
    finally:
        os.close(found)
    for each, point, shared in _mounts():
        if each == number:
            return Mount(os.fsdecode(point), shared)
    return None


def under_root() -> int | None:
    """The number of the mount that the root is mounted on; None when that is not seen."""
    lines = (line.split(b" ") for line in MOUNTS.read_bytes().splitlines())
    return next((int(words[1]) for words in lines if words[4] == b"/"), None)


def mount_points() -> frozenset[str]:
    """Every mount point that this process sees, as the kernel names it: without links."""
    return frozenset(os.fsdecode(place) for _, place, _ in _mounts())


def mounts_below(directory: Path) -> frozenset[bytes]:
    """The paths, relative to ``directory``, at which something is mounted that is seen there: on directories
    and on files. What is hidden by a later mount is none of them, but what lies under a mount may be."""
    above = os.path.realpath(os.fsencode(directory)).rstrip(b"/") + b"/"
    return frozenset(
        place.removeprefix(above)
        for number, place, _ in _mounts()
        if place.startswith(above) and place != above and _mount_of(place) == number
    )


def mounted_in(directory: Path) -> tuple[str, ...]:
    """Every mount point below ``directory``, hidden ones too, in an order in which they can be unmounted."""
    above = os.path.realpath(os.fsencode(directory)).rstrip(b"/") + b"/"
    return tuple(os.fsdecode(place) for _, place, _ in reversed(list(_mounts())) if place.startswith(above))


def _mounts() -> Iterator[tuple[int, bytes, bool]]:
    """(number of a mount, where it is, whether it is shared)."""
    for line in MOUNTS.read_bytes().splitlines():
        words = line.split(b" ")
        place = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), words[4])
        shared = any(word.startswith(b"shared:") for word in words[6 : words.index(b"-", 6)])
        yield int(words[0]), place, shared


def _mount_of(path: bytes) -> int | None:
    """The number of the mount that ``path`` leads to; None where nothing is, or for whoever may not look."""
    try:
        found = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    try:
        return mount_of(found)
    finally:
        os.close(found)


def mount_of(descriptor: int) -> int | None:
    """The number of the mount that an open file lies on."""
    told = re.search(r"(?m)^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{descriptor}").read_text())
    return int(told[1]) if told else None
