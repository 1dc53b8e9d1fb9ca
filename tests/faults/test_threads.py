"""Nothing runs beside the thread that forks chroots."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.recipe.model import Downloads
from pipeline.sources.downloads import Fetcher, Request
from pipeline.sources.mirrors import Mirrors

ROUNDS = 200


def test_when_files_are_fetched_no_thread_is_left_that_a_fork_would_tear(tmp_path: Path) -> None:
    files = [tmp_path / f"file{number}" for number in range(4)]
    for file in files:
        file.write_text("x")
    fetcher = Fetcher(tmp_path / "downloads", Mirrors({}), Downloads(1, 1.0, 0.0))
    before = threading.active_count()
    for _ in range(ROUNDS):
        fetcher.fetch_all([Request(str(file)) for file in files], project=tmp_path)
        assert threading.active_count() == before
