"""What tests of several folders stand on: the lab, built once and shared, and sites made of it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.lab.bases import ensure_bases
from pipeline.lab.vendor import ensure_vendor
from pipeline.publish.reaching import in_container, in_own_namespace

REPOSITORY = Path(__file__).parent.parent


def silent(line: str) -> None:
    """For lines of progress that no test reads."""


def pytest_configure() -> None:
    """Tests that were given mounts of their own have them shared among themselves, as on a machine: what they
    publish has to be mounted for all that they start. Nothing gets out: what is private or a slave to the
    machine's gets a group of its own."""
    if os.geteuid() == 0 and (in_own_namespace() or in_container()):
        subprocess.run(["mount", "--make-rshared", "/"], capture_output=True)  # some may not mount


@pytest.fixture(scope="session")
def lab_home() -> Path:
    """Where the lab is: built by the first test that needs a part of it, and kept."""
    return Path(os.environ.get("PIPELINE_LAB_HOME", REPOSITORY / ".pipeline/lab"))


@pytest.fixture(scope="session")
def lab_images(lab_home: Path) -> Mapping[str, Path]:
    """The lab's base images, by name."""
    return ensure_bases(lab_home, silent)


@pytest.fixture(scope="session")
def openstack_image(lab_images: Mapping[str, Path]) -> Path:
    """The tree of that base image."""
    return lab_images["openstack-image"]


@pytest.fixture(scope="session")
def lab_mirror(lab_home: Path) -> Path:
    """The vendor's files, laid out by URL."""
    return ensure_vendor(lab_home, silent)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """That of pytest, which may lie in memory; for tests marked ``disk`` one where this checkout lies."""
    if request.node.get_closest_marker("disk") is None:
        yield tmp_path
        return
    place = REPOSITORY / ".pipeline"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="test-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tests of one group belong to one process: they are not to be spread silently."""
    if not os.environ.get("PYTEST_XDIST_WORKER") or not session.config.getoption("loadgroup", False):
        return
    spread = [item.nodeid for item in session.items if _group(item) and "@" not in item.nodeid]
    if spread:
        raise pytest.UsageError(
            f"pytest-xdist does not see the group of {spread[0]} and {len(spread) - 1} more"
        )


def _group(item: pytest.Item) -> bool:
    return item.get_closest_marker("xdist_group") is not None
