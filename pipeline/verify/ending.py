"""The process that runs the tests ends with the one that started it, and takes along what tests started."""

from __future__ import annotations

import os
import signal
from typing import NoReturn

from pipeline.libc import die_with_parent

ENDED = signal.SIGTERM
"""What tells the watcher that the tests' process has ended."""


def end_with(starter: int) -> None:
    """Be killed by the kernel when the process ``starter``, our parent, ends, however it ends.

    The rest of our process group, which we lead, is then killed by a process of its own, which the kernel
    tells of our end.
    """
    die_with_parent()
    if os.getppid() != starter:  # it ended before we asked
        os._exit(1)
    here = os.getpid()
    if os.fork() == 0:
        _watch(here)


def _watch(watched: int) -> NoReturn:
    try:
        # The socket to the starter must be closed with the tests' process, not with this one.
        os.closerange(0, os.sysconf("SC_OPEN_MAX"))
        signal.pthread_sigmask(signal.SIG_BLOCK, {ENDED})
        die_with_parent(ENDED)
        if os.getppid() == watched:
            signal.sigwait({ENDED})
    finally:
        os.killpg(0, signal.SIGKILL)
        os._exit(1)
