"""Versions whose tests fail, and recipes that are odd but right."""

from __future__ import annotations

import os

import pytest

from tests.faults.site import PASSWD, TESTS, Site, file_stage

FAILS = TESTS + "\n\ndef test_that_fails(host):\n    assert host.file('/etc/a').content_string == 'b'\n"


def test_a_version_that_fails_its_tests_exists_is_told_and_is_not_published(site: Site) -> None:
    site.recipe(file_stage("a"), tests=FAILS)
    ended = site.run("build")
    assert ended.exit_code == 5
    assert "test_that_fails" in ended.err
    assert "web@1 has not passed its tests: only --unverified publishes it" in ended.err
    assert "run: pipeline shell web@1" in ended.err
    assert "1 of 2 passed" in ended.out
    assert not (site.images / "web").exists()
    assert "web@1" in site.run("versions").out

    assert site.run("publish", "web@1").exit_code == 5
    assert not (site.images / "web").exists()
    assert site.run("publish", "web@1", "--unverified").exit_code == 0
    assert (site.images / "web/etc/a").read_text() == "a"


SKIPS = """
import pytest

def test_that_is_skipped():
    pytest.skip("not here")

@pytest.mark.xfail
def test_that_is_known_to_fail():
    assert False
"""


def test_tests_that_say_nothing_are_counted_apart(site: Site) -> None:
    site.recipe(file_stage("a"), tests=TESTS + SKIPS)
    ended = site.run("build")
    assert ended.exit_code == 0, ended.err
    said = "1 of 3 passed, 1 skipped, 1 expected to fail"
    assert f"tests: {said}\n" in ended.out
    assert f"web@1: {said};" in site.run("verify", "web@1").out
    assert "passed: 1 of 3, 1 skipped, 1 expected to fail" in site.run("show", "web@1").out
    [image] = site.run("build", "--json").json()["images"]
    assert (image["tests"], image["skipped"], image["expected_to_fail"]) == ([1, 3], 1, 1)


def test_a_version_of_which_no_test_passed_is_not_published_and_why_is_told(site: Site) -> None:
    site.recipe(file_stage("a"), tests=SKIPS)
    ended = site.run("build")
    assert ended.exit_code == 5
    assert (
        "web@1 has not passed its tests (no test passed: all were skipped or expected to fail)" in ended.err
    )
    assert "tests: 0 of 2 passed, 1 skipped, 1 expected to fail\n" in ended.out
    refused = site.run("publish", "web@1")
    assert refused.exit_code == 5
    assert "web@1 is not published: of its tests all were skipped or expected to fail" in refused.err
    assert "no test passed, all were" in site.run("verify", "web@1").err


def test_a_bad_version_leaves_the_good_one_published(site: Site) -> None:
    site.recipe(file_stage("a"))
    assert site.run("build").exit_code == 0
    site.recipe(file_stage("a"), file_stage("b"), tests=FAILS)
    assert site.run("build").exit_code == 5
    assert os.readlink(site.images / "web") == "web-1"
    assert site.run("build", "--unverified").exit_code == 5
    assert os.readlink(site.images / "web") == "web-2"


def test_tests_that_were_mended_are_run_again_on_the_same_version(site: Site) -> None:
    site.recipe(file_stage("a"), tests=FAILS)
    assert site.run("build").exit_code == 5
    site.recipe(file_stage("a"))
    ended = site.run("build", "--json")
    assert ended.exit_code == 0
    [image] = ended.json()["images"]
    assert image["version"] == 1 and image["verified"]
    assert all(stage["cached"] for stage in image["stages"])


def test_a_recipe_without_tests_is_not_published_and_told_what_it_lacks(site: Site) -> None:
    site.recipe(file_stage("a"), tests="")
    ended = site.run("build")
    assert ended.exit_code == 5
    assert "recipes/web/test_image.py" in ended.err


@pytest.mark.parametrize("text", ["import nonsense_that_is_not_there\n", "def test_(:\n", "x = 1 / 0\n"])
def test_tests_that_cannot_even_be_read_are_a_failure_with_their_words(site: Site, text: str) -> None:
    site.recipe(file_stage("a"), tests=text)
    ended = site.run("build")
    assert ended.exit_code == 5
    assert "test_image.py" in ended.err
    assert not (site.images / "web").exists()


def test_an_image_with_no_stages_is_its_base(site: Site) -> None:
    site.recipe()
    ended = site.run("build")
    assert ended.exit_code == 0, ended.err
    assert (site.images / "web/etc/passwd").read_text() == PASSWD


@pytest.mark.parametrize("name", ["web.example.com", "v1.2-rc_3", "x"])
def test_names_with_dots_and_the_like_are_names(site: Site, name: str) -> None:
    site.recipe(file_stage("a"), image=name)
    ended = site.run("build")
    assert ended.exit_code == 0, ended.err
    assert (site.images / name / "etc/a").read_text() == "a"
    assert os.readlink(site.images / name) == f"{name}-1"


@pytest.mark.parametrize("asked", [(), ("web",), ("web-1",)])
def test_an_image_that_is_called_like_a_version_of_another_is_refused(
    site: Site, asked: tuple[str, ...]
) -> None:
    site.recipe(file_stage("a"), image="web")
    site.recipe(file_stage("b"), image="web-1")
    ended = site.run("build", *asked)
    assert ended.exit_code == 2
    assert f'{site.line("name =", "web-1")}: [image]: the name "web-1" is that of a version' in ended.err
    assert 'the image "web"' in ended.err
    site.check_nothing_ran()
