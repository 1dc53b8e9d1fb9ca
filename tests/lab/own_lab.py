"""A lab with a head node and nodes of its own, over the base images and the vendor that all tests share."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.lab.head import start
from tests import warm_programs


def own_lab(home: Path, shared: Path) -> Path:
    """Make it in the new folder ``home``; nodes are not running."""
    home.mkdir()
    for path in shared.iterdir():
        if path.is_dir() and path.name not in ("head", "nodes"):
            (home / path.name).symlink_to(path)
    start.make(home / "head")
    warm_programs.replaced(home / "head/bin")
    shutil.copy(shared / ".complete", home)
    return home
