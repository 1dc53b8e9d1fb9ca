"""Packages that cannot be had or do not install: the package manager's words, the stage, and the way in."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.faults.repository import HOST, REPOSITORY, URL, needs_programs, site_beside
from tests.faults.site import TESTS, Site, make_site
from tests.servers import guarded_server
from tests.small_rpms import Package, build_packages

PACKAGES = (
    Package("good"),
    Package("against-good", tags="Conflicts: good"),
    Package("needy", tags="Requires: what-nobody-has"),
    Package("breaks-before", scripts="%pre -n breaks-before\necho about to break >&2\nexit 4"),
    Package(
        "breaks-built",
        scripts="%pre -n breaks-built\ntest -d /run/pipeline/out && exit 0\necho about to break >&2\nexit 4",
    ),
    Package("breaks-after", scripts="%post -n breaks-after\necho about to break >&2\nexit 3"),
)
"""``breaks-built`` installs in the throwaway root of locking, and breaks when it is built from the lock."""

pytestmark = [
    needs_programs,
    pytest.mark.xdist_group("packages"),
]


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of packages that are trouble, for a mirror."""
    folder = tmp_path_factory.mktemp("vendor")
    out = folder / "root/repo"
    build_packages(PACKAGES, folder / "faults.spec", out)
    subprocess.run(["createrepo_c", "-q", str(out)], check=True)
    return folder / "root"


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, vendor: Path, lab_images: Mapping[str, Path]
) -> Iterator[Site]:
    """A site whose store has the lab's image: importing it takes seconds."""
    with site_beside(vendor, tmp_path_factory.mktemp("site"), lab_images["virtual-node-image"]) as made:
        yield made


def packages(words: str, name: str = "trouble") -> str:
    return f'\n[[stage]]\nname = "{name}"\ntype = "packages"\n{words}\n'


TROUBLES = {
    "unknown": ('install = ["no-such-package"]', "no-such-package"),
    "needs what nobody has": ('install = ["needy"]', "what-nobody-has"),
    "conflicts": ('install = ["good", "against-good"]', "conflicts with good"),
    "fails before": ('install = ["breaks-before"]', "about to break"),
    "fails only from the lock": ('install = ["breaks-built"]', "about to break"),
    "fails after": ('install = ["breaks-after"]', "about to break"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_the_package_managers_words_the_stage_and_the_way_in_are_told(shared: Site, trouble: str) -> None:
    words, told = TROUBLES[trouble]
    image = trouble.replace(" ", "-")
    shared.recipe(REPOSITORY, packages(words), image=image, base="lab", tests=TESTS)
    ended = shared.run("build", image, timeout=120)
    assert ended.exit_code == 1, ended.err
    place = shared.line("[[stage]]", image).rpartition(":")[0]
    number = (shared.path / place).read_text().split('name = "trouble"')[0].count("\n")
    assert f'{place}:{number}: stage "trouble": ' in ended.err, ended.err
    assert any(line.startswith("  | ") and told in line for line in ended.err.splitlines()), ended.err
    assert f"run: pipeline shell {image} --stage trouble" in ended.err
    inside = shared.run("shell", image, "--stage", "trouble", "--", "rpm", "-q", "bash")
    assert inside.exit_code == 0, inside.err
    assert inside.out.startswith("bash-")
    assert "trouble" not in shared.layers()


def test_a_repository_that_answers_no_more_is_told_with_its_url(shared: Site) -> None:
    gone = REPOSITORY.replace(URL, f"{URL}-that-is-gone")
    shared.recipe(gone, packages('install = ["good"]'), image="gone", base="lab")
    ended = shared.run("build", "gone", timeout=120)
    assert ended.exit_code == 1
    assert 'stage "trouble": ' in ended.err
    assert "repo-that-is-gone" in ended.err and "404" in ended.err


def test_a_repository_missing_behind_a_directory_is_told_as_the_recipe_has_it(
    tmp_path: Path, lab_images: Mapping[str, Path]
) -> None:
    site = make_site(tmp_path)
    folder = tmp_path / "mirror of it"
    folder.mkdir()
    site.settle(f'[mirrors]\n"{HOST}" = "{folder}"\n', bases=f'lab = "{lab_images["virtual-node-image"]}"\n')
    site.recipe(REPOSITORY, packages('install = ["good"]'), image="gone", base="lab")
    ended = site.run("build", "gone")
    assert ended.exit_code == 1
    assert f"{URL}/repodata/repomd.xml ({folder}/repo/repodata/repomd.xml)" in ended.err, ended.err
    assert "127.0.0.1" not in ended.err


def test_a_repository_that_only_the_package_manager_gets_into_is_locked(shared: Site, vendor: Path) -> None:
    """By the lists and the package that it has downloaded; this machine knows no password."""
    with guarded_server(vendor, "u", "p") as url:
        known = REPOSITORY.replace(HOST, url) + 'options = { username = "u", password = "p" }\n'
        shared.recipe(known, packages('install = ["good"]'), image="guarded", base="lab")
        ended = shared.run("lock", "guarded", timeout=120)
    assert ended.exit_code == 0, ended.err
    assert f'location = "{url}/repo/good-1.0-1.noarch.rpm"' in shared.lock("guarded").read_text()
    ended = shared.run("build", "--locked", "--no-publish", "guarded", timeout=120)
    assert ended.exit_code in (0, 5), ended.err


def test_a_package_url_that_is_no_package_is_told(shared: Site) -> None:
    (shared.path / "no.rpm").write_text("<html></html>")
    shared.recipe(packages('install = ["no.rpm"]'), image="fake", base="lab")
    ended = shared.run("build", "fake", timeout=120)
    assert ended.exit_code == 1
    assert f'{shared.line("[[stage]]", "fake")}: stage "trouble": ' in ended.err
    assert 'stage "trouble": no.rpm: is no RPM' in ended.err


@pytest.mark.parametrize("image", ["header", "payload"])
def test_an_rpm_that_came_half_is_told_and_fetched_anew_when_locked(
    shared: Site, vendor: Path, image: str
) -> None:
    """The image is named after the part of it that was cut."""
    [good] = (vendor / "repo").glob("good-*.rpm")
    whole, url, served = good.read_bytes(), f"{URL}/{image}.rpm", vendor / f"repo/{image}.rpm"
    served.write_bytes(whole[:-8] if image == "payload" else whole[: len(whole) // 2])
    shared.recipe(packages(f'install = ["{url}"]'), image=image, base="lab")
    for _ in range(2):
        ended = shared.run("build", image, timeout=120)
        assert ended.exit_code == 1
        assert f'stage "trouble": {url}: is damaged, or not all of it is there' in ended.err
        assert "no build tries another" in ended.err and f"run: pipeline lock {image}\n" in ended.err
        served.write_bytes(whole)
    assert shared.run("lock", image, timeout=120).exit_code == 0
    assert shared.run("build", image, timeout=120).exit_code == 0


def test_after_all_this_trouble_the_store_is_whole_and_a_good_package_installs(shared: Site) -> None:
    shared.recipe(REPOSITORY, packages('install = ["good"]', name="good"), image="good", base="lab")
    ended = shared.run("build", "good", "--json", timeout=120)
    assert ended.exit_code == 0, ended.err
    assert [stage["packages"] for stage in ended.images()["good"]["stages"]] == [0, 1]
    shared.check_whole()
