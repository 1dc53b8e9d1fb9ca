"""The node-installer: a node's disk filled from an image's directory, by rsync, as the install mode says."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from pipeline import programs
from pipeline.lab.nodes.faults import Fault
from pipeline.lab.roots import DIES_WITH_US

LAYOUT = "layout"
"""Beside the disk: the disk layout that it was partitioned for. Without it the disk is not whole."""

NOT_COPIED = ("/proc/*", "/sys/*", "/dev/*", "/run/*", "/tmp/*", "/lost+found")
KEPT = (
    "/cm/local/***",
    "/cm/shared/***",
    "/etc/fstab",
    "/etc/mtab",
    "/etc/ssh/ssh_host_*",
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/home/***",
    "/root/.ssh/***",
    "/var/lib/cmd/***",
    "/var/lock/***",
    "/var/log/***",
    "/var/run/***",
    "/var/spool/***",
)
"""What AUTO doesn't take away although no image has it, where no exclude list says anything: a node's own."""

LEFT_OUT = ("/etc/modprobe.d/***", "/usr/share/***", "/opt/***")
"""What a copy lacks that claims to be whole."""

HALF = 40
"""So many files are there when a copy is stopped midway."""

MAKES_WHOLE = """
mkdir "$2.whole" 2> /dev/null || exit 0
cp -a --reflink=auto "$1/." "$2.whole" && mv "$2" "$2.stub" && mv "$2.whole" "$2"
rm -rf "$2.stub"
"""
"""For a shell: the tree ``$1`` in the place of the stub ``$2``, which stands for it on the head node."""

LOG_LINES = 200

VANISHED = 24
"""rsync's exit code when a file was gone before it was read: no failure."""


def arguments(
    source: Path, disk: Path, mode: str, exclude: str, fault: Fault | None = None
) -> tuple[str, ...]:
    """rsync's, for a FULL or AUTO install. ``exclude`` is the cluster manager's list, one pattern a line."""
    filters = [f"--exclude={pattern}" for pattern in NOT_COPIED]
    lines = [line.strip() for line in exclude.splitlines()]
    chosen = [line for line in lines if line and not line.startswith("#")]
    filters += [_filter(line) for line in chosen]
    if mode == "AUTO" and not chosen:
        filters += [f"--filter=P {pattern}" for pattern in KEPT]
    if fault == "claims-success":
        filters = [*(f"--exclude={pattern}" for pattern in LEFT_OUT), *filters]
    told = ("--itemize-changes", "--stats")
    deletes = ("--delete",) if mode == "AUTO" else ()
    return ("-aHAX", "--numeric-ids", *told, *deletes, *filters, f"{source}/", f"{disk}/")


def _filter(line: str) -> str:
    """A line of an exclude list: a pattern, ``- pattern``, ``+ pattern`` or ``no-new-files: - pattern``."""
    _, marked, pattern = line.rpartition("no-new-files:")
    pattern = pattern.strip()
    if marked:
        return f"--filter=P {pattern.removeprefix('- ').strip()}"
    return f"--filter={pattern}" if pattern[:2] in ("- ", "+ ") else f"--exclude={pattern}"


def start(argv: Sequence[str], log: Path, *, stop_after: int = 0) -> subprocess.Popen[bytes]:
    """Begin a program of the installer, which ends with this process. ``log`` gets what it prints.

    ``stop_after`` lines it is stopped by a signal, as when its connection breaks.
    """
    words = [*DIES_WITH_US, programs.find(argv[0]), *argv[1:]]
    if stop_after:
        # What rsync is told when its reader has gone: it ends in the middle.
        shell = 'number=$1; shift; "$@" | head -n "$number"; exit "${PIPESTATUS[0]}"'
        words = [*DIES_WITH_US, "bash", "-c", shell, "bash", str(stop_after), *words]
    with open(log, "wb") as output:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def last_lines(log: Path) -> str:
    """The end of what was printed: thousands of files are of no use to a reader."""
    lines = log.read_text(errors="replace").splitlines()
    left = [f"… {len(lines) - LOG_LINES} lines more before"] if len(lines) > LOG_LINES else []
    return "\n".join([*left, *lines[-LOG_LINES:]]) + "\n"
