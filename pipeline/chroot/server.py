"""The first process of a root (PID 1 there): runs what it is asked to, and reaps what is left."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import BuiltinImporter, FrozenImporter
from typing import Any, NoReturn

from pipeline.chroot import wire
from pipeline.errors import PipelineError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND, NOT_RUNNABLE = 127, 126
CHUNK = 1 << 16
OPEN_FILES = 1024
TO_BE_DEFAULT = frozenset(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def serve(connection: socket.socket, environment: Mapping[str, str]) -> None:
    """Answer requests until the other side is gone or says ``close``."""
    # A runaway number of files costs EL6's Python a close(2) for each; a core file would be in the layer.
    _limit_files()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in (0, 1, 2):
        os.dup2(null, number)
    _forbid_imports()
    children = _Children()
    while True:
        try:
            request = wire.receive(connection)
        except Exception as error:
            # What is to be called has to be imported before the root is entered, and known by its name.
            wire.send(connection, ("crash", f"{type(error).__name__}: {error}"))
            continue
        if request is None:
            return
        kind, *rest = request
        if kind == "run":
            wire.send(connection, _run(children, connection, environment, *rest))
        elif kind == "call":
            _answer_call(connection, *rest)
        elif kind == "close":
            wire.send(connection, ("left", _left_running()))
            return


def _limit_files() -> None:
    """OPEN_FILES for each process, or fewer where this machine allows no more."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class _Refusing:
    """A finder of modules that finds none, last in the row."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> NoReturn:
        raise ModuleNotFoundError(f"{name} is not imported, and inside a root nothing can be", name=name)


def _forbid_imports() -> None:
    """The files that an import would find here are the image's: nothing of them may run as this program.

    Emptying ``sys.path`` is not enough: a package that is imported has a path of its own.
    """
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, _Refusing()]
    sys.path[:] = []
    sys.path_importer_cache.clear()
    sys.dont_write_bytecode = True


def _answer_call(
    connection: socket.socket, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    answer = _call(function, args, kwargs)
    try:
        wire.send(connection, answer)
    except OSError:
        raise
    except Exception as error:  # nothing has been sent: pickling comes first
        wire.send(connection, ("crash", f"the result cannot be sent: {error}"))


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    try:
        os.chdir("/")
        return ("result", function(*args, **kwargs))
    except PipelineError as error:
        return ("error", error.exit_code, error.problems, type(error))
    except OSError as error:
        path = error.filename2 or error.filename
        where = os.fsdecode(path) if isinstance(path, str | bytes) else None
        return ("os error", error.strerror or str(error), where)
    except BaseException:
        return ("crash", traceback.format_exc())


class _Children:
    """Reaps every child as soon as it ends; ``ended`` holds the wait statuses of those asked for."""

    def __init__(self) -> None:
        self.ended: dict[int, int] = {}
        self.wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})

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
    """Run a program: stream what it prints as ("output", 1 or 2, bytes), return ("done", code).

    Nothing of it is kept here. All is 1, stdout, unless it is to be ``separate``.
    """
    full = {**environment, **env}
    out, out_writer = os.pipe2(os.O_CLOEXEC)
    err, err_writer = os.pipe2(os.O_CLOEXEC) if separate else (-1, out_writer)
    ours, theirs = {out, err} - {-1}, {out_writer, err_writer}
    try:
        try:
            source = _stdin(stdin)
            theirs.add(source)
            os.chdir(cwd)
            pid = _spawn(find(argv, full["PATH"]), argv, full, source, out_writer, err_writer)
        finally:
            os.chdir("/")
            for number in theirs:
                os.close(number)
        _follow(children, connection, pid, {out: 1, err: 2} if separate else {out: 1})
    except (OSError, ValueError) as error:
        text = f"{reason(error, argv)}\n".encode()
        wire.send(connection, ("output", 2 if separate else 1, text))
        return ("done", exit_code_of(error))
    finally:
        for number in ours:
            os.close(number)
    return ("done", os.waitstatus_to_exitcode(children.ended.pop(pid)))


class NotFoundError(OSError):
    """There is no such program."""


def find(argv: Sequence[str], path: str) -> str:
    """Where the program of ``argv`` is. Raises ``NotFoundError``, or ``OSError`` when it can't be run."""
    name = argv[0] if argv else ""
    program = shutil.which(name, path=path)
    if program is not None:
        return program
    if "/" in name and os.path.lexists(name):
        number = errno.EISDIR if os.path.isdir(name) else errno.EACCES
        raise OSError(number, os.strerror(number), name)
    raise NotFoundError(errno.ENOENT, "no such program in the image", name)


def reason(error: OSError | ValueError, argv: Sequence[str]) -> str:
    """Why ``argv`` can't be run, in a line."""
    if isinstance(error, OSError):
        return f"{error.filename or ' '.join(argv[:1])}: {error.strerror}"
    return f"{list(argv)}: {error}"


def exit_code_of(error: OSError | ValueError) -> int:
    """What a shell would exit with."""
    return NOT_FOUND if isinstance(error, NotFoundError) else NOT_RUNNABLE


def _stdin(content: bytes) -> int:
    if not content:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    number = os.memfd_create("stdin")
    with open(number, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def _spawn(program: str, argv: list[str], env: Mapping[str, str], stdin: int, out: int, err: int) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]

    def start(path: str, words: list[str]) -> int:
        return os.posix_spawn(
            path, words, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=TO_BE_DEFAULT
        )

    try:
        return start(program, argv)
    except OSError as error:
        if error.errno != errno.ENOEXEC:  # a script without #!, which a shell would run too
            raise
        return start("/bin/sh", ["/bin/sh", program, *argv[1:]])


def _follow(children: _Children, connection: socket.socket, pid: int, streams: Mapping[int, int]) -> None:
    """Pass on what ``pid`` prints until it has ended, whoever else still holds its pipes open.

    ``streams`` says which of its streams comes out of each pipe. The caller is waiting for us meanwhile; when
    it is gone instead, this process ends and everything with it.
    """
    poll = select.poll()
    pipes = set(streams)
    for number in pipes | {children.wakeup, connection.fileno()}:
        poll.register(number, select.POLLIN)
    over = False
    while pipes or not over:
        ready = dict(poll.poll(0 if over else None))
        if connection.fileno() in ready:
            os._exit(1)
        last, over = over, over or children.reap(pid)
        for number in [number for number in pipes if number in ready]:
            chunk = os.read(number, fcntl.fcntl(number, fcntl.F_GETPIPE_SZ))
            if chunk:
                wire.send(connection, ("output", streams[number], chunk))
            else:
                poll.unregister(number)
                pipes.discard(number)
        # One look after its end finds all that it wrote; others may go on writing for ever.
        if last:
            break


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
