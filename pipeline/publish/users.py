"""Who uses a published directory, as far as this machine knows."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.errors import Problem
from pipeline.store.filesystem import OVERLAYFS_MAGIC, type_of
from pipeline.store.mounts import mount_of, mounted_in

INNER = ("/memfd:", "/dev/zero", "/SYSV")
"""What the kernel calls files of its own, on no mount."""


def is_used(target: Path) -> bool:
    """Whether a process is in ``target``, runs a program of it or has a file of it open, or it has a mount.

    Processes of others are seen only by root; nodes that have it by the network never.
    """
    inside = os.path.realpath(target)
    below = f"{inside}/"
    return bool(mounted_in(target)) or any(place == inside or place.startswith(below) for place in _places())


def used(target: Path, also: str = "", *, mounted: bool) -> Problem:
    """What is told of ``target``, which is in use (``also`` after that), and how to end it; ``mounted``: it
    was published by mounting. What is mounted in it comes first: that may have no program."""
    if places := mounted_in(target):
        return Problem(
            f"{target} is in use{also}: something is mounted at {', '.join(places)}",
            hint="unmount it, unless a program there still needs it",
            command=shlex.join(["umount", *places]),
        )
    return Problem(
        f"{target} is in use{also}",
        hint="end the programs that the command below shows",
        command=f"fuser -vm {target}" if mounted else f"lsof +D {target}",
    )


def holders(label: str) -> tuple[int, ...]:
    """The processes that may keep a mount of ``label`` that is not seen here: those that have it in a mount
    namespace of their own, and those that are on something that was unmounted under them."""
    return tuple(sorted(int(each) for each in os.listdir("/proc") if each.isdecimal() and _has(each, label)))


def _has(process: str, label: str) -> bool:
    try:
        mounts = Path(f"/proc/{process}/mountinfo").read_bytes().splitlines()
        ours = os.readlink(f"/proc/{process}/ns/mnt") == os.readlink("/proc/thread-self/ns/mnt")
    except OSError:  # it has ended
        return False
    here = os.fsencode(f" overlay {label} ")
    known = {int(line.split(b" ")[0]) for line in mounts}
    # What is mounted here under that name is another store's.
    return (not ours and any(here in line for line in mounts)) or any(
        mount not in known for mount in map(_mount_of, _links(process)) if mount is not None
    )


def _mount_of(link: str) -> int | None:
    """The number of the mount that ``link`` leads into; None of what cannot be on an overlay."""
    try:
        if not os.readlink(link).startswith("/") or os.readlink(link).startswith(INNER):
            return None
        found = os.open(link, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(found)
        if os.major(status.st_dev) or not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            return None
        is_overlay = type_of(Path(f"/proc/self/fd/{found}")) == OVERLAYFS_MAGIC
        return mount_of(found) if is_overlay else None
    finally:
        os.close(found)


def _links(process: str) -> list[str]:
    """All that leads to what a process uses."""
    links = [f"/proc/{process}/{name}" for name in ("cwd", "root", "exe")]
    with suppress(OSError):  # it has ended, or belongs to somebody else
        links += [f"/proc/{process}/fd/{number}" for number in os.listdir(f"/proc/{process}/fd")]
    return links


def _places() -> Iterator[str]:
    for process in filter(str.isdecimal, os.listdir("/proc")):
        for link in _links(process):
            with suppress(OSError):
                yield os.readlink(link)
