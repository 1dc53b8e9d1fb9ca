"""However a root ends: no process of it is left, nothing of it is mounted, and the host's /dev is whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.integration.chroot_roots import Place

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")

PATIENCE = 10.0
KILLS = 30

PROGRAM = """
import sys
from pathlib import Path
from pipeline.chroot.enter import enter
from pipeline.chroot.root import RootSpec
base, home, marker = sys.argv[1:]
home = Path(home)
while True:
    spec = RootSpec((Path(base),), upper=home / "upper", work=home / "work")
    with enter(spec) as root:
        root.run(["/bin/sh", "-c", f"sleep {marker} & setsid sleep {marker} & echo > /root/x"])
        root.run(["sleep", "0.01"])
"""


@pytest.fixture
def place(tmp_path: Path, lab_images: Mapping[str, Path]) -> Iterator[Place]:
    before = devices()
    yield Place(lab_images["openstack-image"], tmp_path)
    assert devices() == before
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def devices() -> dict[str, tuple[int, int, int]]:
    """Mode, owner and number of each device node of this machine that a root shows."""
    found = {}
    for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx"):
        status = os.stat(f"/dev/{name}")
        found[name] = (status.st_mode, status.st_uid, status.st_rdev)
    return found


def of(marker: str) -> list[int]:
    """The processes whose command line or open directories have ``marker``."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if marker.encode() in Path("/proc", entry, "cmdline").read_bytes():
                found.append(int(entry))
        except OSError:
            continue
    return found


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds before patience ends."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt, GeneratorExit])
def test_when_the_block_is_left_all_has_ended(place: Place, error: type[BaseException] | None) -> None:
    marker = f"77{os.getpid()}.{id(error) % 997}"
    before = children()
    try:
        with place.enter() as root:
            root.run(["/bin/sh", "-c", f"sleep {marker} & setsid sleep {marker} & exit 0"])
            assert eventually(lambda: len(of(marker)) == 2)
            if error is not None:
                raise error
    except (ValueError, KeyboardInterrupt, GeneratorExit):
        pass
    assert of(marker) == []
    assert children() == before
    # Overlayfs refuses (or with an index, EBUSY) a work directory that is still in use: it is not.
    with place.enter() as root:
        root.run(["true"])


def test_a_program_that_runs_is_ended_too(place: Place) -> None:
    marker = f"78{os.getpid()}.5"

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt), place.enter() as root:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            root.run(["sleep", marker])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert of(marker) == []


def test_a_function_that_runs_is_ended_too(place: Place) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt), place.enter() as root:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            root.call(time.sleep, 60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_at_any_moment_nothing_is_left(place: Place, how: signal.Signals) -> None:
    chance = random.Random(how)
    marker = f"79{os.getpid()}.{int(how)}"
    command = [sys.executable, "-c", PROGRAM, str(place.base), str(place.home), marker]
    for _ in range(KILLS):
        process = subprocess.Popen(command, start_new_session=True)
        time.sleep(chance.uniform(0.03, 0.35))
        process.send_signal(how)
        process.wait()
        assert eventually(lambda: of(marker) == []), of(marker)
    with place.enter() as root:
        root.run(["true"])


def test_the_keeper_killed_ends_the_root(place: Place) -> None:
    marker = f"80{os.getpid()}.1"
    before = set(children())
    with pytest.raises(Exception, match="before its time"), place.enter() as root:
        root.run(["/bin/sh", "-c", f"sleep {marker} & exit 0"])
        (keeper,) = set(children()) - before
        os.kill(int(keeper), signal.SIGKILL)
        assert eventually(lambda: of(marker) == [])
        root.run(["true"])
