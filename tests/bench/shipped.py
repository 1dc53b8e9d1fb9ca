"""The images that this project ships: nothing to do, and cold beside the same commands in a shell script."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.mirrors import Mirrors
from pipeline.packaging.nevra import parse
from pipeline.recipe.load import load_recipe
from pipeline.recipe.site import load_site
from pipeline.sources import lock as locks
from pipeline.sources.lock import Lock, LockedStage
from pipeline.stages.archive import Archive
from pipeline.stages.base import Stage
from pipeline.stages.command import Command
from pipeline.stages.kernel import Kernel
from pipeline.store.records import Version
from pipeline.store.store import Store
from tests.bench import large_ofed
from tests.bench.installation import COMMAND
from tests.bench.measuring import BenchError, Row, Sample, in_turns, run, seconds
from tests.bench.site import INSIDE, forget
from tests.lab.project import Project, make_project, unmount_all

KERNEL = "2.6.32-431.el6.x86_64"
"""That of the lab's images (lab/kernel.py)."""
IMAGE = "openstack-image-mellanox"
NO_OP_LIMIT = 0.3
COLD_LIMIT = 1.1
ENTER = """\
set -e
mount --bind "$1/pipeline-bench/uname" "$1/bin/uname"
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
chroot "$1" /bin/sh -e /pipeline-bench/script
sync -f "$1"
"""
UNAME = f"#!/bin/sh\ncase $1 in -r) echo {KERNEL} ;; -m) echo x86_64 ;; *) echo Linux ;; esac\n"


def rows(work: Path, lab: Path, count: int) -> Iterator[Row]:
    """The figures; ``work`` is a new folder, ``lab`` the home of a lab that is built when it is not there."""
    project = make_project(work / "project", lab)
    try:
        first = project.run("build", timeout=1800)
        if first.exit_code:
            raise BenchError(f"pipeline build: {first.err[-2000:]}")
        run([str(COMMAND), "build"], project.path)
        idle = [run([str(COMMAND), "build"], project.path) for _ in range(count)]
        yield Row("both shipped images: nothing to do", seconds(idle), NO_OP_LIMIT, note="as a whole process")
        yield _cold(project, work, count, f"{IMAGE}: cold")
    finally:
        unmount_all(project)


def large_rows(work: Path, lab: Path, count: int) -> Iterator[Row]:
    """The same image with an OFED of the size of a real one."""
    project = make_project(work / "project", lab)
    mirror = large_ofed.write(work / "ofed")
    file = project.path / "pipeline.toml"
    file.write_text(f'{file.read_text()}\n[mirrors]\n"{large_ofed.URL}" = "{mirror}"\n')
    try:
        built = project.run("build", IMAGE, timeout=1800)
        if built.exit_code:
            raise BenchError(f"pipeline build: {built.err[-2000:]}")
        what = f"{IMAGE} with {large_ofed.MEGABYTES} MB more in OFED's packages: cold"
        yield _cold(project, work, count, what)
    finally:
        unmount_all(project)


def _cold(project: Project, work: Path, count: int, what: str) -> Row:
    """The image, which is built, anew and by a script."""
    script = _script(project, work)
    shutil.rmtree(project.path / "recipes/virtual-node-image")
    store = project.path / "store"
    unmount_all(project)

    def ours() -> Sample:
        forget(store)
        return run([*INSIDE, "build", str(project.path / "pipeline.toml")], project.path)

    ours()
    cold, by_hand = in_turns(count, ours, script.run)
    script.check(Store.open(store).versions.resolve(IMAGE))
    note = "layers only, everything fetched before"
    return Row(what, seconds(cold), COLD_LIMIT, "shell script", seconds(by_hand), note=note)


@dataclass(frozen=True)
class Script:
    """The commands of an image in one chroot, on a copy of ``base`` at ``copy``, with their ``inputs``."""

    base: Path
    copy: Path
    inputs: Path

    def run(self) -> Sample:
        """Copy the base, which is not timed, and run the script there."""
        if self.copy.exists():
            shutil.rmtree(self.copy)
        subprocess.run(["cp", "-a", str(self.base), str(self.copy)], check=True)
        shutil.copytree(self.inputs, self.copy / "pipeline-bench", symlinks=True)
        subprocess.run(["sync", "-f", str(self.copy)], check=True)
        return run(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-c", ENTER, "sh", str(self.copy)],
            self.copy.parent,
        )

    def check(self, version: Version) -> None:
        """Raise ``BenchError`` unless the script left the packages that ``version`` has: the same work."""
        query = ["chroot", str(self.copy), "rpm", "-qa", "--qf", r"%{NAME} %{VERSION} %{RELEASE} %{ARCH}\n"]
        told = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
        packages = map(parse, version.packages)
        wanted = {f"{each.name} {each.version} {each.release} {each.arch or '(none)'}" for each in packages}
        if wanted != set(told):
            raise BenchError(f"the script left other packages: {sorted(wanted ^ set(told))}")


def _script(project: Project, work: Path) -> Script:
    """What somebody would type for the stages of the image, in order.

    Stages that only write files (overlay, settings, edit, file, repository) become a copy of what they
    wrote: no way to write them is quicker. Packages are the lock's, fetched before.
    """
    site = load_site(project.path / "pipeline.toml")
    recipe = load_recipe(IMAGE, site)
    store = Store.open(site.store)
    version = store.versions.resolve(IMAGE)
    layers = {stage.name: store.layer_tree(stage.layer) for stage in version.stages}
    lock = locks.read(recipe.lock_file)
    assert lock is not None
    inputs = work / "inputs"
    inputs.mkdir()
    given = _Given(lock, store, Mirrors(site.mirrors), inputs)
    lines = [f"cd / && export PATH={shlex.quote('/usr/sbin:/usr/bin:/sbin:/bin')}"]
    for number, placed in enumerate(recipe.stages):
        lines += given.lines(placed.stage, layers[placed.stage.name], str(number))
    (inputs / "script").write_text("\n".join(lines) + "\n")
    (inputs / "uname").write_text(UNAME)
    (inputs / "uname").chmod(0o755)
    return Script(site.bases[recipe.base], work / "copy", inputs)


@dataclass(frozen=True)
class _Given:
    """What the script needs of a build: ``inputs`` is where it finds its files."""

    lock: Lock
    store: Store
    mirrors: Mirrors
    inputs: Path

    def lines(self, stage: Stage, layer: Path, place: str) -> list[str]:
        """What does the same as ``stage``, which left ``layer``; its files are ``place`` below ``inputs``."""
        if isinstance(stage, Archive):
            shutil.copy(self._source(stage.source), self.inputs / place)
            return [f"mkdir -p {stage.destination} && tar xzf /pipeline-bench/{place} -C {stage.destination}"]
        if isinstance(stage, Command):
            typed = f"printf '%s\\n' {shlex.quote(stage.stdin or '')} | {shlex.join(stage.argv)}"
            checks = [shlex.join(check.argv) for check in stage.require if check.argv]
            return [f"cd {stage.cwd}", typed, "cd /", *checks]
        if isinstance(stage, Kernel):
            return [f"depmod -a {KERNEL}"]
        locked = next((each for each in self.lock.stages if each.name == stage.name), None)
        if locked is not None:
            return self._package_lines(locked, place)
        shutil.copytree(layer, self.inputs / place, symlinks=True)
        return [f"cp -a /pipeline-bench/{place}/. /"]

    def _package_lines(self, locked: LockedStage, place: str) -> list[str]:
        replaced = {parse(package.nevra).name for package in locked.answer.install}
        gone = [each for each in map(parse, locked.answer.remove) if each.name not in replaced]
        lines = [f"rpm -e {' '.join(each.label for each in gone)}"] if gone and not replaced else []
        if locked.answer.install:
            (self.inputs / place).mkdir()
            for package in locked.answer.install:
                target = self.inputs / place / f"{package.nevra}.rpm"
                shutil.copy(self._download(package.sha256), target)
            lines.append(f"rpm -U --oldpackage --replacepkgs /pipeline-bench/{place}/*.rpm")
        return lines

    def _source(self, location: str) -> Path:
        file = Path(self.mirrors.to(location))
        digests = {source.location: source.sha256 for source in self.lock.sources}
        return file if file.is_absolute() else self._download(digests[location])

    def _download(self, sha256: str) -> Path:
        return next((self.store.path / "downloads/sha256").rglob(sha256))
