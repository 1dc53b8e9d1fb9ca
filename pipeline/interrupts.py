"""What Ctrl-C does: it ends the command at once, until there is work that wants to be ended in good order.

A ``KeyboardInterrupt`` that is raised while modules are loaded is a traceback; one that is raised while
msgspec 0.22 learns a type makes that crash (SIGSEGV). Before the work begins there is nothing to clean up.
"""

from __future__ import annotations

# Not ``signal``: that takes milliseconds to load, in which Ctrl-C would still be a traceback.
import _signal  # type: ignore[import-not-found]
import os

INTERRUPTED = 130
MESSAGE = "\ninterrupted; finished stages are kept and the next run goes on from there"


def end_at_once() -> None:
    """From now on Ctrl-C ends this process without further ado. For the command only, and its first thing."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # not where it is ignored (nohup)
        _signal.signal(_signal.SIGINT, _end)


def work_begins() -> None:
    """From now on Ctrl-C raises ``KeyboardInterrupt``. Nothing happens where it does not end the process."""
    if _signal.getsignal(_signal.SIGINT) is _end:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _end(_number: int, _frame: object) -> None:
    try:
        os.write(2, f"{MESSAGE}\n".encode())
    except OSError:
        pass  # nobody listens
    finally:
        os._exit(INTERRUPTED)
