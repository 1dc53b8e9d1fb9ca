"""Records of the store that were changed, or that don't agree with what they are about: fsck tells each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from published_versions import private_mounts

from tests.integration.small_project import SmallProject, make_small_project

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="building takes root")

Edit = Callable[[dict[str, Any]], object]
VERSION = "images/web/versions/1/version.json"
RESULTS = "images/web/versions/1.verified/verification.json"
PUBLISHED = "images/web/published.json"
BASE = "bases/small.json"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[SmallProject]:
    project = make_small_project(tmp_path / "project")
    project.recipe(head='[image.kernel]\nappend_parameters = ["quiet"]\n[parameters]\nvfs = 16\n')
    project.write(
        "recipes/web/test_image.py",
        "def test_a(image):\n    assert image.parameters['vfs']\n\ndef test_b():\n    pass\n",
    )
    with private_mounts():
        built = project.run("build")
        assert built.exit_code == 0, built.err
        yield project


def edit(path: Path, how: Edit, *, sealed: bool) -> None:
    """Change a record; without its seal it is one of an old release."""
    record = json.loads(path.read_text())
    how(record)
    if not sealed:
        record.pop("sha256", None)
    path.write_text(json.dumps(record))


def told(project: SmallProject) -> list[tuple[str, str]]:
    found = project.run("fsck", "--json")
    problems = found.json()["problems"]
    assert found.exit_code == (1 if problems else 0)
    return [(os.path.relpath(each["where"], project.store.path), each["message"]) for each in problems]


def test_records_as_they_were_written_are_right_and_those_of_old_releases_count_too(
    project: SmallProject,
) -> None:
    assert told(project) == []
    layers = [f"layers/{name}/layer.json" for name in project.store.layers()]
    for name in (VERSION, RESULTS, PUBLISHED, BASE, *layers):
        edit(project.store.path / name, lambda record: None, sealed=False)
    assert told(project) == []


SEALED: list[tuple[str, Edit]] = [
    (VERSION, lambda record: record.update(created=1.0)),
    (VERSION, lambda record: record.update(packages=["bash-4.1-1.x86_64"])),
    (RESULTS, lambda record: record.update(when=1.0)),
    (PUBLISHED, lambda record: record.update(images="/elsewhere")),
    (BASE, lambda record: record.update(epoch=1)),
]


@pytest.mark.parametrize(("name", "how"), SEALED)
def test_a_record_that_was_changed_is_told(project: SmallProject, name: str, how: Edit) -> None:
    edit(project.store.path / name, how, sealed=True)
    assert [(where, message[:22]) for where, message in told(project)] == [(name, "the record was changed")]


def test_a_record_of_a_layer_that_was_changed_is_told(project: SmallProject) -> None:
    name = f"layers/{project.store.versions.resolve('web').stages[0].layer}/layer.json"
    edit(project.store.path / name, lambda record: record.update(added=["evil-1-1.x86_64"]), sealed=True)
    assert [(where, message[:22]) for where, message in told(project)] == [(name, "the record was changed")]


COMPUTED: list[tuple[str, Edit, str]] = [
    (VERSION, lambda record: record.update(kernel_parameters=["init=/bin/sh"]), "identity: expected"),
    (VERSION, lambda record: record["parameters"].update(vfs=8), "identity: expected"),
    (VERSION, lambda record: record["stages"][0].update(key="0" * 64), "layer of one: expected"),
    (RESULTS, lambda record: record["results"][0].__setitem__(1, "failed"), "passed: expected false"),
    (RESULTS, lambda record: record.update(results=[]), "passed: expected false"),
    (BASE, lambda record: record.update(digest="0" * 64), "digest of its layer"),
    (BASE, lambda record: record.update(name="other"), "name: expected small, got other"),
    (PUBLISHED, lambda record: record.update(history=[1, 7]), "it names what is no version: web@7"),
    (PUBLISHED, lambda record: record["directories"].update({"8": "copy"}), "it names what is no version"),
]


@pytest.mark.parametrize(("name", "how", "said"), COMPUTED)
def test_an_old_record_that_contradicts_itself_or_others_is_told(
    project: SmallProject, name: str, how: Edit, said: str
) -> None:
    edit(project.store.path / name, how, sealed=False)
    found = told(project)
    assert [(where, message[: len(said)]) for where, message in found] == [(name, said)]


def test_a_layer_whose_record_says_another_origin_than_its_key_is_told(project: SmallProject) -> None:
    name = f"layers/{project.store.versions.resolve('web').stages[0].layer}/layer.json"
    path = project.store.path / name
    edit(path, lambda record: record["basis"]["options"].update(create="2"), sealed=False)
    [(where, message)] = told(project)
    assert where == name and message.startswith("key of what it was made of: expected ")


def test_a_mount_of_layers_that_are_not_there_is_told(project: SmallProject) -> None:
    path = project.store.path / "published/web-1/lowers.json"
    known = json.loads(path.read_text())
    path.write_text(json.dumps({**known, "0" * 20: [1, 1]}))
    told_of = [message for where, message in told(project) if where == "published/web-1"]
    assert told_of == ["web@1 was mounted of layers that are not there: " + "0" * 20]


def test_a_version_whose_results_are_no_passes_is_not_passed_for_anybody(project: SmallProject) -> None:
    path = project.store.path / RESULTS
    edit(path, lambda record: record["results"][0].__setitem__(1, "failed"), sealed=False)
    assert "not passed: 1 of 2" in project.run("show", "web").out
    assert project.run("show", "web", "--json").json()["verification"]["passed"] is False
    assert [each["verified"] for each in project.run("versions", "web", "--json").json()["versions"]] == [
        False
    ]
    refused = project.run("publish", "web@1")
    assert refused.exit_code == 5 and "its tests failed" in refused.err
    assert project.run("build", "--json").json()["images"][0]["exit_code"] == 0  # tested again
    assert told(project) == []
