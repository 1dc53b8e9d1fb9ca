"""Reading and writing files that somebody names: named pipes and devices are none, and would never end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def content_of(file: Path) -> bytes:
    """What is in the regular file ``file``. Raises ``OSError``, also when it is something else."""
    with open(file, "rb", opener=_without_waiting) as stream:
        _refuse_other(os.fstat(stream.fileno()).st_mode, file)
        return stream.read()


def check(file: Path) -> None:
    """Raise ``OSError`` unless ``file`` is a regular file, or a link to one."""
    _refuse_other(os.stat(file).st_mode, file)


def place_of(file: Path) -> Path:
    """Where to write what somebody wants in ``file``: where a link leads to. Raises ``OSError`` when anything
    but a regular file is there: a rename in its place would take it away, and that may be /dev/null."""
    if file.exists():
        check(file)
    return file.resolve()


def _refuse_other(mode: int, file: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    for is_kind, what in KINDS:
        if is_kind(mode):
            raise OSError(errno.EINVAL, f"{what}, not a file", str(file))


def _without_waiting(path: str, flags: int) -> int:
    """Open without waiting for the other end of a named pipe."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
