"""What a machine needs so that roots can be made on it, looked at one by one without changing anything."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from pipeline.chroot import syscalls
from pipeline.chroot.inside import resolve
from pipeline.libc import die_with_parent

OLD_GLIBC = (2, 14)
"""Programs linked against an older glibc call into the vsyscall page (EL6 has 2.12)."""

FILESYSTEMS = Path("/proc/filesystems")
MODULES = Path("/lib/modules")
MAPS = Path("/proc/self/maps")


class Check(msgspec.Struct, frozen=True):
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


def _overlay(filesystems: Path = FILESYSTEMS, modules: Path = MODULES) -> Check:
    release = os.uname().release
    there = "\toverlay\n" in filesystems.read_text()
    module = any((modules / release / "kernel/fs/overlayfs").glob("overlay.ko*"))
    return Check(
        "overlayfs",
        there or module,
        f"kernel {release}" + ("" if there else ", loaded on first use" if module else ", without overlayfs"),
        "this kernel has no overlayfs; that of every distribution has it, in its package of modules",
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
            die_with_parent()
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def _vsyscall(bases: list[Path], maps: Path = MAPS) -> Check:
    there = has_vsyscall(maps)
    old = [base for base in bases if has_old_glibc(base)]
    return Check(
        "vsyscall page",
        there or not old,
        ("present" if there else "absent")
        + (f"; needed by {', '.join(base.name for base in old)}" if old else "; only EL6 and older need it"),
        "programs of EL6 die of SIGSEGV without it: boot this machine with vsyscall=emulate",
        'grubby --update-kernel=ALL --args="vsyscall=emulate"',
    )


def has_vsyscall(maps: Path = MAPS) -> bool:
    """Whether this machine's kernel gives programs the vsyscall page."""
    return "[vsyscall]" in maps.read_text()


def has_old_glibc(root: Path) -> bool:
    """Whether programs of the image at ``root`` call into the vsyscall page."""
    for folder in ("lib64", "lib", "usr/lib64"):
        inner = resolve(str(root), folder)
        for name in os.listdir(root / inner) if inner and (root / inner).is_dir() else ():
            found = re.fullmatch(r"libc-(\d+)\.(\d+)(?:\.\d+)?\.so", name)
            if found and (int(found[1]), int(found[2])) < OLD_GLIBC:
                return True
    return False
