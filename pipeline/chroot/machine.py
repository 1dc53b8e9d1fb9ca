"""What a machine needs so that roots can be made on it, looked at one by one without changing anything."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.chroot import syscalls

OLD_GLIBC = (2, 14)
"""Programs linked against an older glibc call into the vsyscall page (EL6 has 2.12)."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. When it is not ``good``, ``hint`` says how to mend it, and ``command`` is
    to be run; what is not ``needed`` only limits what can be done."""

    name: str
    good: bool
    detail: str
    hint: str | None = None
    command: str | None = None
    needed: bool = True


def checks(bases: Iterable[Path]) -> Iterator[Check]:
    """Everything that entering a root takes. ``bases`` are the trees that will be entered."""
    yield _root()
    yield _overlay()
    if os.geteuid() == 0:
        yield _namespaces()
    yield _vsyscall(list(bases))


def _root() -> Check:
    return Check(
        "root",
        os.geteuid() == 0,
        f"user id {os.geteuid()}",
        "chroots, mounts and device nodes take root",
        "sudo pipeline doctor",
    )


def _overlay() -> Check:
    there = "\toverlay\n" in Path("/proc/filesystems").read_text()
    module = bool(list(Path(f"/lib/modules/{os.uname().release}/kernel/fs/overlayfs").glob("overlay.ko*")))
    return Check(
        "overlayfs",
        there,
        f"kernel {os.uname().release}",
        "load the module" if module else "a kernel with overlayfs is needed (every distribution's has it)",
        "modprobe overlay" if module else None,
    )


def _namespaces() -> Check:
    wanted = {
        "mount": syscalls.CLONE_NEWNS,
        "pid": syscalls.CLONE_NEWPID,
        "ipc": syscalls.CLONE_NEWIPC,
        "uts": syscalls.CLONE_NEWUTS,
        "network": syscalls.CLONE_NEWNET,
    }
    refused = [name for name, flag in wanted.items() if not _in_child(partial(syscalls.unshare, flag))]
    return Check(
        "namespaces",
        not refused,
        f"refused: {', '.join(refused)}" if refused else ", ".join(wanted),
        "this looks like a container: it needs CAP_SYS_ADMIN (docker run --privileged)",
    )


def _in_child(work: Callable[[], None]) -> bool:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            syscalls.die_with_parent(signal.SIGKILL)
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def _vsyscall(bases: list[Path]) -> Check:
    with open("/proc/self/maps") as file:
        there = "[vsyscall]" in file.read()
    old = [base for base in bases if _has_old_glibc(base)]
    return Check(
        "vsyscall page",
        there or not old,
        ("present" if there else "absent")
        + (f"; needed by {', '.join(base.name for base in old)}" if old else "; only EL6 and older need it"),
        "programs of EL6 die of SIGSEGV without it: boot this machine with vsyscall=emulate",
        'grubby --update-kernel=ALL --args="vsyscall=emulate"',
    )


def _has_old_glibc(base: Path) -> bool:
    for folder in ("lib64", "lib", "usr/lib64"):
        for path in (base / folder).glob("libc-2.*.so"):
            found = re.fullmatch(r"libc-(\d+)\.(\d+)(?:\.\d+)?\.so", path.name)
            if found and (int(found[1]), int(found[2])) < OLD_GLIBC:
                return True
    return False
