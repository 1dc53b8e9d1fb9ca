"""Versions made directly in a store, and mounts that vanish with the test, for the tests of publishing."""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.chroot import syscalls
from pipeline.recipe.model import Site
from pipeline.store.mounts import mount_points
from pipeline.store.records import Verification, Version
from pipeline.store.store import Store, layer_name
from tests.small_store import add_version, commit_layer

PASSED = Verification(
    passed=True, tests_digest="t", when=1.0, seconds=1.0, results=(("test_a", "passed", 0.1, ""),)
)
FAILED = Verification(
    passed=False, tests_digest="t", when=1.0, seconds=1.0, results=(("test_a", "failed", 0.1, "no"),)
)

CLONE_FS = 0x200
MS_SHARED, MS_SLAVE = 1 << 20, 1 << 19
GETFLAGS, SETFLAGS, IMMUTABLE = 0x80086601, 0x40086602, 0x10
"""Of linux/fs.h: what chattr(1) uses."""
Fill = Callable[[Path], object]


@contextmanager
def private_mounts(propagation: int | None = MS_SHARED) -> Iterator[None]:
    """A mount namespace for this thread: nothing mounted in it stays, and nobody else sees it.

    It is like a machine's, where systemd has all shared; None: like a container's.
    """
    outside = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    here = os.getcwd()
    syscalls.unshare(syscalls.CLONE_NEWNS)
    try:
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        if propagation is not None:
            syscalls.mount("none", "/", flags=syscalls.MS_REC | propagation)
        yield
    finally:
        try:
            syscalls.unshare(CLONE_FS)  # threads share it, and setns refuses that
            if ctypes.CDLL(None, use_errno=True).setns(outside, syscalls.CLONE_NEWNS) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            os.chdir(here)
        finally:
            os.close(outside)


@dataclass(frozen=True)
class Place:
    """A site with its store."""

    site: Site
    store: Store
    keys: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def layer(self, fill: Fill, parents: Sequence[str] = ()) -> str:
        """A layer on ``parents`` whose upper directory ``fill`` fills; its name."""
        key = f"{next(self.keys):064x}"[::-1]
        return layer_name(commit_layer(self.store, key, fill, parents).key)

    def version(self, *fills: Fill, image: str = "web", tested: Verification | None = PASSED) -> Version:
        """A version of one layer for each of ``fills``."""
        layers: list[str] = []
        for fill in fills:
            layers.append(self.layer(fill, tuple(layers)))
        return self.of_layers(layers, image=image, tested=tested)

    def of_layers(
        self, layers: Sequence[str], image: str = "web", tested: Verification | None = PASSED
    ) -> Version:
        """A version of layers that are there."""
        made = add_version(self.store, layers, image=image, parameters={"made": next(self.keys)})
        if tested is not None:
            self.store.versions.set_verification(made, tested, {})
        return made

    def with_mode(self, mode: str) -> Place:
        """The same, publishing by ``overlay`` or ``copy``."""
        return Place(
            make_site(self.site.file.parent, mode, self.store.path, self.site.images), self.store, self.keys
        )


def make_site(folder: Path, mode: str, store: Path, images: Path) -> Site:
    file = folder / "pipeline.toml"
    file.write_text(f'[site]\nstore = "{store}"\nimages = "{images}"\npublish = "{mode}"\n')
    return Site(file=file, project=folder, store=store, images=images, publish_mode=mode)


def make_place(folder: Path, mode: str = "overlay") -> Place:
    """A site below ``folder``, with an empty store."""
    folder.mkdir(parents=True, exist_ok=True)
    store, images = folder / "store", folder / "images"
    return Place(make_site(folder, mode, store, images), Store.open(store))


@contextmanager
def marked(path: Path) -> Iterator[None]:
    """A file that nobody may change or remove (chattr +i), wherever its directory goes meanwhile."""
    handle = Path(tempfile.mkdtemp(dir=path.parents[3])) / "handle"
    os.link(path, handle)
    with handle.open() as file:
        flags = bytearray(8)
        fcntl.ioctl(file, GETFLAGS, flags)
        fcntl.ioctl(file, SETFLAGS, (int.from_bytes(flags, "little") | IMMUTABLE).to_bytes(8, "little"))
    try:
        yield
    finally:
        with handle.open() as file:
            fcntl.ioctl(file, SETFLAGS, bytes(flags))


def says(text: str) -> Fill:
    """A layer with the one file ``motd``, and another that must say the same."""

    def fill(root: Path) -> None:
        (root / "etc").mkdir(exist_ok=True)
        (root / "etc/motd").write_text(text)
        (root / "motd").write_text(text)

    return fill


def motd(place: Place, name: str = "web") -> str:
    """What the published version says."""
    return (place.site.images / name / "motd").read_text()


def reboot(place: Place) -> None:
    """Unmount what was published: all that a reboot takes."""
    for point in mount_points():
        if Path(point).is_relative_to(place.site.images.resolve()):
            syscalls.unmount(point)


def pointer(place: Place) -> str:
    """What the link of the image says."""
    return os.readlink(place.site.images / "web")
