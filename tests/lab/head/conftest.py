"""The lab's head node, made for one test, and what to type at it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.lab.head import start, state
from pipeline.lab.head.switches import Faults, Switches, write_faults, write_switches

from . import seed


class Head(NamedTuple):
    """A head node: sittings at its cmsh, its switches, faults and state."""

    directory: Path

    def type(self, *lines: str, options: tuple[str, ...] = ("--hide-events",)) -> str:
        """What is printed for lines that all must be right."""
        done = seed.cmsh(self.directory, lines, *options)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def refuse(self, *lines: str, options: tuple[str, ...] = ("--hide-events",)) -> str:
        """What is said on stderr for lines of which one must be wrong."""
        done = seed.cmsh(self.directory, lines, *options)
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        return done.stderr

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        program = str(self.directory / "bin" / argv[0])
        return subprocess.run(
            [program, *argv[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def switch(self, **values: Any) -> None:
        write_switches(str(self.directory), Switches(**values))

    def fault(self, **values: Any) -> None:
        write_faults(str(self.directory), Faults(**values))

    def objects(self, mode: str) -> dict[str, Any]:
        found: dict[str, Any] = state.snapshot(str(self.directory))["objects"][mode]
        return found


@pytest.fixture
def head(tmp_path: Path) -> Head:
    start.make(tmp_path / "head")
    return Head(tmp_path / "head")
