"""A base that was rolled back: whoever builds what stands on it does not publish it again."""

from __future__ import annotations

import os

from tests.faults.site import Ended, Site, file_stage


def published(site: Site, image: str) -> str:
    return os.readlink(site.images / image)


def built(site: Site, *words: str) -> Ended:
    ended = site.run("build", *words)
    assert ended.exit_code == 0, ended.err
    return ended


def test_building_an_image_does_not_undo_a_rollback_of_its_base(site: Site) -> None:
    site.recipe(file_stage("one"), image="under")
    site.recipe(file_stage("own"), image="over", base="under")
    built(site, "over")
    assert published(site, "under").endswith("under-1"), "a base that is not published yet is"
    site.recipe(file_stage("two"), image="under")
    built(site, "over")
    assert published(site, "under").endswith("under-2"), "one whose newest version is published is, too"
    assert site.run("rollback", "under").exit_code == 0
    ended = built(site, "over")
    assert published(site, "under").endswith("under-1")
    assert "under stays at @1: it was rolled back" in ended.out
    site.recipe(file_stage("three"), image="under")
    ended = built(site, "over", "--json")
    assert published(site, "under").endswith("under-1")
    assert ended.images()["under"]["version"] == 3
    assert ended.images()["under"]["stays"] == "under stays at @1: it was rolled back"
    assert published(site, "over").endswith(f"over-{ended.images()['over']['version']}")
    built(site, "under")
    assert published(site, "under").endswith("under-3"), "by its name it is asked for"
    assert site.run("rollback", "under").exit_code == 0
    built(site)
    assert published(site, "under").endswith("under-3"), "all images are asked for"


def test_a_version_of_a_base_that_failed_its_tests_is_no_rollback(site: Site) -> None:
    site.recipe(file_stage("one"), image="under")
    site.recipe(file_stage("own"), image="over", base="under")
    built(site, "over")
    site.recipe(file_stage("two"), image="under", tests="def test_bad(): assert 0\n")
    assert site.run("build", "over").exit_code == 5
    site.recipe(file_stage("three"), image="under")
    built(site, "over")
    assert published(site, "under").endswith("under-3")


def test_a_base_that_was_built_and_not_published_stays(site: Site) -> None:
    site.recipe(file_stage("one"), image="under")
    site.recipe(file_stage("own"), image="over", base="under")
    built(site, "over")
    site.recipe(file_stage("two"), image="under")
    built(site, "--no-publish", "under")
    assert "under stays at @1: @2 was made and not published" in built(site, "over").out
    assert published(site, "under").endswith("under-1")
