"""A stage that never comes to the same twice, whose layer is made again: what stood on it is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_versions import private_mounts

from tests.faults.site import add_shell
from tests.integration.small_project import SmallProject, make_small_project

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

STAGES = """
[[stage]]
name = "stamp"
type = "command"
shell = "cat /proc/sys/kernel/random/uuid > /etc/stamp"

[[stage]]
name = "copy"
type = "command"
shell = "cat /etc/stamp > /etc/copy"
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[SmallProject]:
    project = make_small_project(tmp_path / "project")
    add_shell(project.path / "base")
    project.recipe(STAGES)
    project.write("recipes/web/test_image.py", "def test_nothing(image):\n    pass\n")
    with private_mounts():
        built = project.run("build", "web")
        assert built.exit_code == 0, built.err
        yield project


def layer_of(project: SmallProject, stage: int, version: str = "web") -> str:
    return project.store.versions.resolve(version).stages[stage].layer


def make_again(project: SmallProject) -> None:
    """Remove the layer of the stamp, and build."""
    assert project.run("unpublish", "web").exit_code == 0
    shutil.rmtree(project.store.path / "layers" / layer_of(project, 0))
    built = project.run("build", "--no-publish", "web")
    assert built.exit_code == 0, built.err


def test_fsck_and_show_say_that_a_version_is_not_what_it_was(project: SmallProject) -> None:
    layer = layer_of(project, 0)
    assert project.run("fsck").exit_code == 0
    assert "LOST" not in project.run("show", "web@1").out
    make_again(project)
    checked = project.run("fsck")
    assert checked.exit_code == 1
    told = f"web@1 is not what it was: the layer {layer} (stamp) has been made again and came out differently"
    assert told in checked.out.replace(f", {layer_of(project, 1)} (copy)", "")
    assert "run: pipeline build web" in checked.out
    assert "web@2" not in checked.out
    assert "LOST" in project.run("show", "web@1").out
    assert project.run("gc", "--keep", "1").exit_code == 0
    assert project.run("fsck").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("publish", "web@1"),
        ("publish", "--dry-run", "web@1"),
        ("rollback", "web", "--to", "1"),
        ("verify", "web@1"),
        ("shell", "web@1", "--", "/bin/true"),
        ("shell", "--stage", "copy", "web@1", "--", "/bin/true"),
        ("diff", "web@1", "web@2"),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_version_that_is_not_what_it_was_is_refused(project: SmallProject, words: tuple[str, ...]) -> None:
    make_again(project)
    refused = project.run(*words)
    assert refused.exit_code == 1
    assert "web@1 is not what it was" in refused.err
    assert "run: pipeline build web" in refused.err


def test_restoring_refuses_it_and_mounts_the_others(project: SmallProject) -> None:
    project.recipe(name="apps")
    project.write("recipes/apps/test_image.py", "def test_nothing(image):\n    pass\n")
    assert project.run("build", "apps").exit_code == 0
    shutil.rmtree(project.store.path / "layers" / layer_of(project, 0))
    assert project.run("build", "--no-publish", "web").exit_code == 0
    subprocess.run(["umount", project.path / "images/web-1", project.path / "images/apps-1"], check=True)
    restored = project.run("publish", "--restore")
    assert restored.exit_code == 1
    assert "web@1 is not what it was" in restored.err
    assert os.listdir(project.path / "images/web-1") == []
    assert "etc" in os.listdir(project.path / "images/apps-1")


def test_what_fsck_says_ends_with_the_new_version_published(project: SmallProject) -> None:
    (project.store.layer_tree(layer_of(project, 0)) / "etc/extra").touch()
    found = project.run("fsck", "--json").json()["problems"]
    hint = next(each["hint"] for each in found if each["where"].endswith("/extra"))
    commands = hint.split(": ")[-1].replace("pipeline ", f"{sys.executable} -m pipeline ")
    done = subprocess.run(commands, shell=True, cwd=project.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert os.readlink(project.path / "images/web") == "web-2"
    left = [each["message"] for each in project.run("fsck", "--json").json()["problems"]]
    assert len(left) == 1
    assert left[0].startswith("web@1 is not what it was")


def test_a_stage_above_what_came_out_differently_is_made_again(project: SmallProject) -> None:
    stale = project.store.layer_called(layer_of(project, 1))
    assert stale is not None
    make_again(project)
    version = project.store.versions.resolve("web")
    assert version.number == 2
    stamp, copy = (project.store.layer_tree(stage.layer) / "etc" for stage in version.stages)
    assert (copy / "copy").read_text() == (stamp / "stamp").read_text()
    again = project.store.layer_called(layer_of(project, 1))
    assert again is not None
    assert again.key == stale.key
    assert again.below != stale.below
    assert os.listdir(project.store.path / "work") == []
    assert project.run("build", "--no-publish", "web").out.count("cached") == 2


def test_a_stage_above_what_came_out_the_same_stays(project: SmallProject) -> None:
    project.recipe(STAGES.replace("cat /proc/sys/kernel/random/uuid", "echo 1"))
    assert project.run("build", "--no-publish", "web").exit_code == 0
    assert project.run("unpublish", "web").exit_code == 0
    shutil.rmtree(project.store.path / "layers" / layer_of(project, 0))
    built = project.run("build", "--json", "--no-publish", "web").json()["images"][0]
    assert [stage["cached"] for stage in built["stages"]] == [False, True]
    assert built["version"] == 2
    assert not any("web@2" in each["message"] for each in project.run("fsck", "--json").json()["problems"])


def test_explain_says_that_a_layer_below_came_out_differently(project: SmallProject) -> None:
    name = layer_of(project, 0)
    kept, copy = project.path / "kept", project.store.path / "layers" / layer_of(project, 1)
    copy.rename(kept)
    make_again(project)
    shutil.rmtree(copy)
    kept.rename(copy)
    explained = project.run("explain", "web", "--json").json()["stages"]
    assert [stage["state"] for stage in explained] == ["cached", "would run"]
    assert [reason["kind"] for reason in explained[1]["reasons"]] == ["below"]
    assert project.store.layer_called(name) is not None


def test_layers_of_old_releases_above_a_damaged_one_are_removed_with_it(project: SmallProject) -> None:
    below, above = layer_of(project, 0), layer_of(project, 1)
    (project.store.layer_tree(below) / "etc/extra").touch()

    def removed() -> bool:
        found = project.run("fsck", "--json").json()["problems"]
        return f"/layers/{above}" in next(each["hint"] for each in found if each["where"].endswith("/extra"))

    assert not removed()
    record = project.store.path / "layers" / above / "layer.json"
    known = json.loads(record.read_text())
    del known["below"]
    record.write_text(json.dumps(known))
    assert removed()
    assert project.run("plan", "web").out.count("cached") >= 2
