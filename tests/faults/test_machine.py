"""Machines that lack something: exit 3 with the reason, all at once."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.site import Site, file_stage

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def readable(site: Site) -> Site:
    """The site, where everybody can read and write it."""
    folder = site.path
    while folder != Path("/"):
        folder.chmod(folder.stat().st_mode | 0o755)
        folder = folder.parent
    for path in (site.path, site.path / "recipes"):
        path.chmod(0o777)
    return site


@pytest.mark.parametrize(
    "words",
    [("build",), ("lock",), ("publish", "web"), ("verify", "web"), ("shell", "web"), ("rollback", "web")],
)
def test_without_root_what_needs_it_exits_3_with_the_reason_and_touches_nothing(
    readable: Site, words: tuple[str, ...]
) -> None:
    readable.recipe(file_stage("a"))
    ended = readable.run(*words, before=NOBODY)
    assert ended.exit_code == 3, ended.err
    assert "root" in ended.err
    readable.check_nothing_ran()


def test_a_wrong_recipe_is_told_also_without_root(readable: Site) -> None:
    readable.recipe(file_stage("a").replace("path", "pat"))
    ended = readable.run("build", before=NOBODY)
    assert ended.exit_code == 2
    readable.check_nothing_ran()


def test_without_root_what_only_looks_works(readable: Site) -> None:
    readable.recipe(file_stage("a"))
    assert readable.run("build").exit_code == 0
    for words in (("stages",), ("schema",)):
        ended = readable.run(*words, before=NOBODY)
        assert ended.exit_code == 0, (words, ended.err)


def test_without_root_the_store_is_closed_and_says_why(readable: Site) -> None:
    readable.recipe(file_stage("a"))
    assert readable.run("build").exit_code == 0
    for words in (("versions",), ("show", "web"), ("fsck",)):
        ended = readable.run(*words, before=NOBODY)
        assert ended.exit_code == 3, (words, ended.err)
        assert "root" in ended.err


def test_what_the_lab_lacks_is_told_all_at_once_with_the_packages(site: Site, tmp_path: Path) -> None:
    site.settle(f'[lab]\nhome = "{tmp_path}/lab"\n')
    site.recipe(file_stage("a"), base="openstack-image")
    bare = tmp_path / "bin"
    bare.mkdir()
    for program in ("sh", "env"):
        (bare / program).symlink_to(shutil.which(program) or "")
    ended = site.run("build", before=("env", f"PATH={bare}"))
    assert ended.exit_code == 3, ended.err
    for program in ("rpmbuild", "dpkg-deb", "rpm"):
        assert program in ended.err
    assert not (tmp_path / "lab/images").exists()


def test_a_store_on_overlayfs_is_refused_with_the_reason(site: Site, tmp_path: Path) -> None:
    site.recipe(file_stage("a"))
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    place = tmp_path / "merged"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(place)], check=True)
    text = (site.path / "pipeline.toml").read_text()
    (site.path / "pipeline.toml").write_text(text.replace('store = "store"', f'store = "{place}/store"'))
    try:
        ended = site.run("build")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert ended.exit_code == 3, ended.err
    assert "overlayfs" in ended.err and "hint: " in ended.err


def test_a_recipe_folder_that_cannot_be_written_is_told_and_what_is_built_is_kept(site: Site) -> None:
    recipe = site.recipe(file_stage("a"))
    folder = recipe.parent
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        ended = site.run("build")
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert ended.exit_code == 1
    assert f"{folder}/recipe.lock" in ended.err or "recipes/web/recipe.lock" in ended.err
    assert not site.lock().exists()
    ended = site.run("build", "--json")
    assert ended.exit_code == 0
    assert [stage["cached"] for stage in ended.images()["web"]["stages"]] == [True]


def test_nothing_of_the_environment_gets_into_an_image(site: Site) -> None:
    from tests.faults.site import add_shell, command_stage

    add_shell(site.base)
    site.recipe(command_stage("env", "set > /etc/environment"))
    os.environ["PIPELINE_SECRET"] = "secret-word"
    try:
        assert site.run("build").exit_code == 0
    finally:
        del os.environ["PIPELINE_SECRET"]
    assert "secret-word" not in (site.images / "web/etc/environment").read_text()
