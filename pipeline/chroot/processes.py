"""The processes that a root stands on: who ends when whom ends, so that nothing outlives its maker.

This process forks a keeper, which makes the namespaces and forks their first process (PID 1 there). The
keeper ends last, when that one and with it all else in the root has ended, and takes the mounts with it.
When this process dies, the kernel tells the keeper (SIGTERM); when the keeper dies, the kernel kills PID 1
(SIGKILL).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from pipeline.chroot import syscalls
from pipeline.libc import die_with_parent

HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
NAMESPACES = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
SIGN = b"."


def start(inside: Callable[[], None], failed: Callable[[OSError], None]) -> int:
    """Run ``inside`` as the first process of fresh namespaces; returns the keeper's process id.

    The keeper's exit code is that of ``inside`` (128 + N when signal N killed it); SIGTERM makes it end
    everything. ``failed`` is called in the keeper when there are no namespaces to be had.
    """

    def keep() -> NoReturn:
        try:
            syscalls.unshare(NAMESPACES)
            pid = _fork(inside, signal.SIGKILL)
        except OSError as error:
            failed(error)
            os._exit(1)
        _keep(pid)

    return _fork(keep, signal.SIGTERM)


def wait(keeper: int) -> int:
    """Wait until all in the root of ``keeper`` has ended and nothing of it is mounted; its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])


def _keep(first: int) -> NoReturn:
    """Wait for PID 1 of the namespaces; the kernel lets it be waited for when all the others have ended."""
    while True:
        pid, status = os.waitpid(first, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        if signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM:
            os.kill(first, signal.SIGKILL)


def _fork(work: Callable[[], None], at_our_end: signal.Signals) -> int:
    """Run ``work`` in a child that never returns from here and gets ``at_our_end`` when this process ends.

    Signals that would end a child before it knows how to are held in it (``HELD``).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    held = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        ours, theirs = socket.socketpair()
        with ours:
            pid = os.fork()
            if pid == 0:
                ours.close()
                _child(work, at_our_end, theirs)
            theirs.close()
            # Only now it is known that the child hears of our end. It waits for this word: should we end
            # before, it ends, too, for nobody would tell it.
            if ours.recv(1):
                ours.send(SIGN)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    return pid


def _child(work: Callable[[], None], at_our_end: signal.Signals, parent: socket.socket) -> NoReturn:
    code = 1
    try:
        for number in HELD:
            signal.signal(number, signal.SIG_DFL)
        die_with_parent(at_our_end)
        parent.send(SIGN)
        if parent.recv(1):
            parent.close()
            work()
            code = 0
    finally:
        os._exit(code)
