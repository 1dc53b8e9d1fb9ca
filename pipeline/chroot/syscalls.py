"""The few system calls that Python 3.11 does not have, with errors that name what was asked for."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

from pipeline.libc import check, libc

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "ppc64le": 203}

CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY_FILE = "/proc/sys/kernel/cap_last_cap"

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1

_libc = libc()
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)


def unshare(flags: int) -> None:
    """Give this process namespaces of its own (unshare(2))."""
    check(_libc.unshare(flags), "unshare")


def mount(
    source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None
) -> None:
    """mount(2). ``options`` is at most one page (4,095 bytes)."""
    check(
        _libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            kind.encode() if kind else None,
            flags,
            os.fsencode(options) if options else None,
        ),
        f"mount {kind or source} on {target}",
    )


def bind(
    source: str,
    target: str,
    *,
    read_only: bool = False,
    recursive: bool = False,
    flags: int = MS_NODEV | MS_NOSUID,
) -> None:
    """Show ``source`` at ``target``. When ``recursive``, what is mounted below it shows too, as it is.

    Flags need a second call: the kernel ignores them in the first.
    """
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))
    mount("none", target, flags=MS_BIND | MS_REMOUNT | flags | (MS_RDONLY if read_only else 0))


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    check(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def pivot_here() -> None:
    """Make the current directory (a mount point) the root, and let go of the old one altogether."""
    number = SYS_PIVOT_ROOT[os.uname().machine]
    check(_libc.syscall(number, b".", b"."), "pivot_root")
    unmount(".", MNT_DETACH)
    os.chdir("/")


def keep_to_itself() -> None:
    """Let no other process look into this one or trace it, whose ever it is (prctl(2), PR_SET_DUMPABLE)."""
    check(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def keep_capabilities(kept: frozenset[int]) -> None:
    """Drop every capability but ``kept``, for this process and for all that it will run.

    None is inheritable: programs of root get what the bounding set leaves (capabilities(7)).
    """
    with open(LAST_CAPABILITY_FILE) as file:
        last = int(file.read())
    for number in range(last + 1):
        if number not in kept:
            check(_libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), f"drop capability {number}")
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    now = ctypes.create_string_buffer(24)
    check(_libc.capget(header, now), "capget")
    low, high = (sum(1 << n - base for n in kept if base <= n < base + 32) for base in (0, 32))
    _, low_now, _, _, high_now, _ = struct.unpack("=6I", now.raw)
    low, high = low & low_now, high & high_now
    check(_libc.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)), "capset")


def loopback_up() -> None:
    """Bring ``lo`` up in a fresh network namespace: some programs talk to themselves."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
