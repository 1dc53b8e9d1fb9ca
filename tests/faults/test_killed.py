"""Killed at any moment, in every way: nothing is mounted or runs, the store is whole, the next goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from time import monotonic, sleep

import pytest

from tests.faults.archives import tar_with
from tests.faults.site import (
    Site,
    add_shell,
    archive_stage,
    command_stage,
    file_stage,
    make_old,
    make_site,
    until,
)

KILLS = int(os.environ.get("PIPELINE_FAULTS_KILLS", "4"))
"""Kills for each way of killing: each falls into another part of what is killed (``moments``)."""

SEED = int(os.environ.get("PIPELINE_FAULTS_SEED") or random.SystemRandom().randrange(1 << 30))
"""When to kill; every test prints it."""

STAGES = (
    file_stage("first"),
    archive_stage("a.tar", name="second"),
    command_stage(
        "third", "for n in 1 2 3 4 5 6 7 8 9; do echo $n > /etc/third$n; sleep 0.02; done; sleep 60 &"
    ),
    file_stage("fourth"),
    file_stage("fifth"),
)
NAMES = ("first", "second", "third", "fourth", "fifth")


def prepare(site: Site) -> Site:
    """Two images of five stages, the second of which stands on the first."""
    add_shell(site.base)
    files = {f"d{number}/file": os.urandom(20_000) for number in range(100)}
    (site.path / "a.tar").write_bytes(tar_with(files))
    for number in range(200):
        (site.base / f"etc/many{number}").write_text("x" * 1000)
    make_old(site.base)
    site.recipe(*STAGES)
    site.recipe(file_stage("sixth"), image="above", base="web")
    return site


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, dict[str, str], float]:
    """A site built in peace, the digests of its images, and the seconds that it took."""
    site = prepare(make_site(tmp_path_factory.mktemp("peace")))
    ended = site.run("build", "--json", "--no-publish")
    assert ended.exit_code == 0, ended.err
    images = ended.images()
    return site, {name: image["tree"] for name, image in images.items()}, ended_seconds(images)


def ended_seconds(images: dict[str, dict[str, float]]) -> float:
    return sum(image["seconds"] for image in images.values())


@pytest.fixture
def two_images(site: Site, undisturbed: tuple[Site, dict[str, str], float]) -> Site:
    """A site with the same base, sources and recipes."""
    peace = undisturbed[0]
    subprocess.run(["rm", "-r", str(site.base)], check=True)
    subprocess.run(["cp", "-a", str(peace.base), str(site.base)], check=True)
    (site.path / "a.tar").write_bytes((peace.path / "a.tar").read_bytes())
    site.recipe(*STAGES)
    site.recipe(file_stage("sixth"), image="above", base="web")
    return site


def moments(first: float, last: float, count: int) -> list[float]:
    """Seconds after which to kill: one in each of so many equal parts, in any order."""
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    part = (last - first) / count
    found = [first + part * (number + chance.random()) for number in range(count)]
    chance.shuffle(found)
    return found


def main_only(process: subprocess.Popen[str], site: Site) -> None:
    process.kill()


def whole_group(process: subprocess.Popen[str], site: Site) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def one_worker(process: subprocess.Popen[str], site: Site) -> None:
    """Any process that the command started: a worker, a chroot's, or the copier of a base."""
    others = [number for number in site.processes() if number != process.pid]
    if others:
        try:
            os.kill(random.choice(others), signal.SIGKILL)
        except ProcessLookupError:
            return


@pytest.mark.parametrize("kill", [main_only, whole_group, one_worker], ids=lambda kill: kill.__name__)
def test_a_build_killed_at_any_moment_leaves_a_whole_store_and_goes_on(
    two_images: Site,
    undisturbed: tuple[Site, dict[str, str], float],
    kill: Callable[[subprocess.Popen[str], Site], None],
) -> None:
    site, (_, digests, seconds) = two_images, undisturbed
    for moment in moments(0.15, seconds + 1.0, KILLS):
        done = set(site.layers()) if site.store.exists() else set()
        process = site.start("build", "--json")
        sleep(moment)  # the moment is the point
        kill(process, site)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err and "a defect" not in err, err
        if process.returncode == 0:
            site.check_whole()
            begin_anew(site)
            continue
        check_after_kill(site)
        assert done <= set(site.layers()), "finished stages are kept"
    check_goes_on(site, digests)


def check_after_kill(site: Site) -> None:
    """Nothing runs or is mounted; whatever verb is next finds a store that is whole."""
    until(lambda: not site.processes(), "its processes end")
    assert not set(site.mounts()) - {str(path) for path in site.images.glob("*-*")}
    if (site.store / "format").exists():
        site.check_whole()


def check_goes_on(site: Site, digests: dict[str, str]) -> None:
    """The next run comes to the same images, and does nothing again that was done."""
    before = set(site.layers()) if site.store.exists() else set()
    ended = site.run("build", "--json")
    assert ended.exit_code == 0, ended.err
    images = ended.images()
    assert {name: image["tree"] for name, image in images.items()} == digests
    for stage in (*images["web"]["stages"], *images["above"]["stages"]):
        assert stage["cached"] or stage["name"] not in before, stage
    for name in digests:
        assert (site.images / name / "etc/first").read_text() == "first"


def begin_anew(site: Site) -> None:
    """Throw away what is built, so that there is something to kill."""
    site.unmount()
    for path in (site.store, site.images):
        if path.exists():
            subprocess.run(["rm", "-r", str(path)], check=True)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_ends_soon_says_so_and_goes_on(
    two_images: Site, undisturbed: tuple[Site, dict[str, str], float], signal_number: signal.Signals
) -> None:
    site, (_, digests, seconds) = two_images, undisturbed
    interrupted = 0
    for moment in moments(0.0, seconds, KILLS // 2 + 1):
        process = site.start("build", "--json")
        until(lambda: (site.store / "format").exists(), "the store is made")
        until(partial(is_at_work, process), "the command takes signals")
        sleep(moment)  # the moment is the point
        os.killpg(process.pid, signal_number)
        _, err = process.communicate(timeout=30)  # half of what the third stage leaves running
        assert "Traceback" not in err and "a defect" not in err, err
        check_after_kill(site)
        if process.returncode == 0:
            begin_anew(site)
            continue
        interrupted += 1
        if signal_number == signal.SIGINT:
            assert process.returncode == 130
            assert "interrupted; finished stages are kept and the next run goes on from there" in err
    assert interrupted
    check_goes_on(site, digests)


AT_A_BAD_MOMENT = """
import os, signal
from concurrent.futures import process

start = process._ExecutorManagerThread.start


def interrupted_start(thread):
    os.kill(os.getpid(), signal.SIGINT)
    start(thread)


process._ExecutorManagerThread.start = interrupted_start
"""


def test_an_interruption_while_the_workers_are_started_is_no_defect(site: Site) -> None:
    site.recipe(file_stage("first"))
    site.recipe(file_stage("second"), image="other")
    site.write("moment/sitecustomize.py", AT_A_BAD_MOMENT)
    path = f"PYTHONPATH={site.path}/moment:{site.environment()['PYTHONPATH']}"
    process = site.start("build", "--json", before=("env", path))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "a defect" not in err
    check_after_kill(site)


def is_at_work(process: subprocess.Popen[str]) -> bool:
    """Whether it is past the start of Python, which ends by a signal in its own ways, or has ended."""
    try:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return "msgspec" in maps or process.poll() is not None


VERBS = (("lock",), ("publish", "web@{}"), ("verify", "web"), ("rollback", "web", "--to", "{}"))


def test_every_verb_that_changes_something_can_be_killed(
    two_images: Site, undisturbed: tuple[Site, dict[str, str], float]
) -> None:
    site, (_, digests, _) = two_images, undisturbed
    assert site.run("build").exit_code == 0
    site.recipe(*STAGES, file_stage("more"))
    assert site.run("build").exit_code == 0
    site.recipe(*STAGES)
    for words in VERBS:
        for moment in moments(0.1, 0.8, KILLS // 2 + 1):
            # The version that is not published: the link turns each time.
            number = "1" if os.readlink(site.images / "web") == "web-2" else "2"
            process = site.start(*(word.format(number) for word in words))
            read_for(site.images / "web/etc/first", moment)  # the moment is the point
            whole_group(process, site)
            process.communicate(timeout=60)
            check_after_kill(site)
            current = site.images / "web"
            assert (current / "etc/first").read_text() == "first", (
                "a version is published, the old or the new"
            )
        ended = site.run(*(word.format("1") for word in words))
        assert ended.exit_code == 0, (words, ended.err)
        check_goes_on(site, digests)


def read_for(file: Path, seconds: float) -> None:
    """Be a reader who sees one version or the other at every moment."""
    end = monotonic() + seconds
    while monotonic() < end:
        assert file.read_text() == "first"


def test_a_store_that_is_copied_while_it_is_at_work_is_whole(
    two_images: Site, undisturbed: tuple[Site, dict[str, str], float]
) -> None:
    site, (_, digests, _) = two_images, undisturbed
    copy = Path(mkdtemp(dir=site.path.parent)) / "store"
    process = site.start("build", "--json")
    until(
        lambda: "second" in site.layers() and bool(os.listdir(site.store / "work")),
        "it is at the third stage",
    )
    stop(site, signal.SIGSTOP)
    subprocess.run(["cp", "-a", str(site.store), str(copy)], check=True)
    stop(site, signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    site.unmount()
    subprocess.run(["rm", "-r", str(site.store), str(site.images)], check=True)
    copy.rename(site.store)
    site.run("versions")
    site.check_whole()
    check_goes_on(site, digests)


def stop(site: Site, number: signal.Signals) -> None:
    """Stop, or go on with, all that belongs to the site; new ones that are forked meanwhile too."""
    told: set[int] = set()
    while new := set(site.processes()) - told:
        for process in new:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue
        told |= new


TESTS_THAT_WAIT = """\
import os
import subprocess
import time


def test_that_waits(host):
    subprocess.Popen(["sleep", "300"])
    os.mkdir("{sign}")
    time.sleep(300)
"""


def test_killed_while_tests_run_nothing_of_them_stays(site: Site) -> None:
    sign, temporary = site.path.parent / "sign", site.path.parent / "temporary"
    temporary.mkdir()
    site.recipe(file_stage("a"), tests=TESTS_THAT_WAIT.replace("{sign}", str(sign)))
    process = site.start("build", before=("env", f"TMPDIR={temporary}"))
    until(sign.is_dir, "the test runs")
    process.kill()
    process.communicate()
    until(lambda: not site.processes(), "the tests and what they started end")
    assert os.listdir(temporary) == []
    site.check_whole()
