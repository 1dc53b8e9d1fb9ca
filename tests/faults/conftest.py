"""A small site for each test, with nothing of it left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.site import Site, make_site

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if item.path.is_relative_to(HERE):
                item.add_marker(pytest.mark.skip(reason="building images takes root"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A site with the base ``small``. After the test its store is whole, and nothing runs or is mounted."""
    made = make_site(tmp_path)
    try:
        yield made
        made.check_whole()
    finally:
        made.unmount()
