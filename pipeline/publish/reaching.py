"""Whether what is mounted here is seen by those who read the images directory: in a container it is not."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from pipeline.errors import MachineError
from pipeline.recipe.model import Site
from pipeline.store.mounts import mount_above, under_root

NAMESPACES = Path("/proc/thread-self/ns")
FIRST_PROCESS = Path("/proc/1/ns/mnt")
ELSEWHERE = (
    "this is a container, or another mount namespace: run the same command on the machine itself; "
    'what is not published yet can be published from here with publish = "copy" in the site file'
)
FIRST_MOUNT = 1
MACHINE = "pid:[4026531836]"
"""The machine's own process namespace has this number on every kernel (PROC_PID_INIT_INO)."""


def reaches(place: Path) -> bool:
    """Whether a mount made, or taken away, below ``place`` is so for the whole machine.

    A shared mount hands it on. One that is not is fine on the machine itself, where systemd may not run. In a
    mount namespace of one's own it is not; nor in a container, which has processes of its own, on a volume.
    Where this cannot be found out it is taken for the machine.
    """
    mount = mount_above(place)
    if mount is None or mount.shared:
        return True
    return not in_own_namespace() and not (in_container() and mount.point != "/")


def require_reach(site: Site, what: str) -> None:
    """Raise ``MachineError`` when mounts in the images directory are not the machine's; ``what`` failed."""
    if reaches(site.images):
        return
    raise MachineError(
        f"{what}: mounts made here do not reach the machine, and a directory removed here is gone there",
        where=str(site.images),
        hint=ELSEWHERE,
        command=command(site),
    )


def command(site: Site) -> str:
    """What shows how the mount of the images directory stands to the machine's."""
    return shlex.join(["findmnt", "-o", "TARGET,PROPAGATION", "-T", str(site.images)])


def in_own_namespace() -> bool:
    """Whether this process has other mounts than the machine's first process.

    Who may not look at that one looks at the root: below the machine's lies the first of all mounts.
    """
    with suppress(OSError):
        return os.readlink(NAMESPACES / "mnt") != os.readlink(FIRST_PROCESS)
    return under_root() not in (FIRST_MOUNT, None)


def in_container() -> bool:
    """Whether this process sees other processes than the machine's."""
    with suppress(OSError):
        return os.readlink(NAMESPACES / "pid") != MACHINE
    return False
