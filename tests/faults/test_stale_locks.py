"""Locks that rest on something else than is there: an answer of the package manager that is none any more."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.faults.repository import HOST, REPOSITORY, URL, needs_programs, site_beside
from tests.faults.site import TESTS, Site, command_stage
from tests.small_rpms import Package, build_packages

GOOD = '\n[[stage]]\nname = "good"\ntype = "packages"\ninstall = ["good"]\n'
NO_GOOD = '\n[[stage]]\nname = "no-good"\ntype = "packages"\nremove = ["good"]\n'

pytestmark = [
    needs_programs,
    pytest.mark.xdist_group("stale-locks"),
]


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vendor")
    for name in ("repo", "other"):
        offer(folder, name, Package("good"))
    return folder


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, vendor: Path, lab_images: Mapping[str, Path]
) -> Iterator[Site]:
    site = tmp_path_factory.mktemp("site")
    with site_beside(vendor / "root", site, lab_images["virtual-node-image"]) as made:
        yield made


def offer(vendor: Path, repository: str, *packages: Package) -> None:
    """Add ``packages`` to a repository below ``HOST``."""
    out = vendor / "root" / repository
    build_packages(packages, vendor / f"{repository}.spec", out)
    subprocess.run(["createrepo_c", "-q", str(out)], check=True)


def has_good(site: Site, image: str) -> bool:
    ended = site.run("shell", image, "--", "rpm", "-q", "good")
    assert ended.exit_code in (0, 1), ended.err
    return ended.exit_code == 0


def refused(site: Site, image: str, said: str, *, known: bool = True) -> None:
    """``--locked`` names the stage and changes nothing; ``lock --check`` does as far as it can know."""
    before = site.lock(image).read_bytes()
    for words in ([["lock", "--check", image]] if known else []) + [
        ["build", "--locked", "--no-publish", image]
    ]:
        ended = site.run(*words)
        assert ended.exit_code == 4, (words, ended.err)
        assert said in ended.err and re.search(rf"recipes/{image}/recipe.toml:\d+: ", ended.err), ended.err
        assert f"run: pipeline lock {image}" in ended.err
    assert site.lock(image).read_bytes() == before


def test_packages_that_a_base_recipe_brings_no_more_are_locked_anew(shared: Site) -> None:
    shared.recipe(REPOSITORY, GOOD, image="under", base="lab", tests=TESTS)
    shared.recipe(GOOD, image="over", base="under", tests=TESTS)
    assert shared.run("build", "--no-publish", "over", timeout=120).exit_code == 0
    shared.recipe(REPOSITORY, image="under", base="lab", tests=TESTS)
    assert shared.run("build", "--no-publish", "under", timeout=120).exit_code == 0
    refused(shared, "over", 'the packages before stage "good" are not those')
    ended = shared.run("build", "--no-publish", "over", timeout=120)
    assert ended.exit_code == 0, ended.err
    assert "recipe.lock is renewed: recipes/over/recipe.toml" in ended.err
    assert has_good(shared, "over")


def test_packages_that_a_command_removes_no_more_are_removed_as_asked(shared: Site) -> None:
    away = command_stage("away", "rpm -e good")
    shared.recipe(REPOSITORY, GOOD, away, NO_GOOD, image="away", base="lab", tests=TESTS)
    first = shared.run("build", "--no-publish", "away", timeout=120)
    assert first.exit_code == 0, first.err
    shared.recipe(
        REPOSITORY, GOOD, command_stage("away", "true"), NO_GOOD, image="away", base="lab", tests=TESTS
    )
    refused(shared, "away", 'the packages before stage "no-good" are not those', known=False)
    ended = shared.run("build", "--no-publish", "away", timeout=120)
    assert ended.exit_code == 0, ended.err
    assert not has_good(shared, "away")


def test_another_repository_is_another_lock(shared: Site) -> None:
    shared.recipe(REPOSITORY, GOOD, image="moved", base="lab", tests=TESTS)
    assert shared.run("build", "--no-publish", "moved", timeout=120).exit_code == 0
    other = REPOSITORY.replace(URL, URL.replace("repo", "other"))
    shared.recipe(other, GOOD, image="moved", base="lab", tests=TESTS)
    refused(shared, "moved", 'the repositories before stage "good" are not those')
    assert shared.run("build", "--no-publish", "moved", timeout=120).exit_code == 0
    assert "packages.invalid/other/" in shared.lock("moved").read_text()


def test_what_is_locked_to_be_removed_has_to_be_there(shared: Site) -> None:
    shared.recipe(REPOSITORY, GOOD, NO_GOOD, image="forged", base="lab", tests=TESTS)
    assert shared.run("build", "--no-publish", "forged", timeout=120).exit_code == 0
    lock = shared.lock("forged")
    lock.write_text(
        lock.read_text().replace('remove = [ "good-1.0-1.noarch",]', 'remove = [ "god-1.0-1.noarch",]')
    )
    assert "god-1.0" in lock.read_text()
    ended = shared.run("build", "--locked", "--no-publish", "forged", timeout=120)
    assert ended.exit_code == 1
    assert "god-1.0-1.noarch is locked to be removed, and is not installed" in ended.err


@pytest.mark.parametrize("trouble", ["a typo", "the repository is down"])
def test_a_failed_build_leaves_a_good_lock_as_it_is(shared: Site, vendor: Path, trouble: str) -> None:
    image, repository = f"kept-{len(trouble)}", f"growing-{len(trouble)}"
    offer(vendor, repository, Package("early"), Package("good"))
    there = REPOSITORY.replace(URL, f"{HOST}/{repository}")
    early = '\n[[stage]]\nname = "early"\ntype = "packages"\ninstall = ["early"]\n'
    shared.recipe(there, early, GOOD, image=image, base="lab", tests=TESTS)
    first = shared.run("build", "--no-publish", "--json", image)
    assert first.exit_code == 0, first.err
    lock = shared.lock(image).read_bytes()
    offer(vendor, repository, Package("good", version="2.0"))
    root = vendor / "root" / repository
    if trouble == "a typo":
        edited = early.replace('["early"]', '["erly"]')
    else:
        edited = early.replace('["early"]', '["early", "tcsh"]')
        root.rename(root.with_suffix(".away"))
    shared.recipe(there, edited, GOOD, image=image, base="lab", tests=TESTS)
    assert shared.run("build", "--no-publish", image).exit_code == 1
    assert shared.lock(image).read_bytes() == lock
    shared.recipe(there, early, GOOD, image=image, base="lab", tests=TESTS)
    again = shared.run("build", "--locked", "--no-publish", "--json", image)
    assert again.exit_code == 0, again.err
    assert again.images()[image]["version"] == first.images()[image]["version"]
