"""Writing files that must last, and what is said when that cannot be done."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import PipelineError


@contextmanager
def writing(path: Path, needed: int | None = None) -> Iterator[None]:
    """Say in a ``PipelineError`` what went wrong with the disk; ``needed`` more bytes were to be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise PipelineError(f"cannot write {path}: {error.strerror}") from None
        raise no_space(path, needed) from None


def no_space(path: Path, needed: int | None) -> PipelineError:
    """The error of a full file system."""
    directory = next(parent for parent in path.parents if parent.is_dir())
    mount = next(parent for parent in (directory, *directory.parents) if parent.is_mount())
    found = os.statvfs(directory)
    more = f"{needed:,} bytes more are needed" if needed is not None else "more is needed"
    return PipelineError(
        f"no space left on {mount}, the file system of {directory}: {more}, "
        f"{found.f_bavail * found.f_frsize:,} bytes are free",
        hint="make room there, or let the site's store be on another file system",
        command="pipeline gc",
    )
