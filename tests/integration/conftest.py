"""What all tests of parts together share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.lab.head import start
from tests import warm_programs


@pytest.fixture(autouse=True)
def quick_head_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of head nodes that a test makes are forked, not started."""
    make = start.make

    def made(directory: Path, *args: Any, **kwargs: Any) -> None:
        make(directory, *args, **kwargs)
        warm_programs.replaced(directory / "bin")

    monkeypatch.setattr(start, "make", made)
