"""How much memory a command takes, with all the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measuring import BenchError, environment

EVERY = 0.02


@dataclass(frozen=True)
class Memory:
    """MB (10^6): the peak of the ``largest`` process (what the kernel counted), and the highest sum of all of
    them ``together``, seen every 20 ms; pages that several share are counted once (PSS).

    ``largest`` is never less than this process's own, which the kernel counts for a child until it runs its
    program.
    """

    largest: float
    together: float


def peak_of_tree(argv: Sequence[str], cwd: Path) -> Memory:
    """Run ``argv`` and watch it. Raises ``BenchError`` unless it exits with 0."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            argv, cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        together = 0.0
        while True:
            ended, status, used = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            together = max(together, sum(map(_pss, _family(process.pid))))
            time.sleep(EVERY)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise BenchError(f"{' '.join(argv)}: {output.read().decode(errors='replace')[-2000:]}")
    return Memory(used.ru_maxrss * 1024 / 1e6, together)


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        try:
            todo += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        except OSError:
            continue  # it has ended
    return found


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Pss:")), 0.0)
