"""What an overlay tree holds that cannot be laid is told when the recipe is loaded, all of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from recipes.tables import SITE

from pipeline.errors import PipelineError, UsageError
from pipeline.fileops.tree import Look, plan
from pipeline.recipe.load import load_recipe
from pipeline.recipe.site import load_site

RECIPE = """
[image]
name = "x"
base = "openstack-image"
[parameters]
vfs = 16
[[stage]]
name = "tree"
type = "overlay"
tree = "t"
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.toml").write_text(SITE)
    for folder in ("recipes/x", "overlays/t/etc"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "recipes/x/recipe.toml").write_text(RECIPE)
    tree = tmp_path / "overlays/t"
    (tree / "etc/vfs.j2").write_text("{{ vfs }}")
    return tree


def told() -> dict[str, str]:
    with pytest.raises(UsageError) as caught:
        load_recipe("x", load_site(None))
    assert all(problem.hint == "it is laid at recipes/x/recipe.toml:7" for problem in caught.value.problems)
    return {problem.where or "": problem.message for problem in caught.value.problems}


def test_what_is_no_file_directory_or_link_is_refused(tree: Path) -> None:
    os.mkfifo(tree / "etc/fifo")
    os.mkfifo(tree / "fifo.j2")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("overlays/t/etc/socket")
    expected = {
        "overlays/t/etc/fifo": "is a fifo, which cannot be laid",
        "overlays/t/etc/socket": "is a socket, which cannot be laid",
        "overlays/t/fifo.j2": "is a fifo, which cannot be laid",
    }
    if os.geteuid() == 0:
        os.mknod(tree / "null", 0o20666, os.makedev(1, 3))
        expected["overlays/t/null"] = "is a character device, which cannot be laid"
    assert told() == expected
    with pytest.raises(PipelineError) as caught:
        plan(tree, "/in", "/", Look("root:root", {}, {}), lambda text: text)
    assert [problem.message for problem in caught.value.problems] == list(expected.values())


def test_what_would_not_be_in_the_image_is_refused(tree: Path) -> None:
    for name in ("etc/passwd-", "var/cache/yum/c.j2", "tmp/x", "srv/tmp/x"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    unkept = (
        "would be lost: it is not kept: logs, caches and locks of package managers and backups of accounts"
        " are in no layer"
    )
    fresh = "would be lost: it is not part of the image: /tmp is a fresh filesystem while a stage runs"
    assert told() == {
        "overlays/t/etc/passwd-": unkept,
        "overlays/t/tmp/x": fresh,
        "overlays/t/var/cache/yum/c.j2": unkept,
    }
    Path("recipes/x/recipe.toml").write_text(RECIPE + 'destination = "/srv"\n')
    assert load_recipe("x", load_site(None)).stages


def test_a_tree_without_any_file_is_refused(tree: Path) -> None:
    (tree / "etc/vfs.j2").unlink()
    Path("recipes/x/recipe.toml").write_text(RECIPE.replace("vfs = 16", ""))
    expected = {"overlays/t": "has no file in it: there is nothing to lay"}
    assert told() == expected
    (tree / "etc").rmdir()
    assert told() == expected


def test_two_that_are_laid_at_one_place_are_refused(tree: Path) -> None:
    (tree / "d").mkdir()
    (tree / "d.j2").write_text("")
    (tree / "etc/vfs").write_text("")
    (tree / "link").symlink_to("etc")
    (tree / "link.j2").write_text("")
    assert told() == {
        "overlays/t/d.j2": "is laid as d, and so is d",
        "overlays/t/etc/vfs.j2": "is laid as etc/vfs, and so is etc/vfs",
        "overlays/t/link.j2": "is laid as link, and so is link",
    }


def test_names_that_only_look_alike_are_laid(tree: Path) -> None:
    (tree / "d.j2").mkdir()
    (tree / "d").mkdir()
    (tree / "link.j2").symlink_to("nowhere")
    (tree / "link").write_text("")
    (tree / "dangling").symlink_to("/nowhere")
    (tree / "folder").symlink_to("etc")
    assert load_recipe("x", load_site(None)).stages[0].parameters == {"vfs": 16}
