"""A store whose disk is full: said with its place and what to do, nothing half-made stays, room mends it."""

from __future__ import annotations

import os
import subprocess
from argparse import Namespace
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.cli.rollout import tell_end, told_when_interrupted
from pipeline.cluster.model import Cluster
from pipeline.errors import PipelineError
from pipeline.rollout.model import Policy
from tests.faults.archives import tar_with
from tests.faults.site import Site, add_shell, archive_stage, command_stage, file_stage
from tests.simulated_rollout import NEW, WAITS, Scene, World

MEGABYTE = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
CHUNK = os.urandom(MEGABYTE)


@pytest.fixture
def memory(site: Site) -> Iterator[Path]:
    """The store of ``site``, on a file system that is full to the page: ext4 keeps some back."""
    place = site.path.parent / "memory"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=True)
    with site.stored_in(place):
        yield place


def fill(disk: Path, *, but: int) -> Path:
    """Leave ``but`` bytes free."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while os.statvfs(disk).f_bavail:
            file.write(CHUNK[: 1 << 16])
    with filler.open("r+b") as file:
        file.truncate(max(0, filler.stat().st_size - but))
        os.fsync(file.fileno())
    return filler


def check_full(site: Site, filler: Path, *words: str) -> None:
    """A build says that the disk is full; with room it goes on from there."""
    ended = site.run("build")
    assert ended.exit_code == 1, ended.err
    told = ended.err.lower()
    assert "no space left" in told or "disk is full" in told or "where there are" in told, ended.err
    assert "hint: " in ended.err
    for word in words:
        assert word in ended.err, ended.err
    assert not (site.images / "web").exists()
    site.check_whole()
    filler.unlink()
    ended = site.run("build")
    assert ended.exit_code == 0, ended.err
    site.check_whole()
    site.unmount()


def test_full_while_a_base_is_imported(site: Site, disk: Path) -> None:
    (site.base / "etc/big").write_bytes(CHUNK * 8)
    site.recipe(file_stage("a"))
    assert site.run("versions").exit_code in (0, 1)
    check_full(site, fill(disk, but=4 * MEGABYTE), str(site.base))


def test_full_while_a_source_is_downloaded(site: Site, disk: Path) -> None:
    from pipeline.lab.mirror import Mirror

    vendor = site.path.parent / "vendor"
    vendor.mkdir()
    (vendor / "x.tar").write_bytes(tar_with({"x": CHUNK * 8}))
    site.recipe(archive_stage("http://vendor.example.com/x.tar"))
    with Mirror(vendor) as mirror:
        text = (site.path / "pipeline.toml").read_text()
        (site.path / "pipeline.toml").write_text(
            f'{text}\n[mirrors]\n"http://vendor.example.com" = "{mirror.url}"\n'
        )
        check_full(site, fill(disk, but=4 * MEGABYTE), "http://vendor.example.com/x.tar", str(disk))


def test_full_while_an_archive_is_unpacked(site: Site, disk: Path) -> None:
    (site.path / "x.tar").write_bytes(tar_with({"x": CHUNK * 8}))
    site.recipe(archive_stage("x.tar"))
    place = f'{site.line("[[stage]]")}: stage "archive": x.tar: '
    check_full(site, fill(disk, but=4 * MEGABYTE), place)


def test_full_while_a_program_of_the_image_writes(site: Site, disk: Path) -> None:
    add_shell(site.base)
    (site.base / "etc/big").write_bytes(CHUNK * 2)
    site.recipe(file_stage("a"))
    assert site.run("build", "--no-publish").exit_code == 0
    site.recipe(
        file_stage("a"), command_stage("writes", "for n in 1 2 3 4; do cat /etc/big > /etc/big$n; done")
    )
    check_full(site, fill(disk, but=4 * MEGABYTE), 'recipes/web/recipe.toml:11: stage "writes": ')


@pytest.mark.parametrize("free", [0, 64 << 10, 256 << 10])
def test_full_while_small_things_are_written(site: Site, disk: Path, free: int) -> None:
    site.recipe(file_stage("a"))
    assert site.run("build", "--no-publish").exit_code == 0
    site.recipe(file_stage("a"), file_stage("b", "x" * 400_000), file_stage("c"))
    check_full(site, fill(disk, but=free))


def test_full_at_any_moment_is_told_with_a_place_of_the_store(site: Site, memory: Path) -> None:
    site.recipe(file_stage("a"))
    assert site.run("build", "--no-publish").exit_code == 0
    full = 0
    for pages in range(0, 17, 2):
        site.recipe(file_stage("a"), file_stage("b", f"{pages}"), file_stage("c"))
        filler = fill(memory, but=pages * PAGE)
        ended = site.run("build", "--no-publish")
        filler.unlink()
        site.check_whole()
        if ended.exit_code == 0:
            continue
        full += 1
        assert ended.exit_code == 1, ended.err
        assert f"{memory}/store" in ended.err and "No space left on device" in ended.err, ended.err
        assert "hint: the disk is full: make room and run the same command again" in ended.err, ended.err
    assert full > 3
    assert site.run("build").exit_code == 0


def test_full_while_a_version_is_published_the_stores_disk_is_named(site: Site, memory: Path) -> None:
    site.recipe(file_stage("a"))
    assert site.run("build", "--no-publish").exit_code == 0
    filler = fill(memory, but=0)
    ended = site.run("publish", "web")
    assert ended.exit_code == 1
    assert f"{memory}/store" in ended.err and "No space left on device" in ended.err, ended.err
    assert not (site.images / "web").exists()
    filler.unlink()
    assert site.run("publish", "web").exit_code == 0


@pytest.mark.parametrize("more", [(), ("b",)])
def test_a_store_that_is_read_only_is_told(site: Site, disk: Path, more: tuple[str, ...]) -> None:
    site.recipe(file_stage("a"))
    assert site.run("build", "--no-publish").exit_code == 0
    site.recipe(file_stage("a"), *map(file_stage, more))
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    ended = site.run("build", "--no-publish")
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert ended.exit_code == 1
    assert "Read-only file system" in ended.err and str(disk) in ended.err
    assert "hint: the file system is mounted read-only" in ended.err
    assert site.run("build").exit_code == 0


def test_a_full_disk_below_the_journal_is_told_with_what_goes_on(memory: Path) -> None:
    world = World(("node001", "node002"))
    scene = Scene(memory, world, Policy(canary=1, max_unavailable=1, waits=WAITS))
    journal = scene.folder / "journal.jsonl"
    filler: list[Path] = []

    def fill_it(now: object) -> None:
        if world.machines["node001"].rebooted is not None and not filler:
            with journal.open("ab") as file:  # to the end of a page, so that the next line needs another one
                file.write(b" " * (PAGE - journal.stat().st_size % PAGE - 1) + b"x")
            filler.append(fill(memory, but=0))

    scene.watch = fill_it
    with pytest.raises(PipelineError) as ended, told_when_interrupted(scene.order, scene.folder):
        scene.run()
    [problem] = ended.value.problems
    assert problem.message == f"{journal}: No space left on device"
    assert problem.command == "pipeline rollout resume lab --number 1"
    filler[0].unlink()
    progress = scene.run()
    assert {node.state for node in progress.nodes.values()} == {"released"}
    assert all(machine.installs == {NEW: 1} for machine in world.machines.values())


def test_a_report_for_which_there_is_no_room_hides_nothing(
    memory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Scene(memory, World(("node001",)), Policy(canary=1, max_unavailable=1, waits=WAITS))
    progress = scene.run()
    filler = fill(memory, but=0)
    opened: Any = SimpleNamespace(cluster=Cluster("lab", "", memory, {}, ()))
    try:
        code = tell_end(Namespace(json=False), opened, scene.folder, scene.order, progress)
    finally:
        filler.unlink()
    said = capsys.readouterr()
    assert code == 1 and "No space left on device" in said.err
    assert "released  1  node001" in said.out and "report: none, it could not be written" in said.out
