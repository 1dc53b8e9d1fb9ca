"""The RPMs of the base images: built once for each state of their inputs, and kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from pipeline.lab import debian, kernel, kmod, repackage, rpmbuild
from pipeline.lab.debs import Apt, Deb
from pipeline.lab.sources import files

EL6 = Path(__file__).parent / "el6"
"""A spec file for each source package, its sources in the directory of the same name."""

NOTE_EVERY = 40


class Rpms(msgspec.Struct, frozen=True):
    """The built packages: those rebuilt from Debian's, and those of each spec of EL6 by the spec's name."""

    debian: tuple[Path, ...]
    el6: dict[str, tuple[Path, ...]]


def digest(files: Iterable[Path], *words: str) -> str:
    """sha256 over ``words`` and over the names and contents of ``files``, in order."""
    total = sha256("\0".join(words).encode())
    for file in files:
        content = file.read_bytes()
        total.update(f"\0{file.name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def build(home: Path, note: Callable[[str], None]) -> Rpms:
    """Build what is missing below ``home``/rpms, on all processors, and drop what is no longer used."""
    kept = _Kept(home / "rpms")
    apt = Apt(home / "apt")
    closure = apt.closure()
    names = frozenset(deb.name for deb in closure)
    keys = {deb: _debian_key(deb, names) for deb in closure}
    missing = [deb for deb, key in keys.items() if not kept.has(deb.name, key)]
    if missing:
        apt.download(note)
    specs = sorted(EL6.glob("*.spec"))
    tag = repackage.python_tag(names)

    def convert(deb: Deb) -> tuple[Path, ...]:
        archive = apt.archives / deb.file
        return kept.get(deb.name, keys[deb], lambda out: repackage.repackage(archive, names=names, out=out))

    def build_spec(spec: Path) -> tuple[Path, ...]:
        return kept.get(spec.stem, _spec_key(spec, tag), lambda out: _build_spec(spec, tag, out))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            el6 = dict(zip((spec.stem for spec in specs), pool.map(build_spec, specs), strict=True))
            converted: list[Path] = []
            for number, files in enumerate(pool.map(convert, closure), start=1):
                converted += files
                if missing and (number % NOTE_EVERY == 0 or number == len(closure)):
                    note(f"lab: {number} of {len(closure)} Debian packages rebuilt as RPMs")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    kept.prune()
    return Rpms(tuple(converted), el6)


def _debian_key(deb: Deb, names: frozenset[str]) -> str:
    sources = [debian.TABLES, *(Path(module.__file__ or "") for module in (repackage, rpmbuild))]
    return digest(sources, deb.file, *sorted(names))


def _spec_key(spec: Path, tag: str) -> str:
    sources = files(EL6 / spec.stem)
    modules = [rpmbuild, kernel, kmod] if spec.stem == "kernel" else [rpmbuild]
    return digest([spec, *sources, *(Path(module.__file__ or "") for module in modules)], tag)


def _build_spec(spec: Path, tag: str, out: Path) -> None:
    with TemporaryDirectory(prefix="lab-kernel-") as written:
        sources = EL6 / spec.stem
        if spec.stem == "kernel":
            sources = Path(written)
            kernel.write_kernel(sources)
        rpmbuild.rpmbuild(spec, sources=sources, out=out, defines={"pytag": tag})


class _Kept:
    """``folder``/NAME/KEY/*.rpm: each directory complete, because it comes into being by one rename."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._used: set[Path] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def has(self, name: str, key: str) -> bool:
        return self._place(name, key).is_dir()

    def get(self, name: str, key: str, make: Callable[[Path], object]) -> tuple[Path, ...]:
        """The packages of ``name`` at ``key``; ``make`` builds them into the directory it is given."""
        place = self._place(name, key)
        self._used.add(place)
        if not place.is_dir():
            place.parent.mkdir(exist_ok=True)
            with TemporaryDirectory(prefix=".new-", dir=place.parent) as new:
                out = Path(new, "out")
                make(out)
                for file in out.iterdir():
                    with open(file, "rb") as built:
                        os.fsync(built.fileno())
                out.rename(place)  # until here nothing of these packages counts
        return tuple(sorted(place.glob("*.rpm")))

    def prune(self) -> None:
        """Remove what no ``get`` has asked for: other versions, and what a killed run left."""
        for place in self._folder.glob("*/*"):
            if place not in self._used:
                shutil.rmtree(place)
        for name in self._folder.iterdir():
            if not any(name.iterdir()):
                name.rmdir()

    def _place(self, name: str, key: str) -> Path:
        return self._folder / name / key[:16]
