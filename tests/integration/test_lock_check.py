"""``pipeline lock --check`` compares with what the recipes come to, whatever else the store holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.small_project import STAGES, SmallProject, make_small_project

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
