"""Who works with the store now: builds share it, and what removes things has it alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.store.filesystem import DIRECTORY, told
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
