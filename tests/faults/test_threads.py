"""Nothing runs beside the thread that forks chroots."""

from __future__ import annotations

import threading
from pathlib import Path
from time import sleep

import pytest

from pipeline.mirrors import Mirrors
from pipeline.recipe.model import Downloads
from pipeline.sources import downloads
from pipeline.sources.downloads import Fetcher, Request


class SlowToEnd(threading.Thread):
    """A thread that lives for a moment after its work, as on a machine under load."""

    def run(self) -> None:
        super().run()
        sleep(0.1)


def test_when_files_are_fetched_no_thread_is_left_that_a_fork_would_tear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "Thread", SlowToEnd)
    files = [tmp_path / f"file{number}" for number in range(4)]
    for file in files:
        file.write_text("x")
    fetcher = Fetcher(tmp_path / "downloads", Mirrors({}), Downloads(1, 1.0, 0.0))
    before = threading.active_count()
    fetcher.fetch_all([Request(str(file)) for file in files], project=tmp_path)
    assert threading.active_count() == before
