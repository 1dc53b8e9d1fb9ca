"""Directories of the store in which something is being made, and the sweeping of those that nobody owns."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import msgspec

from pipeline.removing import remove_tree
from pipeline.store.filesystem import inherit_nothing, lock_directory


class Work(msgspec.Struct, frozen=True):
    """A stage's place while it runs; a context manager that throws it away unless it was committed or kept.

    ``upper`` and ``work`` are overlayfs's directories, ``log`` the file for what its programs print.
    ``parents`` are the names of the layers below, lowest first, and ``below`` the ``stack_digest`` of them;
    ``started`` is in seconds since 1970, ``uptime`` was that of this machine then. The descriptor ``lock``
    says that the owner lives; processes forked from it may share it.
    """

    path: Path
    parents: tuple[str, ...]
    started: float
    uptime: float
    lock: int
    below: str | None = None

    @property
    def upper(self) -> Path:
        """The overlayfs upper directory."""
        return self.path / "upper"

    @property
    def work(self) -> Path:
        """The overlayfs work directory."""
        return self.path / "work"

    @property
    def earliest(self) -> float:
        """The earliest time that what was written since it began can have: it began then, or by now's clock
        then, when that was set back meanwhile."""
        return min(self.started, time.time() - (uptime() - self.uptime))

    @property
    def log(self) -> Path:
        """What the stage's programs printed; exists from the start."""
        return self.path / "log.txt"

    def __enter__(self) -> Work:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(OSError):  # it is left to the next sweep
                if self._is_in_place():
                    remove_tree(self.path)
                else:  # it is a layer now, or was exchanged for what was kept before it
                    remove_unless_held(self.path)
        finally:
            os.close(self.lock)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.lock), self.path.lstat())
        except FileNotFoundError:
            return False


def uptime() -> float:
    """Seconds since this machine started, which nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def begin(area: Path, parents: Sequence[str] = (), below: str | None = None) -> Work:
    """A new locked directory in ``area``, with nothing in it, and without what ``area`` would pass on."""
    while True:
        path = area / os.urandom(8).hex()
        path.mkdir(mode=0o700)
        # Stopped here: an unlocked directory, which the next sweep removes.
        try:
            lock = lock_directory(path)
        except FileNotFoundError:
            continue  # a sweep of another process came between; so try again
        if lock is not None:
            if path.exists():
                inherit_nothing(path)
                return Work(path, tuple(parents), time.time(), uptime(), lock, below)
            os.close(lock)


def sweep(area: Path) -> None:
    """Remove the directories whose owner has ended; costs one look when there are none.

    What cannot be removed stops nobody: it stays, and ``pipeline gc`` says why.
    """
    for name in os.listdir(area):
        with suppress(OSError):
            remove_unless_held(area / name)


def is_held(directory: Path) -> bool:
    """Whether somebody holds the lock of ``directory``, or it is gone."""
    try:
        lock = lock_directory(directory)
    except (FileNotFoundError, NotADirectoryError):
        return True
    if lock is not None:
        os.close(lock)
    return lock is None


def remove_unless_held(directory: Path) -> None:
    """Remove ``directory``, unless somebody holds its lock: then a sweep will, once they have ended."""
    try:
        lock = lock_directory(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    if lock is not None:
        try:
            remove_tree(directory)
        finally:
            os.close(lock)


def put_aside(directory: Path, area: Path) -> None:
    """Take ``directory`` away, if it is there, from under those who are in it too: for them it stays whole
    until they let go of its lock."""
    aside = area / os.urandom(8).hex()
    with suppress(FileNotFoundError):
        directory.rename(aside)
    remove_unless_held(aside)


@contextmanager
def put_away(area: Path) -> Iterator[Path]:
    """A place to rename what is to be removed to; it is at the end, or by a sweep after a crash."""
    with begin(area) as grave:
        yield grave.path / "old"
        remove_tree(grave.path / "old")
