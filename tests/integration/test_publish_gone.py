"""Directories that were published by copying and are lost, and images directories that are not there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_versions import Place, make_place, motd, private_mounts, says

from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.publish.publication import publish
from pipeline.publish.restoring import restore

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with private_mounts():
        yield make_place(tmp_path / "site", "copy")


def test_a_copy_that_is_lost_is_told_and_made_again(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    version = place.version(says("one"))
    target = publish(place.site, place.store, version)
    shutil.rmtree(target)
    at = ["--site", str(place.site.file)]
    for words, said in (
        (["versions"], "published, GONE: pipeline publish --restore"),
        (["doctor"], f"gone: {target}\n"),
        (["publish", "--restore", "--dry-run"], f"{target} would be copied again"),
        (["publish", "--restore"], f"{target} is copied again"),
        (["publish", "--restore"], "all is mounted"),
    ):
        main([*words, *at])
        assert said in capsys.readouterr().out, words
    assert motd(place) == "one"


@pytest.mark.parametrize("disk", [False, True])
def test_copies_are_not_made_again_where_the_images_directory_is_not_there(
    place: Place, disk: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    target = publish(place.site, place.store, place.version(says("one")))
    publish(place.site, place.store, place.version(says("two")))
    other = place.site.images.with_name("unmounted")
    place.site.images.rename(other)
    at, make = ["--site", str(place.site.file)], f"mkdir -p {place.site.images}"
    for words, said in (
        (["versions"], "published, GONE: pipeline publish --restore"),
        (["doctor"], str(target)),
    ):
        main([*words, *at])
        assert said in capsys.readouterr().out
    for words in (["publish", "--restore", "--dry-run"], ["publish", "--restore"]):
        assert main([*words, *at]) == 1
        told = capsys.readouterr().err
        assert told.count("pipeline: ") == 1
        assert f"the images directory {place.site.images} is gone" in told
        assert f"mount it, and run the same command again; if it was removed, make it first: {make}\n" in told
        assert not place.site.images.exists()
    if disk:
        other.rename(place.site.images)
    else:
        place.site.images.mkdir()
    assert main(["publish", "--restore", *at]) == 0
    assert ("is copied again" in capsys.readouterr().out) == (not disk)
    assert motd(place) == "two"


def test_an_images_directory_that_leads_nowhere_is_named_with_the_remedy(
    place: Place, tmp_path: Path
) -> None:
    version = place.version(says("one"))
    real = tmp_path / "real"
    real.mkdir()
    place.site.images.symlink_to(real)
    publish(place.site, place.store, version)
    shutil.rmtree(real)
    with pytest.raises(PipelineError, match=rf"images directory {place.site.images} is gone") as caught:
        restore(place.site, place.store)
    assert caught.value.problems[0].command == f"mkdir -p {real}"


@pytest.mark.parametrize("mode", ["copy", "overlay"])
def test_a_new_images_directory_is_open_to_all_whatever_the_umask(tmp_path: Path, mode: str) -> None:
    old = os.umask(0o077)
    try:
        with private_mounts():
            site = make_place(tmp_path / "site", mode)
            site.site.images.parent.chmod(0o755)
            publish(site.site, site.store, site.version(says("one")))
            assert site.site.images.stat().st_mode & 0o777 == 0o755
            assert site.store.path.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(old)


@pytest.mark.parametrize("image", ["web", "shop"])
def test_copies_are_not_made_in_an_images_directory_that_is_not_there_any_more(
    place: Place, image: str, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(place.site, place.store, place.version(says("one")))
    publish(place.site, place.store, place.version(says("two")))
    place.version(says("three"), image=image)
    place.site.images.rename(place.site.images.with_name("unmounted"))
    at = ["--site", str(place.site.file)]
    for words in (["publish", image], ["rollback", "web"]):
        assert main([*words, *at]) == 1
        said = capsys.readouterr().err
        assert f"the images directory {place.site.images} is gone" in said
        assert f"make it first: mkdir -p {place.site.images}" in said
        assert not place.site.images.exists()
    place.site.images.mkdir()
    assert main(["publish", image, *at]) == 0
