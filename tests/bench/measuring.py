"""Running commands in turns and taking down what they cost."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).parents[2]


class BenchError(Exception):
    """Something that was to be measured failed; nothing that was measured with it counts."""


@dataclass(frozen=True)
class Sample:
    """One run: wall clock and CPU time in seconds, peak memory of its largest process in MB (10^6)."""

    seconds: float
    cpu: float
    peak: float


@dataclass(frozen=True)
class Row:
    """One figure beside its peer's. ``limit`` bounds the ratio, or where there is no peer the figure itself.

    ``unit`` is ``s`` or ``MB``. All runs are kept; the figure is their median.
    """

    name: str
    ours: tuple[float, ...]
    limit: float | None
    peer: str = ""
    theirs: tuple[float, ...] = ()
    unit: str = "s"
    note: str = ""

    @property
    def figure(self) -> float:
        return median(self.ours)

    @property
    def peers(self) -> float | None:
        return median(self.theirs) if self.theirs else None

    @property
    def ratio(self) -> float | None:
        return self.figure / self.peers if self.peers else None

    @property
    def met(self) -> bool | None:
        """None where nothing is promised."""
        if self.limit is None:
            return None
        return (self.figure if self.ratio is None else self.ratio) <= self.limit


def environment() -> dict[str, str]:
    """That of this process, in which this checkout is what Python imports, with its bytecode kept."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(REPOSITORY)}


def run(argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None = None) -> Sample:
    """Run a program to its end. Raises ``BenchError`` with its last lines unless it exits with 0."""
    with tempfile.TemporaryFile() as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=cwd, env=env or environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")[-2000:]
            raise BenchError(f"{' '.join(argv)} ended with {process.returncode}:\n{text}")
    return Sample(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6)


def in_turns(count: int, *runs: Callable[[], Sample]) -> list[tuple[Sample, ...]]:
    """``count`` samples of each of ``runs``, taken in turns; every other round the other way round.

    So what the machine does beside falls on all of them alike.
    """
    taken: list[list[Sample]] = [[] for _ in runs]
    for number in range(count):
        order = range(len(runs)) if number % 2 == 0 else reversed(range(len(runs)))
        for which in order:
            taken[which].append(runs[which]())
    return [tuple(samples) for samples in taken]


def seconds(samples: Sequence[Sample]) -> tuple[float, ...]:
    """Their wall clock times."""
    return tuple(sample.seconds for sample in samples)


def settle() -> None:
    """Write everything out and forget what was read, so that the next run reads from the disk."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
