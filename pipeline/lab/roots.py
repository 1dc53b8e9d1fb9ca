"""Directory trees made of RPMs, with an rpm database that the tree's own rpm reads and writes.

The first packages come from outside, into an empty tree, with this machine's rpm; everything after that is
installed by the tree's own rpm, in a chroot inside namespaces that end with the process that made them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline import programs
from pipeline.lab.rpmbuild import EPOCH

INSTALLED = EPOCH + 86_400
"""When the packages were installed, as far as the trees tell: the same for all that are ever built.

A day after the packages' files: what is changed later is newer than they are, so that no Python takes a
changed module's compiled form for its own.
"""

DATED = f"SOURCE_DATE_EPOCH={INSTALLED}"
"""Before rpm: rpm's own clock, and that of its scriptlets' useradd, which notes the day in /etc/shadow."""

DATABASE = "/var/lib/rpm"
"""Where the images' rpm keeps its database, inside the tree (macros.database of the package yum says so)."""

DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Before what writes into a tree: nothing goes on writing when this process is killed."""

NAMESPACES = (
    *DIES_WITH_US,
    "unshare",
    "--mount",
    "--pid",
    "--ipc",
    "--uts",
    "--net",
    "--fork",
    "--kill-child",
    "--propagation",
    "private",
)

ENTER = """\
set -e
root=$1
shift
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    touch "$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
exec chroot "$root" /usr/bin/env -i PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root LANG=C "$@"
"""
"""What the child of unshare runs: mounts that only its namespaces see, then the program in the tree."""


def chroot(root: Path, argv: Sequence[str], *, stdin: str | None = None) -> str:
    """Run ``argv`` in the tree ``root`` and return its output. Nothing stays mounted, however it ends."""
    return programs.run([*NAMESPACES, "sh", "-c", ENTER, "sh", str(root.resolve()), *argv], stdin=stdin)


def found(root: Path, packages: Sequence[Sequence[Path]]) -> None:
    """Install ``packages`` into the new, empty tree ``root`` with this machine's rpm, without scriptlets.

    Each member of ``packages`` is one transaction; the first brings the links and directories of the rest.
    """
    for transaction in packages:
        rpm = ["rpm", "--root", str(root.resolve()), "--dbpath", DATABASE]
        options = ["--noscripts", "--nosignature", "--nodeps", "--define", "_pkgverify_level none"]
        programs.run([*DIES_WITH_US, "env", DATED, *rpm, *options, "--install", *map(str, transaction)])


def install(root: Path, packages: Sequence[Path]) -> None:
    """Install ``packages`` with the tree's own rpm; requirements and scriptlets count."""
    inbox = root / ".rpms"
    inbox.mkdir()
    try:
        for package in packages:
            os.link(package, inbox / package.name)
        names = [f"/.rpms/{package.name}" for package in packages]
        rpm = ["rpm", "--nosignature", "--define", "_pkgverify_level none"]
        chroot(root, ["env", DATED, *rpm, "--upgrade", *names])
    finally:
        for copy in inbox.iterdir():
            copy.unlink()
        inbox.rmdir()


def settle(root: Path) -> None:
    """Take out of the tree ``root`` what tells when it was built: the same packages give the same manifest.

    Times after ``INSTALLED`` become that. Of rpm's database only the memory that its users share goes; the
    empty file stays, because who is not root could not make it, and then not read the database.
    """
    shared = Path(f"{root}{DATABASE}/rpmdb.sqlite-shm")
    if shared.exists():
        os.truncate(shared, 0)
    for folder, folders, files in os.walk(root, topdown=False):
        for path in (*(f"{folder}/{name}" for name in (*folders, *files)), folder):
            if os.lstat(path).st_mtime_ns > INSTALLED * 10**9:
                os.utime(path, (INSTALLED, INSTALLED), follow_symlinks=False)
