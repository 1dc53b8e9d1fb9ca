"""What hooks have begun with which nodes, on disk: after a kill that is undone, and no more than that.

One file for all rollouts of a cluster: what one could not undo, for the node never came back, the next one
does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec

from pipeline.errors import PipelineError

Note: TypeAlias = Mapping[str, list[int] | bool | str]
"""What was begun with a node."""


class Kept:
    """A file: the name of a node → what was begun with it, as plain data.

    It is written before anything is done, so it may tell of what was never done; undoing that does no harm.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._had: frozenset[str] | None = None

    def had(self, name: str) -> bool:
        """Whether something was begun with a node before this was asked first: that is undone, whatever the
        cluster file says by now. When nobody can know, too: who reads the file to undo it says why."""
        if self._had is None:
            try:
                self._had = frozenset(self.read())
            except PipelineError:
                return True
        return name in self._had

    def read(self) -> dict[str, Note]:
        """All of it; nothing was begun when there is no file."""
        try:
            return msgspec.json.decode(self.file.read_bytes(), type=dict[str, Note])
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise PipelineError(
                f"what was begun with nodes can't be read: {error}",
                where=str(self.file),
                hint="it says what has to be undone; look at the file, then remove it",
            ) from None

    def put(self, changes: Mapping[str, Note | None]) -> None:
        """Keep these, and forget those that are None; it is on disk when this returns."""
        with self._alone():
            now = self.read()
            for name, what in changes.items():
                if what is None:
                    now.pop(name, None)
                else:
                    now[name] = what
            self._write(msgspec.json.encode(now))

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Be the only one who asks whether a node may go and notes that it does; False: somebody else is.

        Notes can be put meanwhile. The kernel lets go of it when this process ends, however it ends.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.with_name(f".{self.file.name}.turn").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two rollouts of different nodes may go on at once."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.with_name(f".{self.file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, content: bytes) -> None:
        fresh = self.file.with_name(f".{self.file.name}.new")
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Stopped here: the old file holds, and nothing of the new has been done.
        fresh.replace(self.file)
        folder = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
