"""RPMs that install, upgrade, conflict and fail in the ways that the tests need, and a root to do it in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.chroot.enter import EnteredRoot, enter
from pipeline.chroot.root import INPUTS, RootSpec
from pipeline.packaging import rpmdb
from pipeline.stages.base import Inputs, LockedPackage, PackageAnswer
from pipeline.stages.packages import Packages
from tests.small_rpms import Package, build_packages

NEEDED = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("rpm", "rpmbuild", "dnf", "createrepo_c"))),
        reason="rpm, rpmbuild, dnf and createrepo_c are needed, this machine stands in for an image",
    ),
]

BASE = Package("base", "1", "Provides: /bin/sh\nProvides: /sbin/nologin", "", "")
OLD = (
    Package("alpha", "1.0", "", "", "/usr/share/alpha\n%config(noreplace) /etc/alpha.conf"),
    Package("beta", "1.0", "Requires: alpha", "", ""),
    Package("kernel", "1", "Provides: installonlypkg(kernel)", "", "/boot/vmlinuz-1"),
    Package("leaf", "1.0", "", "", ""),
    Package("kmod", "1", "Requires: kernel = 1", "", ""),
)
NEW = (
    Package("alpha", "2.0", "Epoch: 1", "", "/usr/share/alpha\n%config(noreplace) /etc/alpha.conf"),
    Package(
        "kernel",
        "2",
        "Provides: installonlypkg(kernel)\nRequires: kernel-firmware >= 2",
        "",
        "/boot/vmlinuz-2",
    ),
    Package("kernel-firmware", "2", "", "", ""),
    Package("gamma", "1.0", "Requires: alpha >= 1:2.0", "", ""),
    Package("beta-next", "1.0", "Obsoletes: beta\nProvides: beta = 3\nProvides: words(beta)", "", ""),
    Package("against-alpha", "1.0", "Conflicts: alpha", "", ""),
    Package("needy", "1.0", "Requires: what-nobody-has", "", ""),
    Package("breaks-after", "1.0", "", "%post -n breaks-after\necho about to break >&2\nexit 3", ""),
    Package("breaks-before", "1.0", "", "%pre -n breaks-before\nexit 4", ""),
    Package("breaks-when-erased", "1.0", "", "%preun -n breaks-when-erased\nexit 5", ""),
    Package("foreign-owner", "1.0", "", "", "%attr(0644,nobody-knows,root) /usr/share/foreign"),
)

# A name can stand only once in a spec file. These are in no repository.
LATER = (
    Package("kernel", "3", "Provides: installonlypkg(kernel)", "", "/boot/vmlinuz-3"),
    Package("kmod", "2", "Requires: kernel = 2", "", ""),
)
LATEST = (Package("kmod", "3", "Requires: kernel = 3", "", ""),)
BROKEN = (Package("kmod", "4", "Requires: kernel = 2\nRequires: what-nobody-has", "", ""),)


def build(folder: Path) -> dict[str, Path]:
    """Build all into folders of ``folder``; file name without ``.noarch.rpm`` → path."""
    found: dict[str, Path] = {}
    specs = {"base": (BASE,), "old": OLD, "new": NEW, "later": LATER, "latest": LATEST, "broken": BROKEN}
    for name, packages in specs.items():
        for path in build_packages(packages, folder / f"{name}.spec", folder / name):
            found[path.name.removesuffix(".noarch.rpm")] = path
    return found


REPOSITORY = "http://packages.invalid/repo"
EPOCH = 1412812800
INSTALLED = ("alpha-1.0-1", "beta-1.0-1", "kernel-1-1", "leaf-1.0-1")


PREPARE = """
mkdir -p /etc/rpm /etc/dnf /etc/yum.repos.d /var/lib/rpm
rm -f /etc/yum.repos.d/*
echo '%_dbpath /var/lib/rpm' > /etc/rpm/macros
printf '[main]\\ngpgcheck=1\\n' > /etc/dnf/dnf.conf
exec rpm -i "$@"
"""


class Workshop:
    """RPMs, a repository of the new ones for a mirror, and an image in which the old ones are installed.

    The image is this machine's own root, with a package database of its own, on a tmpfs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = build(folder)
        self.notes: list[str] = []
        repository = folder / "mirror/http/packages.invalid/repo"
        shutil.copytree(folder / "new", repository)
        subprocess.run(["createrepo_c", "-q", str(repository)], check=True)

    @contextmanager
    def root(self, *, out: Path | None = None) -> Iterator[EnteredRoot]:
        self.notes = []
        spec = RootSpec(
            layers=(Path("/"),),
            network=out is not None,
            binds=dict(self.files),
            out=out,
            epoch=EPOCH,
        )
        with enter(spec, on_note=self.notes.append) as root:
            root.run(["sh", "-ec", PREPARE, "sh", *(f"{INPUTS}/{name}" for name in ("base-1-1", *INSTALLED))])
            yield root

    def answer(self, install: Sequence[str], remove: Sequence[str] = ()) -> Inputs:
        """As if a lock had said so; names are those of ``files``, epochs put in."""
        packages = tuple(
            LockedPackage(nevra=nevra(name), location=name, size=1, sha256="0" * 64) for name in install
        )
        return Inputs(
            packages=PackageAnswer(install=packages, remove=tuple(map(nevra, remove))),
            sources={name: f"{INPUTS}/{name}" for name in self.files},
        )


def nevra(name: str) -> str:
    return name.replace("alpha-2", "alpha-1:2") + ".noarch"


def run(workshop: Workshop, inputs: Inputs, **options: tuple[str, ...]) -> set[str]:
    with workshop.root() as root:
        Packages(name="x", **options).run(root, inputs)
        return {name for name in rpmdb.installed(root) if not name.startswith("base-")}


def after(*changes: str) -> set[str]:
    """The old packages, with ``+name`` and ``-name``."""
    names = set(map(nevra, INSTALLED))
    for change in changes:
        (names.add if change[0] == "+" else names.discard)(nevra(change[1:]))
    return names


def put_program(root: EnteredRoot, path: str, text: str) -> None:
    root.run(["sh", "-ec", 'cat > "$1"; chmod 755 "$1"', "sh", path], stdin=f"#!/bin/sh\n{text}\n".encode())
