"""Whether a directory changed, as quickly as its status data can be read."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from pipeline.errors import MachineError, PipelineError
from pipeline.store.filesystem import told
from pipeline.store.mounts import mounts_below

FIND = "find"
_FORMAT = r"%D %i %C@ %T@ %s %y%#m %P\0"
"""For find(1): device, inode, ctime and mtime to the nanosecond, size, type and mode, relative path."""
_PATH_AT = 6
_OWN_FAILURES = ("'standard output'", "write error", "failed to write output")
"""How complaints of find(1) begin that are not about what it looks at."""
_VANISHED = os.strerror(errno.ENOENT)


class Look:
    """A look at all files of a directory; find(1) is at it from the start on, while other work is done.

    A context manager: a look that nobody wants any more ends with the block.
    """

    def __init__(self, path: Path) -> None:
        """Begin. Raises ``MachineError`` without find(1), ``PipelineError`` without a ``path``."""
        self._path = path
        self._found: str | None = None
        with told("the directory cannot be read", path):
            self._device, self._mounts = path.stat().st_dev, mounts_below(path)
        # What it finds goes to memory, not through a pipe that somebody would have to empty.
        self._out, self._complaints = os.memfd_create("found"), os.memfd_create("complaints")
        try:
            self._pid: int | None = os.posix_spawnp(
                FIND,
                [FIND, f"{path}/.", "-xdev", "-printf", _FORMAT, *_not_below(path, self._mounts)],
                {**os.environ, "LC_ALL": "C"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._out, 1),
                    (os.POSIX_SPAWN_DUP2, self._complaints, 2),
                ],
            )
        except FileNotFoundError:
            raise MachineError(
                "the program 'find' is missing on this machine",
                hint="install the package findutils",
                command="make setup",
            ) from None

    def __enter__(self) -> Look:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            self._wait(self._pid)
        os.close(self._out)
        os.close(self._complaints)

    def fingerprint(self) -> str:
        """A digest over path, inode, ctime, mtime, size and mode of all below that is not mounted there.

        Equal means unchanged: whatever changes a file or its attributes changes its ctime, which nobody can
        set. Waits until the look is over. Raises ``PipelineError`` when something vanished meanwhile.
        """
        if self._found is None:
            if self._pid is not None and self._wait(self._pid) != 0:
                raise self._failed()
            self._found = self._digest()
        return self._found

    def _wait(self, pid: int) -> int:
        self._pid = None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _digest(self) -> str:
        records = os.pread(self._out, os.fstat(self._out).st_size, 0).split(b"\0")
        import hashlib  # 3 ms: not before find(1) has begun

        own, ends = b"%d " % self._device, tuple(b" " + place for place in self._mounts)
        # Of a mount point only its being one is told: what is mounted there may change at any time.
        for number, record in enumerate(records[:-1]):
            if not record.startswith(own) or (record.endswith(ends) and _path(record) in self._mounts):
                records[number] = b"mount " + _path(record)
        return hashlib.sha256(b"\0".join(sorted(records[:-1]))).hexdigest()

    def _failed(self) -> PipelineError:
        words = os.pread(self._complaints, 1 << 16, 0).decode(errors="replace").splitlines()
        first = (words or ["it was killed"])[0].removeprefix("find: ")
        if first.startswith(_OWN_FAILURES):
            return PipelineError(
                f"what find has seen cannot be kept: {first}",
                hint=f"it is kept in memory; make room there, and look at {self._path} again",
            )
        hint = "wait until nobody changes it, and run the same command again"
        return PipelineError(
            f"the directory cannot be read: {first}",
            where=str(self._path),
            hint=hint if first.endswith(_VANISHED) or not words else None,
        )


def fingerprint(path: Path) -> str:
    """That of one look at ``path``."""
    with Look(path) as look:
        return look.fingerprint()


def _not_below(path: Path, mounts: Iterable[bytes]) -> list[str]:
    """What keeps find(1) from entering ``mounts``, which it knows only when they are other file systems."""
    words: list[str] = []
    for place in mounts:
        pattern = re.sub(rb"([\\*?\[])", rb"\\\1", os.fsencode(path) + b"/./" + place)
        words += ["-o", "-path", os.fsdecode(pattern)]
    return ["(", *words[1:], ")", "-prune"] if words else []


def _path(record: bytes) -> bytes:
    return record.split(b" ", _PATH_AT)[_PATH_AT]
