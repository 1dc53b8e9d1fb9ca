"""The C library, for the few system calls that Python does not have."""

from __future__ import annotations

import os
import signal
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

_PR_SET_PDEATHSIG = 1


@cache
def libc() -> ctypes.CDLL:
    """The C library of this process, which keeps errno for ``ctypes.get_errno``."""
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise ``OSError`` that names ``what`` was asked for unless ``result`` is 0."""
    import ctypes

    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process ``signal_number`` when the thread that forked it ends, however."""
    check(libc().prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0), "prctl")
