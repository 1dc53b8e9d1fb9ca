"""A damaged layer of a project: who names it, and that what ``fsck`` says mends it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_versions import private_mounts

from pipeline.chroot.enter import enter
from pipeline.chroot.root import RootSpec
from pipeline.errors import MachineError, PipelineError
from tests.integration.small_project import SmallProject, make_small_project

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[SmallProject]:
    project = make_small_project(tmp_path / "project")
    with private_mounts():
        project.write("recipes/web/test_image.py", "def test_nothing(image):\n    pass\n")
        built = project.run("build", "web")
        assert built.exit_code == 0, built.err
        yield project


def stage_layer(project: SmallProject, number: int) -> str:
    return project.store.versions.resolve("web").stages[number].layer


@pytest.mark.parametrize("stage", ["base", "two"])
def test_a_damaged_layer_under_a_published_version_is_mended(project: SmallProject, stage: str) -> None:
    target = project.path / "images/web-1"
    before = sorted(os.listdir(target / "etc"))
    version = project.store.versions.resolve("web")
    layer = version.layers[0] if stage == "base" else stage_layer(project, 1)
    (project.store.layer_tree(layer) / "etc/extra").touch()
    found = project.run("fsck", "--json").json()["problems"]
    assert [each["hint"] is None for each in found] == [True, False]  # etc; then etc/extra, with the hint
    hint = found[-1]["hint"]
    commands = hint.split(": ")[-1].replace("pipeline ", f"{sys.executable} -m pipeline ")
    done = subprocess.run(commands, shell=True, cwd=project.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert project.run("fsck").exit_code == 0
    assert sorted(os.listdir(target / "etc")) == before
    assert os.readlink(project.path / "images/web") == "web-1"


def test_a_layer_without_its_tree_is_named_by_build_and_verify(project: SmallProject) -> None:
    tree = project.store.layer_tree(stage_layer(project, 1))
    shutil.rmtree(tree)
    built = project.run("build", "web")
    assert built.exit_code == 1
    assert f"{tree}: the layer {tree.parent.name} has lost its tree" in built.err + built.out
    tested = project.run("verify", "web")
    assert tested.exit_code == 1
    assert f"{tree}: a layer of the image is missing\n  run: pipeline fsck" in tested.err
    assert "this machine" not in tested.err


def test_a_chroot_names_the_layers_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(PipelineError) as caught, enter(RootSpec((tmp_path / "a", tmp_path, tmp_path / "b"))):
        pass
    assert not isinstance(caught.value, MachineError)
    assert [each.where for each in caught.value.problems] == [f"{tmp_path}/a", f"{tmp_path}/b"]
