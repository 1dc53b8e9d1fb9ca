"""Who works with the store now: builds share it, and what removes things has it alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.store.filesystem import DIRECTORY, lock_directory, told
from pipeline.store.records import Failed
from pipeline.store.store import Store


@contextmanager
def occupied(store: Store, waiting: Callable[[], None]) -> Iterator[None]:
    """Keep all that is in the store, beside others that do; ``waiting`` is called while things are removed.

    The kernel lets go of it when the process ends, however it ends.
    """
    with _held(store, fcntl.LOCK_SH, waiting):
        yield


@contextmanager
def alone(store: Store, waiting: Callable[[], None]) -> Iterator[None]:
    """Have the store alone; ``waiting`` is called when others have to end first."""
    with _held(store, fcntl.LOCK_EX, waiting):
        yield


@contextmanager
def _held(store: Store, how: int, waiting: Callable[[], None]) -> Iterator[None]:
    path = store.path / "locks" / "store"
    with told("the store cannot be locked", path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(fd, how)
        yield
    finally:
        os.close(fd)


@contextmanager
def entered(directory: Path) -> Iterator[None]:
    """Keep the version in ``directory`` while somebody is in it; ``lock_directory`` fails meanwhile."""
    fd = os.open(directory, DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


@contextmanager
def failure_entered(store: Store, image: str, stage: str) -> Iterator[Failed | None]:
    """Have what is kept of the failed ``stage`` of ``image`` alone; None when there is nothing.

    Two roots over one upper directory would spoil it: raises ``PipelineError`` when somebody is in it.
    """
    held = _hold_failure(store, image, stage)
    if held is None:
        yield None
        return
    failed, lock = held
    try:
        yield failed
    finally:
        os.close(lock)


def _hold_failure(store: Store, image: str, stage: str) -> tuple[Failed, int] | None:
    directory = store.path / "failed" / image
    while (failed := store.failed(image, stage)) is not None:
        try:
            lock = lock_directory(directory)
        except FileNotFoundError:
            continue  # a build came between; look again
        if lock is None:
            raise PipelineError(
                f"the failed stage {stage!r} of {image} cannot be entered: somebody is in it",
                where=str(directory),
                hint="leave the other shell first; what was done there stays until the stage is built again",
            )
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), directory.lstat()) and store.failed(image, stage) == failed:
                return failed, lock
        os.close(lock)
    return None
