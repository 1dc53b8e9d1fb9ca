"""A Warewulf server to drive: the stand-in, with a published image beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from warewulf_server import Server

from pipeline.lab.warewulf import start


@pytest.fixture
def server(tmp_path: Path) -> Server:
    home = tmp_path / "warewulf"
    start.make(home)
    found = Server(home)
    found.publish(3)
    return found
