"""The system calls that Python does not have: where they are, and that a process ends with its parent."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from pipeline.libc import die_with_parent

PACKAGE = Path(__file__).parents[2] / "pipeline"


def test_the_c_library_is_opened_and_each_constant_of_prctl_stands_in_one_module() -> None:
    texts = {file: file.read_text() for file in PACKAGE.rglob("*.py")}
    for once in (r"CDLL\(", r"PR_SET_PDEATHSIG = ", r"def die_with_parent\("):
        assert [file.name for file, text in texts.items() if re.search(once, text)] == ["libc.py"]


def test_a_process_gets_the_signal_when_its_parent_is_killed() -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = os.fork()
        if child == 0:
            die_with_parent()
            os.write(writing, b"ready")
            time.sleep(30)
            os._exit(0)
        os.close(writing)
        time.sleep(30)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 5) == b"ready"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert os.read(reading, 1) == b""  # its end of the pipe is closed: it is gone
    os.close(reading)
