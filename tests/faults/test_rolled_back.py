"""A base that was rolled back: whoever builds what stands on it does not publish it again."""

from __future__ import annotations

import os
from collections.abc import Callable

from pipeline.build.job import BuildOptions
from pipeline.build.outcome import ImageOutcome
from pipeline.build.session import build
from pipeline.events import Event, StageStarted
from pipeline.recipe.site import load_site
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


def built_while(site: Site, meanwhile: Callable[[], object]) -> ImageOutcome:
    """Build ``web``; ``meanwhile`` is called when the stage ``mine`` begins."""

    def hear(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "mine":
            meanwhile()

    [outcome] = build(load_site(site.path / "pipeline.toml"), ["web"], BuildOptions(), hear, None)
    assert outcome.exit_code == 0, outcome.problems
    return outcome


def test_a_build_does_not_undo_what_was_published_or_rolled_back_while_it_ran(site: Site) -> None:
    for number in (1, 2):
        site.recipe(file_stage("one", f"{number}"))
        built(site)
    site.recipe(file_stage("mine"))
    outcome = built_while(site, lambda: site.run("rollback", "web"))
    why = "web stays at @1: it was published or rolled back while web@3 was built"
    assert outcome.stays == f"{why}; run: pipeline publish web@3"
    assert published(site, "web") == "web-1" and outcome.published is None and outcome.verified
    assert site.run("publish", "web@3").exit_code == 0

    def another() -> None:
        """A newer recipe's build, which ends first, and is not wanted after all."""
        site.recipe(file_stage("newer"))
        built(site)
        assert site.run("rollback", "web").exit_code == 0

    site.recipe(file_stage("mine", "older"))
    outcome = built_while(site, another)
    assert outcome.version == 5 and outcome.stays and published(site, "web") == "web-3"
    site.recipe(file_stage("mine", "again"))
    outcome = built_while(site, lambda: site.run("unpublish", "web"))
    assert outcome.stays == "web was unpublished while web@6 was built; run: pipeline publish web@6"
    assert not os.path.lexists(site.images / "web")


def test_what_is_published_while_an_unpublished_image_is_built_stays(site: Site) -> None:
    site.recipe(file_stage("mine"))
    assert built_while(site, lambda: None).stays is None
    assert site.run("unpublish", "web").exit_code == 0
    site.recipe(file_stage("mine", "new"))
    outcome = built_while(site, lambda: site.run("publish", "web@1"))
    assert outcome.stays and "web stays at @1" in outcome.stays
    assert published(site, "web") == "web-1"
