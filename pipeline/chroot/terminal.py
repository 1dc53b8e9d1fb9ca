"""A terminal of the root's own, and carrying what is typed and shown between it and this process's terminal.

The root never gets this machine's terminal: whoever holds one can type into it (ioctl_tty(2), TIOCSTI), and
its process groups are not of the root's PID namespace, so that a shell there would have no job control.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

CHUNK = 1 << 16
SIZE = b"\0" * 8  # struct winsize


def take(side: int) -> None:
    """Make ``side`` the controlling terminal of this process and its stdin, stdout and stderr."""
    os.setsid()
    fcntl.ioctl(side, termios.TIOCSCTTY, 0)
    for number in (0, 1, 2):
        os.dup2(side, number)


def carry(side: int, connection: int) -> None:
    """Carry between stdin and stdout and ``side`` until ``connection`` is readable: the program has ended."""
    os.set_blocking(side, False)
    typed = b""
    with _raw(0), _resizing(side):
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        wanted = {0: select.POLLIN, side: select.POLLIN}
        while True:
            for number, events in wanted.items():
                poll.register(number, events)
            ready = dict(poll.poll())
            if typed and ready.get(side, 0) & select.POLLOUT:
                with suppress(BlockingIOError):
                    typed = typed[os.write(side, typed) :]
            if ready.get(side, 0) & (select.POLLIN | select.POLLHUP) and not _show(side):
                poll.unregister(side)
                del wanted[side]
            if 0 in ready:
                chunk = _read(0)
                typed += chunk
                if not chunk:
                    poll.unregister(0)
                    del wanted[0]
            if connection in ready and side not in ready:
                return
            # More is taken from the keyboard when what was typed before has been read; output goes on.
            if 0 in wanted:
                wanted[0] = 0 if typed else select.POLLIN
            if side in wanted:
                wanted[side] = select.POLLIN | (select.POLLOUT if typed else 0)


def _show(side: int) -> bool:
    """Show what was printed; False when that was the end."""
    chunk = rest = _read(side)
    while rest:
        rest = rest[os.write(1, rest) :]
    return bool(chunk)


def _read(number: int) -> bytes:
    try:
        return os.read(number, CHUNK)
    except OSError as error:
        if error.errno != errno.EIO:  # the last program has closed its side
            raise
        return b""


@contextmanager
def _raw(number: int) -> Iterator[None]:
    before = termios.tcgetattr(number)
    tty.setraw(number)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)


@contextmanager
def _resizing(side: int) -> Iterator[None]:
    def resize(signal_number: int = 0, frame: FrameType | None = None) -> None:
        fcntl.ioctl(side, termios.TIOCSWINSZ, fcntl.ioctl(1, termios.TIOCGWINSZ, SIZE))

    before = signal.signal(signal.SIGWINCH, resize)
    try:
        resize()
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
