"""The images that this project ships: nothing to do, and cold beside the same commands in a shell script."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.packaging.nevra import parse
from pipeline.recipe.load import load_recipe
from pipeline.recipe.model import Recipe
from pipeline.recipe.site import load_site
from pipeline.sources import lock as locks
from pipeline.sources.lock import LockedStage
from pipeline.stages.archive import Archive
from pipeline.stages.base import Stage
from pipeline.stages.command import Command
from pipeline.stages.kernel import Kernel
from pipeline.store.records import Version
from pipeline.store.store import Store
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
        script = _script(project, work)
        shutil.rmtree(project.path / "recipes/virtual-node-image")
        store = project.path / "store"
        unmount_all(project)

        def ours() -> Sample:
            forget(store)
            return run([*INSIDE, "build", str(project.path / "pipeline.toml")], project.path)

        def theirs() -> Sample:
            return script.run()

        ours()
        cold, by_hand = in_turns(count, ours, theirs)
        script.check(Store.open(store).versions.resolve(IMAGE))
        note = "layers only, everything fetched before"
        yield Row(f"{IMAGE}: cold", seconds(cold), COLD_LIMIT, "shell script", seconds(by_hand), note=note)
    finally:
        unmount_all(project)


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
    inputs = work / "inputs"
    inputs.mkdir()
    lines = [f"cd / && export PATH={shlex.quote('/usr/sbin:/usr/bin:/sbin:/bin')}"]
    for number, placed in enumerate(recipe.stages):
        lines += _lines(placed.stage, recipe, store, layers[placed.stage.name], inputs, str(number))
    (inputs / "script").write_text("\n".join(lines) + "\n")
    (inputs / "uname").write_text(UNAME)
    (inputs / "uname").chmod(0o755)
    return Script(site.bases[recipe.base], work / "copy", inputs)


def _lines(stage: Stage, recipe: Recipe, store: Store, layer: Path, inputs: Path, place: str) -> list[str]:
    lock = locks.read(recipe.lock_file)
    assert lock is not None
    digests = {source.location: source.sha256 for source in lock.sources}
    if isinstance(stage, Archive):
        shutil.copy(_download(store, digests[stage.source]), inputs / place)
        return [f"mkdir -p {stage.destination} && tar xzf /pipeline-bench/{place} -C {stage.destination}"]
    if isinstance(stage, Command):
        typed = f"printf '%s\\n' {shlex.quote(stage.stdin or '')} | {shlex.join(stage.argv)}"
        checks = [shlex.join(check.argv) for check in stage.require if check.argv]
        return [f"cd {stage.cwd}", typed, "cd /", *checks]
    if isinstance(stage, Kernel):
        return [f"depmod -a {KERNEL}"]
    locked = next((each for each in lock.stages if each.name == stage.name), None)
    if locked is not None:
        return _package_lines(locked, store, inputs, place)
    shutil.copytree(layer, inputs / place, symlinks=True)
    return [f"cp -a /pipeline-bench/{place}/. /"]


def _package_lines(locked: LockedStage, store: Store, inputs: Path, place: str) -> list[str]:
    replaced = {parse(package.nevra).name for package in locked.answer.install}
    gone = [each for each in map(parse, locked.answer.remove) if each.name not in replaced]
    lines = [f"rpm -e {' '.join(each.label for each in gone)}"] if gone and not replaced else []
    if locked.answer.install:
        (inputs / place).mkdir()
        for package in locked.answer.install:
            shutil.copy(_download(store, package.sha256), inputs / place / f"{package.nevra}.rpm")
        lines.append(f"rpm -U --oldpackage --replacepkgs /pipeline-bench/{place}/*.rpm")
    return lines


def _download(store: Store, sha256: str) -> Path:
    return next((store.path / "downloads/sha256").rglob(sha256))
