"""The view of a build on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipeline.cli import live
from pipeline.events import ImageFinished, ImagePlanned, StageFinished, StageStarted


def test_the_last_frame_shows_the_stage_that_failed_as_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=60, color_system=None)
    monkeypatch.setattr(live, "Console", lambda **_: console)
    with live.LiveView() as view:
        view.see(ImagePlanned(image="web", stages=("one", "two", "three")))
        view.see(StageFinished(image="web", stage="one", cached=True, seconds=0.1, bytes=1))
        view.see(StageStarted(image="web", stage="two"))
        view.see(ImageFinished(image="web", number=None))
    last = terminal.getvalue().rpartition("web failed")[2]
    row = next(line for line in last.splitlines() if "two" in line)
    assert "failed" in row and "running" not in last
    assert "failed" not in next(line for line in last.splitlines() if "three" in line)
