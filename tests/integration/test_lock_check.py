"""``pipeline lock --check`` compares with what the recipes come to, whatever else the store holds."""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.integration.small_project import STAGES, SmallProject, make_small_project

FOLDER = """
[[stage]]
name = "folder"
type = "file"
path = "/opt/etc"
directory = true

[[stage]]
name = "conf"
type = "file"
path = "/opt/etc/one.conf"
create = "1"
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="building takes root")


def test_a_newer_version_of_the_base_that_the_recipes_do_not_come_to_does_not_count(tmp_path: Path) -> None:
    project: SmallProject = make_small_project(tmp_path / "project")
    project.recipe(
        '\n[[stage]]\nname = "more"\ntype = "file"\npath = "/etc/more"\ntouch = true\n',
        name="shop",
        base="web",
    )
    project.built()
    assert project.run("lock", "--check").exit_code == 0
    locks = {name: project.path / f"recipes/{name}/recipe.lock" for name in ("web", "shop")}
    good = {name: lock.read_text() for name, lock in locks.items()}
    # A branch with another base: its files are newer, and so is the time in the lock.
    site = (project.path / "pipeline.toml").read_text()
    project.write("branch/etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    project.write("branch/etc/group", "root:x:0:\n")
    (project.path / "branch/bin").mkdir()
    os.utime(project.path / "branch/etc/passwd", (2_000_000_000, 2_000_000_000))
    project.write("pipeline.toml", f'{site}other = "branch"\n')
    project.recipe(STAGES.replace('"1"', '"one"'), base="other")
    project.built("web")
    assert project.store.versions.resolve("web").number == 2
    project.recipe()
    for name, lock in locks.items():
        lock.write_text(good[name])
    checked = project.run("lock", "--check")
    assert (checked.exit_code, checked.err) == (0, "")
    project.built("shop")
    assert {name: lock.read_text() for name, lock in locks.items()} == good
    locks["shop"].write_text(good["shop"].replace("epoch = ", "epoch = 1"))
    checked = project.run("lock", "--check")
    assert checked.exit_code == 4
    assert "the time of the base" in checked.err


def test_of_a_base_that_was_changed_just_now_a_lock_gives_the_same_image_at_any_time(tmp_path: Path) -> None:
    project: SmallProject = make_small_project(tmp_path / "project")
    project.recipe(FOLDER)
    project.built()
    first = project.store.versions.resolve("web")
    times = [(project.store.layer_tree(name) / "opt").stat().st_mtime for name in first.layers[1:]]
    assert times == sorted(times) and times[-1] < time.time()
    lock = project.path / "recipes/web/recipe.lock"
    # As if the base had been imported an hour before, when the lock was made.
    (epoch,) = re.findall(r"epoch = (\d+)", lock.read_text())
    lock.write_text(lock.read_text().replace(epoch, str(int(epoch) - 3600)))
    assert project.run("build", "--locked", "--no-publish").exit_code == 5  # it has no tests
    earlier = project.store.versions.resolve("web")
    assert earlier.number == first.number + 1
    moved = [(project.store.layer_tree(name) / "opt").stat().st_mtime for name in earlier.layers[1:]]
    assert moved == [when - 3600 for when in times]
    shutil.rmtree(project.path / "store")
    assert project.run("build", "--locked", "--no-publish").exit_code == 5
    assert project.store.versions.resolve("web").tree == earlier.tree
