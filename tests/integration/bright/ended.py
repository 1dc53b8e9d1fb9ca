"""A program on a head node that is slow, and a process of ours that is killed while it waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from pipeline.cluster.head import Head

SLOW = """\
#!/bin/sh
touch "$1/begun"
for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; done
touch "$1/ended"
"""

OURS = """\
import sys, msgspec
from pipeline.cluster.head import Head
msgspec.json.decode(sys.argv[1], type=Head).run_file(("slow", sys.argv[2]), "x" * 200_000)
"""


def until(there: Path, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not there.exists():
        assert time.monotonic() < end, there
        time.sleep(0.01)


def goes_on_when_we_are_killed(head: Head, folder: Path) -> bool:
    """Whether a program there goes on to its end when the process that started it is killed."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "slow").write_text(SLOW)
    (programs / "slow").chmod(0o755)
    head = msgspec.structs.replace(head, programs=(str(programs),))
    ours = subprocess.Popen(
        [sys.executable, "-c", OURS, msgspec.json.encode(head).decode(), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    until(folder / "begun")
    ours.kill()
    ours.wait()
    time.sleep(2)
    return (folder / "ended").exists()
