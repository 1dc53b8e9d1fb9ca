"""The lab's base images: directory trees whose every file belongs to an RPM, and that look like CentOS 6.5.

The programs in them are Debian's, rebuilt as RPMs (``repackage``); what scripts recognise an EL6 node of
OpenStack by comes from this project's own spec files (``el6/``). rpm and yum in a chroot work on the trees'
own database.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import MachineError, Problem
from pipeline.lab.sources import files

if TYPE_CHECKING:
    from pipeline.lab.rpms import Rpms

LAB = Path(__file__).parent
SOURCES = ("bases", "debian", "debs", "kernel", "kmod", "repackage", "roots", "rpmbuild", "rpms", "sources")
"""The modules of the lab on which the trees depend, besides everything in el6/."""

PROGRAMS = {
    "apt-get": "apt",
    "cp": "coreutils",
    "chroot": "coreutils",
    "dpkg-deb": "dpkg",
    "rpm": "rpm",
    "rpmbuild": "rpm",
    "setpriv": "util-linux",
    "sync": "coreutils",
    "unshare": "util-linux",
}
"""Programs of the machine that building takes, and the packages that bring them."""

FOUNDATION = (("filesystem",), ("setup", "authconfig", "centos-release", "chkconfig", "yum"))
"""Specs whose packages come first, from outside, in two transactions; Debian's packages are in the second."""

LAST_STEPS = """\
set -e
ldconfig
python3 -m compileall -q /usr/lib/python3
rm -f /etc/.pwd.lock /etc/group- /etc/gshadow- /etc/passwd- /etc/shadow- /var/cache/ldconfig/*
"""
"""What rpm's triggers would do on a real EL6, and without it what useradd and ldconfig leave behind."""


class Image(msgspec.Struct, frozen=True):
    """A base image: all specs of el6/ but those in ``without``."""

    name: str
    without: frozenset[str]


IMAGES = (
    Image("openstack-image", frozenset({"qlgc-ofed"})),
    Image("virtual-node-image", frozenset({"dnsmasq", "openstack-neutron", "openstack-nova"})),
)


def ensure_bases(home: Path, note: Callable[[str], None]) -> dict[str, Path]:
    """Build the base images that are missing below ``home`` and return the trees by their names.

    ``home``/images/NAME are the trees, ``home``/rpms their packages, ``home``/apt what they were made of.
    Built once for each state of the lab's sources; killed, it goes on where it was. ``note`` gets lines of
    progress. Raises ``MachineError`` when this machine lacks what it takes.
    """
    trees = {image.name: home / "images" / image.name for image in IMAGES}
    stamp, wanted = home / "images" / ".bases", _digest()
    if _complete(stamp, wanted, trees):
        return trees
    _check_machine()
    (home / "images").mkdir(parents=True, exist_ok=True)
    with _locked(home / "bases.lock", note):
        if not _complete(stamp, wanted, trees):
            _build(home, note)
            stamp.write_text(wanted)
    return trees


def _digest() -> str:
    """Of everything of the lab's own that the trees depend on."""
    modules = [LAB / f"{name}.py" for name in SOURCES]
    data = [LAB / "debian.toml", *files(LAB / "el6")]
    total = sha256()
    for file in [*modules, *data]:
        content = file.read_bytes()
        total.update(f"{file.relative_to(LAB)}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def _complete(stamp: Path, wanted: str, trees: dict[str, Path]) -> bool:
    return stamp.exists() and stamp.read_text() == wanted and all(tree.is_dir() for tree in trees.values())


def _check_machine() -> None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        packages = " ".join(sorted({PROGRAMS[program] for program in missing}))
        raise MachineError(
            Problem(
                f"the program {program!r}, which builds the lab's images, is missing on this machine",
                hint=f"install the package {PROGRAMS[program]}",
                command=f"apt-get install -y {packages}",
            )
            for program in missing
        )
    if os.uname().machine != "x86_64":
        raise MachineError(
            f"the lab's images are x86_64, this machine is {os.uname().machine}",
            hint="use the lab on an x86_64 machine",
        )
    if os.geteuid() != 0:
        raise MachineError(
            "the lab's images can be built only by root: their files belong to many users",
            hint="run the same command as root",
        )


@contextmanager
def _locked(file: Path, note: Callable[[str], None]) -> Iterator[None]:
    """Hold ``file``'s lock; the kernel releases it when this process ends, however it ends."""
    with open(file, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("lab: waiting for another process that builds the base images")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(home: Path, note: Callable[[str], None]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from pipeline import programs
    from pipeline.lab import roots, rpms

    built = rpms.build(home, note)
    new = {image: home / "images" / f".{image.name}.new" for image in IMAGES}
    for tree in [*new.values(), *(home / "images").glob(".*.old")]:
        _remove(tree)
    first, *others = new.values()
    note("lab: installing the packages common to all base images")
    _found(first, built)
    for other in others:
        programs.run([*roots.DIES_WITH_US, "cp", "--archive", "--reflink=auto", str(first), str(other)])
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for image in pool.map(lambda image: _finish(image, new[image], built), IMAGES):
            note(f"lab: {image.name} is complete")
    programs.run(["sync", "--file-system", str(first)])
    for image, tree in new.items():
        # Killed between these renames, an image is missing, so that the next run builds it again.
        target, old = home / "images" / image.name, home / "images" / f".{image.name}.old"
        if target.exists():
            target.rename(old)
        tree.rename(target)
        _remove(old)


def _found(tree: Path, built: Rpms) -> None:
    """The part that all images have in common, from outside; from then on the tree's own rpm works."""
    from pipeline.lab import roots

    tree.mkdir(mode=0o755)
    first, second = ([package for name in names for package in built.el6[name]] for names in FOUNDATION)
    roots.found(tree, [first, [*second, *built.debian]])
    roots.chroot(tree, ["sh", "-c", "ldconfig && python3 -m compileall -q -j0 /usr/lib/python3*"])


def _finish(image: Image, tree: Path, built: Rpms) -> Image:
    """The packages of EL6 that have scriptlets, installed by the tree's own rpm."""
    from pipeline.lab import roots

    done = {name for names in FOUNDATION for name in names} | image.without
    roots.install(
        tree, [package for name, packages in built.el6.items() if name not in done for package in packages]
    )
    roots.chroot(tree, ["sh", "-c", LAST_STEPS])
    roots.settle(tree)
    return image


def _remove(tree: Path) -> None:
    if tree.exists():
        shutil.rmtree(tree)
