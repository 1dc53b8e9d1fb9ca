"""Where mounts do not reach the machine, in a container, nothing that nodes use is mounted or taken away."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from published_versions import MS_SLAVE, Place, make_place, motd, pointer, private_mounts, reboot, says
from small_project import make_small_project

from pipeline.chroot import syscalls
from pipeline.errors import MachineError
from pipeline.publish import reaching
from pipeline.publish.publication import planned_publish, publication, publish, rollback
from pipeline.publish.restoring import restore
from pipeline.publish.unpublishing import take_down, unpublish
from pipeline.store.mounts import Mount, mount_above

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The images of a machine: web@1 published, then web@2 made."""
    with private_mounts():
        place = make_place(tmp_path)
        publish(place.site, place.store, place.version(says("one")))
        place.version(says("two"))
        yield place


@pytest.mark.parametrize("propagation", [None, MS_SLAVE], ids=["private", "slave"])
def test_a_version_is_not_published_by_a_mount_that_only_a_container_sees(
    place: Place, propagation: int | None
) -> None:
    version = place.store.versions.resolve("web@2")
    with private_mounts(propagation):
        for doing in (planned_publish, publish):
            with pytest.raises(MachineError) as refused:
                doing(place.site, place.store, version)
        (problem,) = refused.value.problems
        assert "do not reach the machine" in problem.message and problem.where == str(place.site.images)
        assert 'publish = "copy"' in str(problem.hint) and "findmnt" in str(problem.command)
    assert (pointer(place), motd(place)) == ("web-1", "one")
    assert sorted(os.listdir(place.site.images)) == ["web", "web-1"]
    assert publication(place.store, "web").directories == {1: "overlay"}
    copied = place.with_mode("copy")
    with private_mounts(propagation):
        publish(copied.site, place.store, version)
    assert (pointer(place), motd(place)) == ("web-2", "two")


@pytest.mark.parametrize(
    "doing",
    [
        lambda place: unpublish(place.site, place.store, "web", None),
        lambda place: unpublish(place.site, place.store, "web", 1),
        lambda place: take_down(place.site, place.store, "web", [1]),
    ],
    ids=["all", "one", "gc"],
)
def test_what_is_mounted_on_the_machine_is_not_taken_away_from_a_container(
    place: Place, doing: Callable[[Place], object]
) -> None:
    publish(place.site, place.store, place.store.versions.resolve("web@2"))
    with private_mounts(None), pytest.raises(MachineError, match="do not reach the machine"):
        doing(place)
    assert (motd(place), motd(place, "web-1")) == ("two", "one")
    assert publication(place.store, "web").directories == {1: "overlay", 2: "overlay"}


def test_in_a_container_nothing_is_mounted_again_and_only_to_what_is_there_is_gone_back(place: Place) -> None:
    publish(place.site, place.store, place.store.versions.resolve("web@2"))
    with private_mounts(None):
        rollback(place.site, place.store, "web")
    assert motd(place) == "one"
    reboot(place)
    with private_mounts(None):
        with pytest.raises(MachineError, match="do not reach the machine"):
            restore(place.site, place.store)
        with pytest.raises(MachineError, match="do not reach the machine"):
            rollback(place.site, place.store, "web", to=2)
    assert pointer(place) == "web-1"
    assert len(restore(place.site, place.store)) == 2


def test_a_build_in_a_container_makes_a_version_and_says_how_to_publish_it(tmp_path: Path) -> None:
    project = make_small_project(tmp_path / "project")
    with private_mounts(None):
        built = project.run("build", "--unverified", "--json", "web")
    (image,) = json.loads(built.out)["images"]
    assert (built.exit_code, image["version"], image["published"]) == (3, 1, None)
    assert "do not reach the machine" in built.err and 'publish = "copy"' in built.err
    assert not (tmp_path / "project/images/web").is_symlink()


@pytest.mark.parametrize(
    ("point", "shared", "own", "contained", "good"),
    [
        ("/", False, False, False, True),  # a machine without systemd
        ("/cm", False, False, False, True),
        ("/cm", True, True, True, True),  # a volume that hands mounts on: docker's rshared
        ("/", False, False, True, True),  # a machine of a container's kind, with files of its own
        ("/cm", False, False, True, False),
        ("/", False, True, False, False),
    ],
)
def test_what_is_a_container(
    monkeypatch: pytest.MonkeyPatch, point: str, shared: bool, own: bool, contained: bool, good: bool
) -> None:
    monkeypatch.setattr(reaching, "mount_above", lambda place: Mount(point, shared))
    monkeypatch.setattr(reaching, "in_own_namespace", lambda: own)
    monkeypatch.setattr(reaching, "in_container", lambda: contained)
    assert reaching.reaches(Path("/cm/images")) is good


def test_the_mount_of_a_directory_that_is_not_there_yet_is_that_of_the_nearest(tmp_path: Path) -> None:
    with private_mounts():
        (tmp_path / "disk a").mkdir()
        (tmp_path / "link").symlink_to("disk a")
        syscalls.mount("t", str(tmp_path / "disk a"), "tmpfs")
        assert mount_above(tmp_path / "link/new/images") == Mount(str(tmp_path / "disk a"), True)
