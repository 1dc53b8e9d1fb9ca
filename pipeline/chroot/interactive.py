"""One program in a root, on a terminal of its own or on what this process was started with."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping, Sequence

from pipeline.chroot import server, terminal, wire


def run(connection: socket.socket, argv: Sequence[str], env: Mapping[str, str], on_terminal: bool) -> None:
    """As PID 1 of a root: run ``argv`` until it ends, and send its exit code (and why it could not run).

    With ``on_terminal`` our side of its terminal is sent before. Without, it is at least in a session of its
    own, so that it has no controlling terminal into which it could type.
    """
    if on_terminal:
        ours, side = os.openpty()  # of the root's own /dev/pts
        socket.send_fds(connection, [b"t"], [ours])
        os.close(ours)
        terminal.take(side)
    else:
        os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    try:
        program = server.find(argv, env["PATH"])
        pid = os.posix_spawn(program, list(argv), env, setsigmask=(), setsigdef=server.TO_BE_DEFAULT)
    except (OSError, ValueError) as error:
        wire.send(connection, (server.exit_code_of(error), server.reason(error, argv)))
        return
    while True:
        child, status = os.wait()
        if child == pid:
            code = os.waitstatus_to_exitcode(status)
            wire.send(connection, (code if code >= 0 else 128 - code, None))
            return
