"""The first process of a root (PID 1 there): runs what it is asked to, and reaps what is left."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pipeline.chroot import wire
from pipeline.errors import PipelineError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND, NOT_RUNNABLE = 127, 126
CHUNK = 1 << 16


def serve(connection: socket.socket, environment: Mapping[str, str]) -> None:
    """Answer requests until the other side is gone or says ``close``."""
    # Whoever presses Ctrl-C means the program outside; it ends this process by its own end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _forbid_imports()
    children = _Children()
    while True:
        try:
            request = wire.receive(connection)
        except ImportError as error:
            # What is to be called has to be imported before the root is entered.
            wire.send(connection, ("crash", f"{error}: not imported before the root was entered"))
            continue
        if request is None:
            return
        kind, *rest = request
        if kind == "run":
            wire.send(connection, _run(children, connection, environment, *rest))
        elif kind == "call":
            wire.send(connection, _call(*rest))
        elif kind == "close":
            wire.send(connection, ("left", _left_running()))
            return


def _forbid_imports() -> None:
    """The files that an import would find here are the image's: nothing of them may run as this program."""
    sys.path[:] = []
    sys.path_importer_cache.clear()
    sys.dont_write_bytecode = True


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    try:
        os.chdir("/")
        return ("result", function(*args, **kwargs))
    except PipelineError as error:
        return ("error", type(error), error.problems)
    except OSError as error:
        return ("os error", error.errno, error.strerror or str(error), error.filename)
    except Exception:
        return ("crash", traceback.format_exc())


class _Children:
    """Reaps every child as soon as it ends; ``ended`` holds the wait statuses of those asked for."""

    def __init__(self) -> None:
        self.ended: dict[int, int] = {}
        self.wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def reap(self, wanted: int) -> bool:
        """Reap all that have ended; whether ``wanted`` has."""
        with suppress(BlockingIOError):
            os.read(self.wakeup, CHUNK)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == wanted:
                self.ended[pid] = status
        return wanted in self.ended


def _run(
    children: _Children,
    connection: socket.socket,
    environment: Mapping[str, str],
    argv: list[str],
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes,
    separate: bool,
) -> tuple[Any, ...]:
    """Run a program: stream what it prints as ("output", bytes), return ("done", code, stdout, stderr)."""
    full = {**environment, **env}
    try:
        os.chdir(cwd)
    except OSError as error:
        return ("done", NOT_RUNNABLE, b"", f"{cwd}: {error.strerror}\n".encode())
    try:
        program = shutil.which(argv[0], path=full["PATH"])
        if program is None:
            return ("done", NOT_FOUND, b"", f"{argv[0]}: no such program in the image\n".encode())
        out, out_writer = os.pipe2(os.O_CLOEXEC)
        err, err_writer = os.pipe2(os.O_CLOEXEC) if separate else (-1, out_writer)
        source = _stdin(stdin)
        try:
            pid = _spawn(program, argv, full, source, out_writer, err_writer)
        except OSError as error:
            return ("done", NOT_RUNNABLE, b"", f"{program}: {error.strerror}\n".encode())
        finally:
            for number in {source, out_writer, err_writer}:
                os.close(number)
    finally:
        os.chdir("/")
    printed = _follow(children, connection, pid, out, err)
    code = os.waitstatus_to_exitcode(children.ended.pop(pid))
    return ("done", code, b"".join(printed[out]), b"".join(printed[err]) if separate else b"")


def _stdin(content: bytes) -> int:
    if not content:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    number = os.memfd_create("stdin")
    os.write(number, content)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def _spawn(program: str, argv: list[str], env: Mapping[str, str], stdin: int, out: int, err: int) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
    default = [signal.SIGINT, signal.SIGPIPE, signal.SIGCHLD]

    def start(path: str, words: list[str]) -> int:
        return os.posix_spawn(path, words, env, file_actions=actions, setsid=True, setsigdef=default)

    try:
        return start(program, argv)
    except OSError as error:
        if error.errno != 8:  # ENOEXEC: a script without #!, which a shell would run too
            raise
        return start("/bin/sh", ["/bin/sh", program, *argv[1:]])


def _follow(
    children: _Children, connection: socket.socket, pid: int, out: int, err: int
) -> dict[int, list[bytes]]:
    """Pass on what ``pid`` prints until it has ended, whoever else still holds its pipes open.

    The caller is waiting for us meanwhile; when it is gone instead, this process ends and everything with it.
    """
    printed: dict[int, list[bytes]] = {out: [], err: []}
    poll = select.poll()
    pipes = {number for number in (out, err) if number >= 0}
    for number in pipes | {children.wakeup, connection.fileno()}:
        poll.register(number, select.POLLIN)
    over = False
    while not over or pipes:
        ready = dict(poll.poll(0 if over else None))
        if connection.fileno() in ready:
            os._exit(1)
        over = over or children.reap(pid)
        readable = [number for number in pipes if number in ready]
        if over and not ready:
            break
        for number in readable:
            chunk = os.read(number, CHUNK)
            if chunk:
                printed[number].append(chunk)
                wire.send(connection, ("output", chunk))
            else:
                poll.unregister(number)
                pipes.discard(number)
    for number in (out, err):
        if number >= 0:
            os.close(number)
    return printed


def _left_running() -> list[str]:
    """The command lines of processes that outlived what started them: daemons. They end with this process."""
    left = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with suppress(OSError), open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
                if words:
                    left.append(words)
    return left
