"""The files of a version itself that are lost or damaged: fsck says what to do, and others are not stuck."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.small_project import STAGES, SmallProject, make_small_project

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="building takes root")

REPOSITORY = Path(__file__).parents[2]
SHOP = '\n[[stage]]\nname = "more"\ntype = "file"\npath = "/etc/more"\ntouch = true\n'


@pytest.fixture
def project(tmp_path: Path) -> SmallProject:
    project = make_small_project(tmp_path / "project")
    project.recipe(SHOP, name="shop", base="web")
    project.recipe(STAGES, name="other")
    for name in ("web", "shop", "other"):
        project.write(f"recipes/{name}/test_image.py", "def test_nothing(image):\n    pass\n")
    assert project.run("build", "--no-publish").exit_code == 0
    return project


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_text(""), lambda path: path.write_text("version = 1\n# more\n")],
    ids=["removed", "emptied", "other"],
)
def test_a_lock_of_a_version_that_is_not_its_own_is_told(
    project: SmallProject, damage: Callable[[Path], object]
) -> None:
    path = project.store.path / "images/web/versions/1/recipe.lock"
    damage(path)
    found = project.run("fsck", "--json").json()["problems"]
    assert [each["where"] for each in found] == [str(path)]
    assert found[0]["hint"].endswith(f": cp recipes/web/recipe.lock {path}")
    download = project.write(f"store/downloads/sha256/aa/{'a' * 64}", "of that lock only")
    for words in (("gc",), ("gc", "--dry-run")):
        refused = project.run(*words)
        assert refused.exit_code == 1 and download.exists()
        assert f"{path}: web@1 has lost its recipe.lock" in refused.err
        assert "gc removes nothing" in refused.err and f": cp recipes/web/recipe.lock {path}\n" in refused.err
    download.unlink()
    images = {each["image"]: each for each in project.run("build", "--no-publish", "--json").json()["images"]}
    assert {name: each["exit_code"] for name, each in images.items()} == {"web": 0, "other": 0, "shop": 1}
    problem = images["shop"]["problems"][0]
    assert problem["message"] == "web@1 has lost its recipe.lock"
    assert (problem["where"], problem["command"]) == (str(path), None)
    assert problem["hint"].endswith(f": cp recipes/web/recipe.lock {path}")
    shown = project.run("show", "web@1")
    assert shown.exit_code == 0, shown.err
    assert f"DAMAGED: {path}: web@1 has lost its recipe.lock" in shown.out
    assert f": cp recipes/web/recipe.lock {path}\n" in shown.out
    assert project.run("show", "web@1", "--json").json()["damaged"]["hint"] == problem["hint"]
    path.write_bytes((project.path / "recipes/web/recipe.lock").read_bytes())
    assert project.run("fsck").exit_code == 0
    assert project.run("gc").exit_code == 0
    assert project.run("build", "--no-publish").exit_code == 0
    assert project.run("show", "web@1", "--json").json()["damaged"] is None


@pytest.mark.parametrize("number", [0, 2])
def test_a_layer_that_is_taken_out_of_a_record_is_told_and_a_build_makes_another_version(
    project: SmallProject, number: int
) -> None:
    path = project.store.path / "images/other/versions/1/version.json"
    record = json.loads(path.read_text())
    del record["layers"][number]
    path.write_text(json.dumps(record))
    found = project.run("fsck", "--json").json()["problems"]
    assert [each["where"] for each in found] == [str(path.parent), str(path)]
    assert found[0]["message"].startswith("other@1 is not what it was")
    assert found[1]["message"].startswith("the record was changed")
    assert found[0]["command"] == "pipeline build other"
    assert project.run("publish", "other@1").exit_code == 1
    built = project.run("build", "--no-publish", "other", "--json").json()["images"]
    assert [each["version"] for each in built] == [2]
    assert project.run("gc", "--keep", "1").exit_code == 0
    assert project.run("fsck").exit_code == 0


def test_a_version_whose_layers_are_gone_is_not_what_a_build_of_the_same_content_comes_to(
    project: SmallProject,
) -> None:
    def built() -> int:
        [image] = project.run("build", "--no-publish", "other", "--json").json()["images"]
        assert image["exit_code"] == 0
        return int(image["version"])

    project.recipe(STAGES.replace('"1"', '"1"\nmode = "0644"'), name="other")
    assert [built(), built()] == [1, 1]
    first = project.store.versions.resolve("other@1")
    for stage in first.stages[1:]:
        shutil.rmtree(project.store.path / "layers" / stage.layer)
    assert [built(), built()] == [2, 2]
    assert "would be other@2, which is there" in project.run("plan", "other").out
    second = project.store.versions.resolve("other@2")
    assert second.identity == first.identity
    assert all(project.store.layer_tree(layer).is_dir() for layer in second.layers)
    assert project.run("verify", "other@2").exit_code == 0
    left = project.run("fsck", "--json").json()["problems"]
    assert not [each for each in left if "other@2" in each["message"]]


def test_a_log_of_any_length_is_shown_in_little_memory(project: SmallProject) -> None:
    layer = project.store.versions.resolve("web").layers[-1]
    with project.store.layer_log(layer).open("wb") as log:
        log.write(b"begun \xff\r\n")
        log.truncate(100 << 20)
    little = 'ulimit -v 400000 && exec "$0" -m pipeline show --log three web > shown'
    words = ["sh", "-c", little, sys.executable]
    subprocess.run(words, cwd=project.path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=True)
    assert (project.path / "shown").stat().st_size > 100 << 20
    with (project.path / "shown").open("rb") as out:
        assert out.read(11) == "begun \ufffd\n\0".encode()
