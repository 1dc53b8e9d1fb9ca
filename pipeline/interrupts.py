"""What Ctrl-C does: it ends the command at once, until there is work that wants to be ended in good order.

A ``KeyboardInterrupt`` that is raised while modules are loaded is a traceback; one that is raised while
msgspec 0.22 learns a type makes that crash (SIGSEGV). Before the work begins there is nothing to clean up.
"""

from __future__ import annotations

# Not ``signal``: that takes milliseconds to load, in which Ctrl-C would still be a traceback.
import _signal  # type: ignore[import-not-found]
import os
import sys

INTERRUPTED = 130
WHAT = "interrupted"
THEN = "finished stages are kept and the next run goes on from there"
DOCUMENT = f"""\
{{"images": [], "problems": [{{"message": "{WHAT}", "where": null, "hint": "{THEN}", "command": null}}]}}
"""
"""What ``--json`` prints then: that of a build, of which other verbs have only ``problems``."""


def end_at_once() -> None:
    """From now on Ctrl-C ends this process without further ado. For the command only, and its first thing."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # not where it is ignored (nohup)
        _signal.signal(_signal.SIGINT, _end)


def work_begins() -> None:
    """From now on Ctrl-C raises ``KeyboardInterrupt``. Nothing happens where it does not end the process."""
    if _signal.getsignal(_signal.SIGINT) is _end:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


class EndedError(KeyboardInterrupt):
    """Somebody wants this process to end: its terminal is gone, or a service manager stops it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def ends_are_interruptions() -> None:
    """From now on SIGTERM and SIGHUP do what Ctrl-C does, where they would end the process at once.

    For work that others see half-done, and that has to be told of. Not for what forks: the handlers go along.
    """
    for number in (_signal.SIGTERM, _signal.SIGHUP):
        if _signal.getsignal(number) == _signal.SIG_DFL:  # not where it is ignored (nohup)
            _signal.signal(number, _raise)


def exit_code(error: KeyboardInterrupt) -> int:
    """What the command exits with when that interrupted it."""
    return error.exit_code if isinstance(error, EndedError) else INTERRUPTED


def _raise(number: int, _frame: object) -> None:
    raise EndedError(number)


def _end(_number: int, _frame: object) -> None:
    try:
        os.write(2, f"\n{WHAT}; {THEN}\n".encode())
        if "--json" in sys.argv:
            os.write(1, DOCUMENT.encode())
    except OSError:
        pass  # nobody listens
    finally:
        os._exit(INTERRUPTED)
