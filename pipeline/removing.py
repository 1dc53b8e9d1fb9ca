"""Removing a directory with all in it, however deep: neither recursion nor open files grow with it."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Level(NamedTuple):
    """A directory on the way down: what it is, and what in it is still to be removed."""

    status: os.stat_result
    directories: list[bytes]


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove ``path`` and all below it; what is gone already is no error."""
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        _empty(path)
        os.rmdir(path)


def parent(directory: int, status: os.stat_result) -> int | None:
    """Open the directory above the open ``directory``, from which the way led down to it.

    None when it is not that of ``status`` any more: who moves a directory meanwhile shall not have something
    else removed or read.
    """
    above = os.open("..", _DIRECTORY, dir_fd=directory)
    if os.path.samestat(os.fstat(above), status):
        return above
    os.close(above)
    return None


def _empty(top: str | os.PathLike[str]) -> None:
    """Remove all that is in the directory ``top``. Only the present directory is open."""
    here = os.open(top, _DIRECTORY)
    levels: list[_Level] = []
    try:
        levels.append(_entered(here))
        while True:
            level = levels[-1]
            if level.directories:
                try:
                    below = os.open(level.directories[-1], _DIRECTORY, dir_fd=here)
                except FileNotFoundError:  # two processes may sweep the same remains
                    level.directories.pop()
                    continue
                os.close(here)
                here = below
                levels.append(_entered(here))
                continue
            levels.pop()
            if not levels:
                return
            above = parent(here, levels[-1].status)
            if above is None:
                raise OSError(errno.ESTALE, "it was moved while it was removed")
            os.close(here)
            here = above
            with suppress(FileNotFoundError):
                os.rmdir(levels[-1].directories[-1], dir_fd=here)
            levels[-1].directories.pop()
    except OSError as error:
        parts = [level.directories[-1] for level in levels if level.directories]
        if isinstance(error.filename, str):  # a file in the last of them: names of directories are bytes
            parts.append(os.fsencode(error.filename))
        error.filename = os.fsdecode(os.path.join(os.fsencode(top), *parts))
        raise
    finally:
        os.close(here)


def _entered(directory: int) -> _Level:
    """Remove what is no directory in ``directory``."""
    directories = []
    with os.scandir(directory) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                directories.append(os.fsencode(entry.name))
            else:
                with suppress(FileNotFoundError):
                    os.unlink(entry.name, dir_fd=directory)
    return _Level(os.fstat(directory), directories)
