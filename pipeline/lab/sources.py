"""The files that the lab is built from."""

from __future__ import annotations

from pathlib import Path


def files(folder: Path) -> list[Path]:
    """All files below ``folder`` in order; not what Python compiled, which differs in every clone."""
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
