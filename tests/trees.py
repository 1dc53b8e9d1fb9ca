"""What a directory tree holds, for comparing."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.store.filesystem import DIRECTORY
from pipeline.store.tree import Entry, entries


def tree_entries(root: Path) -> list[Entry]:
    """The manifest of ``root``."""
    fd = os.open(root, DIRECTORY)
    try:
        return [entry for entry, _ in entries(fd)]
    finally:
        os.close(fd)


def names_of_files(root: Path) -> list[str]:
    """Everything below ``root`` that is no directory, sorted."""
    found = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(str(path.relative_to(root)) for path in found)
