"""A small site for each test, with nothing of it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.site import Site, make_site

HERE = Path(__file__).parent

DISK = 48 << 20
"""Bytes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason="building images takes root"))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What is started takes Ctrl-C, also when a shell started the tests in the background, deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with the base ``small``. After the test its store is whole, and nothing runs or is mounted."""
    made = make_site(tmp_path)
    try:
        yield made
        made.check_whole()
    finally:
        made.unmount()


@pytest.fixture
def disk(site: Site) -> Iterator[Path]:
    """The store of ``site``, on a small file system of its own: ``disk.img`` beside the project."""
    image = site.path.parent / "disk.img"
    with image.open("wb") as file:
        file.truncate(DISK)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    place = site.path.parent / "disk"
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    with site.stored_in(place):
        yield place
    image.unlink()
