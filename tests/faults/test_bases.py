"""Bases that are missing, no roots, or not what they were when they were locked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.site import Site, file_stage


def test_a_base_that_is_missing_is_told_with_its_directory(site: Site) -> None:
    shutil.rmtree(site.base)
    site.recipe(file_stage("a"))
    ended = site.run("build")
    assert ended.exit_code == 1
    assert f"{site.base} does not exist" in ended.err
    assert "base 'small'" in ended.err and "hint: " in ended.err
    assert site.layers() == {}


def test_a_base_that_is_a_file_is_told(site: Site) -> None:
    shutil.rmtree(site.base)
    site.base.write_text("x")
    site.recipe(file_stage("a"))
    ended = site.run("build")
    assert ended.exit_code == 1
    assert f"{site.base} is no directory" in ended.err
    assert site.layers() == {}


@pytest.mark.parametrize("missing", ["etc", "bin"])
def test_a_directory_that_is_no_root_is_told_with_what_it_lacks(site: Site, missing: str) -> None:
    shutil.rmtree(site.base / missing)
    site.recipe(file_stage("a"))
    ended = site.run("build")
    assert ended.exit_code == 1
    assert f"{site.base} is not the root of a system: it has no {missing}" in ended.err
    assert site.layers() == {}


def test_a_base_in_motion_stops_its_own_image_only(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(site.base, tmp_path / "moving", symlinks=True)
    site.settle(bases=f'moving = "{tmp_path / "moving"}"\n')
    site.recipe(file_stage("a"))
    site.recipe(file_stage("a"), image="other", base="moving")
    assert site.run("build").exit_code == 0
    find = tmp_path / "bin/find"
    find.parent.mkdir()
    find.write_text(
        """#!/bin/sh
case $1 in
    */moving/*) echo "find: '$1/x': No such file or directory" >&2; exit 1 ;;
    *) exec /usr/bin/find "$@" ;;
esac
"""
    )
    find.chmod(0o755)
    monkeypatch.setenv("PATH", f"{find.parent}:{os.environ['PATH']}")
    site.recipe(file_stage("b"))
    ended = site.run("build", "--json")
    assert ended.exit_code == 1
    images = ended.images()
    assert (images["web"]["exit_code"], images["web"]["version"]) == (0, 2)
    assert images["other"]["exit_code"] == 1
    assert "moving/./x': No such file or directory" in images["other"]["problems"][0]["message"]


@pytest.mark.parametrize("base", ["[" * 3000 + "]" * 3000, "[", "1", '"small"\nbase = "small"'])
def test_a_base_that_is_no_name_is_told_as_a_mistake(site: Site, base: str) -> None:
    site.write("recipes/web/recipe.toml", f'[image]\nname = "web"\nbase = {base}\n')
    assert site.run("build").exit_code == 2


def test_a_base_that_changed_since_the_lock_exits_4_until_it_is_locked_again(site: Site) -> None:
    site.recipe(file_stage("a"))
    assert site.run("build").exit_code == 0
    before = site.lock().read_bytes()
    (site.base / "etc/new").write_text("new")

    for words in (("build",), ("build", "--locked")):
        ended = site.run(*words)
        assert ended.exit_code == 4
        assert "recipes/web/recipe.lock" in ended.err or site.line("base =") in ended.err
        assert "small" in ended.err and "run: pipeline lock web" in ended.err
        assert site.lock().read_bytes() == before

    assert site.run("lock", "web").exit_code == 0
    assert site.lock().read_bytes() != before
    assert site.run("build", "--locked").exit_code == 0
    assert (site.images / "web/etc/new").read_text() == "new"
    assert (site.images / "web-1/etc/a").exists()


def test_a_base_that_only_was_touched_is_the_same_base(site: Site) -> None:
    site.recipe(file_stage("a"))
    tree = site.run("build", "--json").images()["web"]["tree"]
    content = (site.base / "etc/passwd").read_bytes()
    status = (site.base / "etc/passwd").stat()
    (site.base / "etc/passwd").write_bytes(content)
    import os

    os.utime(site.base / "etc/passwd", ns=(status.st_atime_ns, status.st_mtime_ns))
    again = site.run("build", "--json", "--locked")
    assert again.exit_code == 0, again.err
    assert again.images()["web"]["tree"] == tree


def test_an_image_on_another_is_built_after_it_and_anew_when_that_changes(site: Site) -> None:
    site.recipe(file_stage("a"), image="lower")
    site.recipe(file_stage("b"), image="upper", base="lower")
    first = site.run("build", "upper", "--json").images()
    assert {name: image["version"] for name, image in first.items()} == {"lower": 1, "upper": 1}
    site.recipe(file_stage("a", "changed"), image="lower")
    second = site.run("build", "upper", "--json").images()
    assert {name: image["version"] for name, image in second.items()} == {"lower": 2, "upper": 2}
    assert (site.images / "upper/etc/a").read_text() == "changed"
    assert (site.images / "upper-1/etc/a").read_text() == "a"
    third = site.run("build", "upper", "--json").images()
    assert {name: image["version"] for name, image in third.items()} == {"lower": 2, "upper": 2}


def test_an_image_whose_base_failed_is_not_tried_and_says_so(site: Site) -> None:
    site.recipe(
        '\n[[stage]]\nname = "a"\ntype = "edit"\nfile = "/etc/none"\nafter = "x"\ninsert = "y"\n',
        image="lower",
    )
    site.recipe(file_stage("b"), image="upper", base="lower")
    ended = site.run("build", "--json")
    images = ended.images()
    assert images["lower"]["exit_code"] == 1 and images["upper"]["exit_code"] == 1
    assert "its base lower could not be built" in ended.err
    assert "b" not in site.layers()


@pytest.mark.parametrize("changed", [False, True], ids=["known", "changed"])
@pytest.mark.parametrize("mark", ["stale", "conflict"])
def test_an_image_whose_base_is_refused_is_not_built_on_an_older_version_of_it(
    site: Site, mark: str, changed: bool
) -> None:
    site.recipe(file_stage("a"), image="lower")
    site.recipe(file_stage("b"), image="upper", base="lower")
    assert site.run("build").exit_code == 0
    good = site.lock("lower").read_text()
    digest = next(line for line in good.splitlines() if line.startswith("digest"))
    bad = (
        f'digest = "{"0" * 64}"'
        if mark == "stale"
        else f"<<<<<<< HEAD\n{digest}\n=======\n{digest}\n>>>>>>> a"
    )
    site.lock("lower").write_text(good.replace(digest, bad))
    if changed:
        site.recipe(file_stage("b", "changed"), image="upper", base="lower")
    for words in (("build",), ("build", "upper")):
        images = site.run(*words, "--json").images()
        assert images["lower"]["exit_code"] == (4 if mark == "stale" else 2)
        assert images["upper"]["exit_code"] == 1
        assert images["upper"]["version"] is None
        told = [each["message"] for each in images["upper"]["problems"]]
        assert told == ["upper was not built: its base lower could not be built"]
    assert os.readlink(site.images / "upper") == "upper-1"
    site.lock("lower").write_text(good)


@pytest.mark.parametrize("options", [(), ("--no-publish",)])
def test_an_image_on_a_base_without_tests_is_made_and_tested_but_not_published(
    site: Site, options: tuple[str, ...]
) -> None:
    site.recipe(file_stage("a"), image="lower", tests="")
    site.recipe(file_stage("b"), image="upper", base="lower")
    ended = site.run("build", "upper", *options, "--json")
    images = ended.images()
    assert ended.exit_code == 5
    assert {name: image["version"] for name, image in images.items()} == {"lower": 1, "upper": 1}
    assert images["upper"]["verified"] and images["upper"]["exit_code"] == (0 if options else 5)
    why = "upper@1 is not published: its base lower@1 is not verified (it has no tests)"
    assert (why in ended.err) == (not options)

    published = site.run("publish", "upper")
    assert published.exit_code == 5 and why in published.err
    assert "run: pipeline verify lower@1" in published.err
    assert not (site.images / "upper").exists()

    site.recipe(file_stage("a"), image="lower")
    assert site.run("verify", "lower@1").exit_code == 0
    assert site.run("publish", "upper").exit_code == 0
    assert (site.images / "upper/etc/b").exists()


def test_unverified_publishes_an_image_and_its_base_both_without_tests(site: Site) -> None:
    site.recipe(file_stage("a"), image="lower", tests="")
    site.recipe(file_stage("b"), image="upper", base="lower", tests="")
    assert site.run("build", "upper", "--unverified").exit_code == 5
    assert (site.images / "upper/etc/a").exists() and (site.images / "lower/etc/a").exists()
