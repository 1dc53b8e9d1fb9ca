"""Whether a directory that the site names for a base can be one."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.errors import PipelineError


def require_base(name: str, path: Path) -> None:
    """Raise ``PipelineError`` unless ``path``, which the site names for the base ``name``, is a root."""
    where = f"base {name!r}"
    if not path.is_dir():
        what = "is no directory" if os.path.lexists(path) else "does not exist"
        raise PipelineError(f"{path} {what}", where=where, hint="the site file says where bases are")
    missing = [] if (path / "etc").is_dir() else ["etc"]
    if not any(os.path.lexists(path / place) for place in ("bin", "usr/bin")):
        missing.append("bin or usr/bin")
    if missing:
        raise PipelineError(
            f"{path} is not the root of a system: it has no {' and no '.join(missing)}", where=where
        )
