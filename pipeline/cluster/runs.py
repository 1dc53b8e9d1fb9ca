"""What is kept of a run on nodes: a directory for each, with a record and each node's whole output.

``firmware-N/record.json`` says who was asked for what, and how each node ended; ``firmware-N/NODE.log`` is
what it printed. The record is replaced by rename. Killed at any moment it is true: a node without a result
whose log has its end is judged by that; one whose log has none was interrupted; one without a log never ran.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.cluster.model import Firmware
from pipeline.cluster.outcome import Result, judge
from pipeline.errors import PipelineError
from pipeline.store.filesystem import write_whole

KIND = "firmware"
RECORD = "record.json"
LOCK = "running"
NAME = re.compile(rf"{KIND}-(\d+)")
WRITING_SHARE = 20
"""Of the time, at most one part in this many goes into writing the record; logs tell what it lacks."""


class Record(msgspec.Struct, frozen=True):
    """A run. ``names`` are the nodes that were asked for; ``results`` those that have ended.

    ``retry_of`` is the run that it goes on with; results that were good there are among its own.
    ``ended`` is None until all have a result. Times are seconds since 1970.
    """

    number: int
    cluster: str
    who: str
    order: Firmware
    names: tuple[str, ...]
    began: float
    results: dict[str, Result] = {}
    ended: float | None = None
    retry_of: int | None = None

    @property
    def word(self) -> str:
        """What the lines of this run are marked with on nodes, and what its directory is called."""
        return f"{KIND}-{self.number}"


def log_of(folder: Path, node: str) -> Path:
    return folder / f"{node}.log"


def numbers(runs: Path) -> list[int]:
    """The runs that there are, oldest first."""
    names = os.listdir(runs) if runs.is_dir() else []
    return sorted(int(found[1]) for name in names if (found := NAME.fullmatch(name)))


def folder_of(runs: Path, number: int) -> Path:
    return runs / f"{KIND}-{number}"


@contextmanager
def new_folder(runs: Path) -> Iterator[tuple[int, Path]]:
    """The next number and its directory, locked as long as the block lasts: who reads knows it is running."""
    runs.mkdir(parents=True, exist_ok=True)
    number = max(numbers(runs), default=0)
    while True:
        number += 1
        try:
            folder_of(runs, number).mkdir()
            break
        except FileExistsError:  # another run was faster
            continue
    folder = folder_of(runs, number)
    with open(folder / LOCK, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield number, folder


def is_running(folder: Path) -> bool:
    try:
        with open(folder / LOCK) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def write(folder: Path, record: Record) -> None:
    """Replace the record, by one rename."""
    write_whole(folder / RECORD, msgspec.json.encode(record))


def read(folder: Path) -> Record:
    """The record, with a result for each node: those that it lacks are made of the logs."""
    record = record_of(folder)
    results = {
        name: record.results.get(name) or _from_log(folder, record, name)
        for name in (*record.results, *record.names)
    }
    return msgspec.structs.replace(record, results=results)


def record_of(folder: Path) -> Record:
    """The record as it was last written."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except FileNotFoundError:
        raise PipelineError(
            "the run has no record: it was stopped before it began", where=str(folder)
        ) from None
    except msgspec.MsgspecError as error:
        raise PipelineError(
            f"the record is damaged: {error}",
            where=str(folder / RECORD),
            hint="moved elsewhere, this run counts as one that never was",
        ) from None


def kept(runs: Path) -> Iterator[Record]:
    """The runs that got as far as a record, oldest first."""
    for number in numbers(runs):
        if (folder_of(runs, number) / RECORD).exists():
            yield read(folder_of(runs, number))


def _from_log(folder: Path, record: Record, name: str) -> Result:
    try:
        text = log_of(folder, name).read_text(errors="replace")
    except FileNotFoundError:
        return Result("not run", "it was not begun")
    return judge(text, record.word, None, record.order.options, record.order.vfs)


class Logs:
    """The nodes' logs, each line written at once: what was seen survives a kill.

    Few are open at a time, however many nodes write.
    """

    MOST = 200

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, int] = {}

    def begin(self, node: str) -> None:
        self._descriptor(node)

    def write(self, node: str, line: bytes) -> None:
        os.write(self._descriptor(node), line + b"\n")

    def end(self, node: str) -> str:
        """Close a node's log, and return all of it."""
        number = self._open.pop(node, None)
        if number is not None:
            os.close(number)
        try:
            return log_of(self._folder, node).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        for number in self._open.values():
            os.close(number)
        self._open.clear()

    def _descriptor(self, node: str) -> int:
        number = self._open.get(node)
        if number is None:
            if len(self._open) >= self.MOST:
                os.close(self._open.pop(next(iter(self._open))))
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            number = self._open[node] = os.open(log_of(self._folder, node), flags, 0o644)
        return number


class Keeper:
    """Keeps the record while nodes end, written as often as it is worth."""

    def __init__(self, folder: Path, record: Record) -> None:
        self.folder = folder
        self.record = record
        self._results = dict(record.results)
        self._not_before = 0.0
        write(folder, record)

    def put(self, node: str, result: Result) -> None:
        self._results[node] = result
        if time.monotonic() >= self._not_before:
            self._write()

    def end(self, names: Sequence[str]) -> Record:
        """Write all of it; ``names`` that have no result by now never began."""
        for name in names:
            self._results.setdefault(name, Result("not run", "it was not begun"))
        self.record = msgspec.structs.replace(self.record, ended=time.time())
        self._write()
        return self.record

    def __contains__(self, node: str) -> bool:
        return node in self._results

    def _write(self) -> None:
        begun = time.monotonic()
        self.record = msgspec.structs.replace(self.record, results=dict(self._results))
        write(self.folder, self.record)
        now = time.monotonic()
        self._not_before = now + WRITING_SHARE * (now - begun)
