"""File names with control characters, as people read them: escaped, and on one line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_versions import private_mounts

from tests.integration.small_project import SmallProject, make_small_project

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

NAME = b"\xff\nx\t\x1b[31m\xc2\x9b"
TOLD = r"/etc/\xff\nx\t\x1b[31m\x9b"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallProject]:
    """Two versions; the second has a file of such a name, of its base, and one was edited by hand."""
    project = make_small_project(tmp_path_factory.mktemp("names") / "project")
    project.write("recipes/web/test_image.py", "def test_nothing(image):\n    pass\n")
    with private_mounts():
        assert project.run("build").exit_code == 0
        weird(project.path / "base").write_text("x")
        assert project.run("lock").exit_code == 0
        assert project.run("build").exit_code == 0
        yield project


def weird(root: Path) -> Path:
    return root / "etc" / os.fsdecode(NAME)


def test_diff(project: SmallProject) -> None:
    told = project.run("diff", "web@1", "web@2").out
    assert f"  + {TOLD}\n" in told
    document = project.run("diff", "web@1", "web@2", "--json").json()
    assert "/etc/\\xff\nx\t\x1b[31m\x9b" in [file["path"] for file in document["files"]]


def test_show_of_hand_edits(project: SmallProject) -> None:
    edit = weird(project.path / "images/web")
    edit.write_text("edited")
    try:
        assert f"\n  ~ {TOLD}  (size 1 → 6, content)\n" in project.run("show", "web@2").out
        edits = project.run("show", "web@2", "--json").json()["hand_edits"]
        assert edits == ["/etc/\\xff\nx\t\x1b[31m\x9b"]
    finally:
        edit.unlink()


def test_fsck(project: SmallProject) -> None:
    base = project.store.layer_tree(project.store.versions.resolve("web").layers[0])
    link = weird(base).with_name("a\nlink")
    link.symlink_to("b\nc")
    weird(base).chmod(0o600)
    try:
        checked = project.run("fsck")
        assert f"{base}{TOLD}: mode: expected 0644, got 0600\n" in checked.out, checked.err
        assert f"{base}/etc/a\\nlink: it is not in the manifest\n" in checked.out
        found = project.run("fsck", "--json").json()["problems"]
        assert f"{base}{TOLD}" in [each["where"] for each in found]
    finally:
        weird(base).chmod(0o644)
        link.unlink()


def test_what_an_import_leaves_out(project: SmallProject, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(project.path / "base", base)
    os.mknod(weird(base).with_name("socket\nof\nold"), 0o140644)
    site = (project.path / "pipeline.toml").read_text()
    project.write("other.toml", site.replace('"base"', json.dumps(str(base))))
    try:
        built = project.run("lock", "--site", "other.toml")
        assert r"base small: /etc/socket\nof\nold was left out: a socket" + "\n" in built.err
    finally:
        assert project.run("lock").exit_code == 0  # for the project's own base again


def test_explain_of_an_overlay(project: SmallProject) -> None:
    name = project.write("overlays/two/etc/of\nmine\x1b", "mine\n")
    try:
        told = project.run("explain", "web", "two")
        assert r"    + /etc/of\nmine\x1b" + "\n" in told.out, told.err
    finally:
        name.unlink()


def test_doctor(project: SmallProject) -> None:
    odd = project.path / "gone\nbase\x1b"
    site = (project.path / "pipeline.toml").read_text()
    project.write("odd.toml", site.replace('"base"', json.dumps(str(odd))))
    said = project.run("doctor", "--site", "odd.toml")
    assert r"gone\nbase\x1b" in said.out, said.err
    assert "\x1b" not in said.out
