"""The files that users copy or that editors read: the example site, CI jobs, schemas."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import VERBS
from pipeline.cluster.schema import schema as cluster_schema
from pipeline.publish.mounted import is_mounted
from pipeline.recipe.load import recipe_names
from pipeline.recipe.schema import Kind, schema
from pipeline.recipe.site import load_site
from tests.docs.following import follow, fresh_clone, tidy
from tests.docs.pages import REPOSITORY, Step

CI = ["gitlab-ci.yml", "github-actions.yml"]
SHELL_WORDS = {"sed", "test"}


@pytest.mark.parametrize("kind", ["recipe", "fragment", "site"])
def test_the_schema_beside_the_recipes_is_the_one_of_this_program(kind: Kind) -> None:
    kept = json.loads((REPOSITORY / f"recipes/schema/{kind}.json").read_text())
    assert kept == schema(kind), f"run: pipeline schema {kind} > recipes/schema/{kind}.json"


def test_the_schema_of_cluster_files_beside_the_recipes_is_the_one_of_this_program() -> None:
    kept = json.loads((REPOSITORY / "recipes/schema/cluster.json").read_text())
    assert kept == cluster_schema(), "run: pipeline schema cluster > recipes/schema/cluster.json"


@pytest.mark.parametrize(
    "file",
    [
        *sorted((REPOSITORY / "recipes").glob("*/recipe.toml")),
        *sorted((REPOSITORY / "recipes/fragments").glob("*.toml")),
        *sorted((REPOSITORY / "recipes/clusters").glob("*.toml")),
        REPOSITORY / "pipeline.toml",
        REPOSITORY / "docs/bright.toml",
    ],
    ids=lambda file: str(file.relative_to(REPOSITORY)),
)
def test_the_schema_that_a_file_names_is_there(file: Path) -> None:
    named = re.match(r"#:schema (\S+)\n", file.read_text())
    assert named, "its first line is no #:schema"
    assert (file.parent / named[1]).resolve().parent == REPOSITORY / "recipes/schema"
    assert (file.parent / named[1]).is_file()


def test_the_folder_of_the_schemas_is_no_image() -> None:
    assert "schema" not in recipe_names(load_site(REPOSITORY / "pipeline.toml"))


@pytest.mark.parametrize("image", recipe_names(load_site(REPOSITORY / "pipeline.toml")))
def test_a_number_of_a_recipe_does_not_stand_again_in_its_tests(image: str) -> None:
    folder = REPOSITORY / "recipes" / image
    said, again = (_numbers(folder / name) for name in ("recipe.toml", "test_image.py"))
    assert said & again <= {"1"}, "take them from the fixture parameters"  # 1 is a port type, and a release


def _numbers(file: Path) -> set[str]:
    text = re.sub(r"(?m)(^| )#.*", "", file.read_text())
    return set(re.findall(r"(?<![\w.])[0-9]+(?:\.[0-9]+)*(?!\w)", text))


def test_the_site_file_for_a_bright_head_node_is_read_as_it_is() -> None:
    site = load_site(REPOSITORY / "docs/bright.toml")
    assert site.lab is None
    assert site.images == Path("/cm/images/published")
    assert set(site.bases) == {"openstack-image", "virtual-node-image"}
    assert site.mirrors


def test_the_site_file_for_a_bright_head_node_shows_every_key() -> None:
    text = re.sub(r"(?m)^# (?=\w+ = |\[)", "", (REPOSITORY / "docs/bright.toml").read_text())
    shown = tomllib.loads(text)
    definitions = schema("site")["$defs"]
    assert set(shown["site"]) == set(definitions["SiteTable"]["properties"])
    assert set(shown["head"]) == set(definitions["HeadTable"]["properties"])
    assert set(shown["downloads"]) == set(definitions["DownloadsTable"]["properties"])
    assert set(shown["signing"]) == set(definitions["SigningTable"]["properties"])


@pytest.mark.parametrize("name", CI)
def test_every_command_of_a_ci_job_is_one(name: str) -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    commands = list(_commands(yaml.safe_load((REPOSITORY / "ci" / name).read_text())))
    assert commands
    for command in commands:
        words = [word for word in shlex.split(command, comments=True) if "=" not in word]
        if words[0] == "make":
            assert re.search(rf"(?m)^{words[1]}:", makefile), command
        elif words[0] == ".venv/bin/pipeline":
            assert words[1] in VERBS, command
        elif words[0].startswith((".venv/bin/python", "ci/")):
            assert os.access(REPOSITORY / words[-1], os.R_OK), command
        else:
            assert words[0] in SHELL_WORDS, command


@pytest.mark.parametrize("name", CI)
def test_a_ci_job_checks_the_lock_builds_locked_and_keeps_document_and_junit(name: str) -> None:
    text = (REPOSITORY / "ci" / name).read_text()
    for needed in ("pipeline lock --check", "build --locked", "--json", "junit.xml"):
        assert needed in text
    assert "|| true" not in text


def test_the_ci_jobs_build_publish_and_leave_their_artifacts(
    tmp_path: Path, lab_home: Path, lab_images: object, lab_mirror: object
) -> None:
    project = fresh_clone(tmp_path / "project", lab_home)
    shutil.rmtree(project.path / "recipes/openstack-image-mellanox")
    kept = tmp_path / "srv"  # for /srv/pipeline
    kept.symlink_to(project.path / ".pipeline")
    todo = []
    for name in CI:
        for command in _commands(yaml.safe_load((REPOSITORY / "ci" / name).read_text())):
            here = command.replace("/srv/pipeline/", f"{kept}/")
            todo.append(Step(f"ci/{name}", here))
    try:
        follow(todo, project, tmp_path / "scratch")
        (image,) = json.loads((project.path / "build.json").read_text())["images"]
        assert (image["image"], image["version"], image["verified"]) == ("virtual-node-image", 1, True)
        site = tomllib.loads((project.path / "pipeline.toml").read_text())
        assert site["site"].pop("publish") == "copy"  # the container of the GitLab job
        assert all(Path(place).parent == kept for place in (*site["site"].values(), *site["lab"].values()))
        assert list((project.path / "reports").rglob("virtual-node-image/**/junit.xml"))
        published = project.path / ".pipeline/images/virtual-node-image"
        assert (published / "etc/redhat-release").is_file() and not is_mounted(published.resolve())
    finally:
        tidy(project)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (None, "build.json does not say what was built"),
        ([], "build.json names no version that was tested"),
        (
            [{"image": "web", "version": 1, "verified": True}],
            "web/versions/1.verified/junit.xml is not there",
        ),
    ],
)
def test_reports_that_are_not_there_are_told(tmp_path: Path, document: object, told: str) -> None:
    (tmp_path / "ci").mkdir()
    shutil.copy(REPOSITORY / "ci/reports.py", tmp_path / "ci")
    (tmp_path / "pipeline.toml").write_text('[site]\nstore = "store"\n')
    if document is not None:
        (tmp_path / "build.json").write_text(json.dumps({"images": document}))
    ran = subprocess.run([sys.executable, tmp_path / "ci/reports.py"], capture_output=True, text=True)
    assert (ran.returncode, told in ran.stderr) == (1, True), ran.stderr


def _commands(document: Any) -> list[str]:
    """The lines of all scripts of a CI file."""
    found: list[str] = []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        if key in ("script", "before_script", "after_script", "run"):
            texts = value if isinstance(value, list) else [value]
            found += [line.strip() for text in texts for line in text.splitlines() if line.strip()]
        elif isinstance(value, dict | list):
            found += _commands(value)
    return found
