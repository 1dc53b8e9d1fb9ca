"""An image has its tree when writing has ended, and one that hasn't is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cluster.objects import Ref
from pipeline.errors import PipelineError
from pipeline.lab.head import state
from pipeline.lab.head.switches import Switches, write_switches
from tests.integration.bright_head import IMAGE, LabHead, seed


def images(lab: LabHead) -> list[Path]:
    return [lab.directory / f"root/cm/images/{name}/etc/hostname" for name in ("openstack-image", IMAGE)]


def test_the_tree_is_whole_when_a_clone_is_written(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(copy_seconds=1))
    todo, found = lab.plan(seed()[:1])
    lab.driver.write(todo, found)
    assert all(file.exists() for file in images(lab))
    assert not lab.snapshot()["copying"]
    assert lab.plan(seed()[:1])[0] == ()


def test_an_image_whose_copying_failed_is_told_until_it_is_removed(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    todo, found = lab.plan(seed()[:1])
    lab.faults(failing_copies=True)
    lab.driver.write(todo, found)
    lab.faults()
    with pytest.raises(PipelineError, match=f"{IMAGE} is not there: it was copied only in part") as caught:
        lab.plan(seed()[:1])
    assert caught.value.problems[0].where == str(Ref("image", IMAGE))
    lab.head.run_file(("cmsh", "-f"), f"softwareimage; remove -d {IMAGE}; commit\n")
    todo, found = lab.plan(seed()[:1])
    lab.driver.write(todo, found)
    assert lab.plan(seed()[:1])[0] == ()


def test_the_directory_of_an_image_that_nobody_clones_is_not_advised_to_be_removed(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    (tmp_path / "root/cm/images/openstack-image").rename(tmp_path / "away")
    with pytest.raises(PipelineError, match="openstack-image is not there") as caught:
        lab.plan(seed()[:1])
    (problem,) = caught.value.problems
    assert problem.message == "its directory /cm/images/openstack-image is not there"
    assert (problem.command, "mount it" in str(problem.hint)) == (None, True)


def test_an_image_that_is_still_being_copied_is_told(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(copy_seconds=600))
    lab.head.run_file(("cmsh", "-f"), f"softwareimage; clone openstack-image {IMAGE}; commit\n")
    with pytest.raises(PipelineError, match="still being copied"):
        lab.plan(seed()[:1])
    write_switches(str(tmp_path), Switches())
    state.wait(str(tmp_path))
    lab.plan(seed()[:1])
