"""A machine that loses its power: what was only in memory is gone, and what was told as done is there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.archives import tar_with
from tests.faults.site import Site, archive_stage, file_stage, until

FAILS = '\n[[stage]]\nname = "fails"\ntype = "edit"\nfile = "/etc/passwd"\nafter = "nowhere"\ninsert = "x"\n'


@pytest.fixture
def forgetful(disk: Path) -> Path:
    """A disk to which nothing is written until somebody asks for it."""
    subprocess.run(["mount", "-o", "remount,commit=900", str(disk)], check=True)
    return disk


def remember(site: Site) -> None:
    """Let this be the moment at which the power goes."""
    shutil.copyfile(site.path.parent / "disk.img", site.path.parent / "copy.img")


def lose_power(site: Site, disk: Path) -> None:
    """Go on with what the disk holds now, or held when it was remembered; the rest was in memory only."""
    image, copy = site.path.parent / "disk.img", site.path.parent / "copy.img"
    if not copy.exists():
        remember(site)
    subprocess.run(["umount", str(disk)], check=True)
    copy.rename(image)
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)


def prepare(site: Site) -> tuple[str, ...]:
    """Stages with enough files in them for some to be lost."""
    (site.path / "a.tar").write_bytes(tar_with({f"file{number}": b"x" * 9000 for number in range(50)}))
    return file_stage("first"), archive_stage("a.tar", name="second")


def test_stages_that_were_done_before_the_power_went_are_there_and_whole(site: Site, forgetful: Path) -> None:
    stages = prepare(site)
    site.recipe(*stages, FAILS)
    assert site.run("build", "--no-publish").exit_code == 1
    lose_power(site, forgetful)
    site.check_whole()
    site.recipe(*stages)
    ended = site.run("build", "--no-publish", "--json")
    assert ended.exit_code == 0, ended.err
    assert [stage["cached"] for stage in ended.images()["web"]["stages"]] == [True, True]


def test_a_version_that_was_told_before_the_power_went_is_there_with_its_tests(
    site: Site, forgetful: Path
) -> None:
    site.recipe(*prepare(site))
    before = site.run("build", "--no-publish", "--json").images()["web"]
    lose_power(site, forgetful)
    site.check_whole()
    ended = site.run("show", "web", "--json")
    assert ended.exit_code == 0, ended.err
    assert before["tree"] in ended.out
    ended = site.run("publish", "web@1")
    assert ended.exit_code == 0, ended.err
    assert (site.images / "web/opt/x/file49").read_bytes() == b"x" * 9000


def test_a_version_is_whole_before_its_tests_begin(site: Site, forgetful: Path) -> None:
    sign = site.path.parent / "sign"
    waits = f'import os\nimport time\n\n\ndef test_it(host):\n    os.mkdir("{sign}")\n    time.sleep(300)\n'
    site.recipe(*prepare(site), tests=waits)
    process = site.start("build", "--no-publish")
    until(sign.is_dir, "its tests run")
    remember(site)
    process.kill()
    process.communicate()
    until(lambda: not site.processes(), "the tests end")
    lose_power(site, forgetful)
    site.check_whole()
    ended = site.run("publish", "web@1", "--unverified")
    assert ended.exit_code == 0, ended.err
    assert (site.images / "web/opt/x/file49").read_bytes() == b"x" * 9000


def test_a_store_that_was_just_made_is_a_store_or_none(site: Site, forgetful: Path) -> None:
    site.recipe(FAILS)
    assert site.run("build", "--no-publish").exit_code == 1
    lose_power(site, forgetful)
    site.recipe(file_stage("first"))
    assert site.run("build", "--no-publish").exit_code == 0
    site.check_whole()
