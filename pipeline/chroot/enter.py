"""Entering a root: fork, namespaces, mounts, and a connection to the process inside."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, ParamSpec, TypeVar

from pipeline.chroot import mounts, server, syscalls, wire
from pipeline.chroot.root import CommandError, Finished, RootSpec
from pipeline.errors import MachineError, PipelineError

P = ParamSpec("P")
T = TypeVar("T")

SEGFAULT = {-signal.SIGSEGV, 128 + signal.SIGSEGV}


def environment(spec: RootSpec) -> dict[str, str]:
    """What programs in the root find in their environment; nothing of this process's own."""
    clean = {
        "PATH": server.PATH,
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/sh",
        "LANG": "C",
        "TERM": "dumb",
        "SYSTEMD_OFFLINE": "1",
    }
    if spec.epoch is not None:
        clean["SOURCE_DATE_EPOCH"] = str(spec.epoch)
    return clean


class EnteredRoot:
    """A root that stands, until ``close``; see ``pipeline.chroot.root.Root``.

    ``shims`` maps the path of each stand-in that was laid over the image to its sha256.
    """

    def __init__(
        self,
        connection: socket.socket,
        kernel: str | None,
        shims: Mapping[str, str],
        on_line: Callable[[str], None],
        on_note: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._kernel = kernel
        self.shims = shims
        self._on_line = on_line
        self._on_note = on_note

    @property
    def kernel(self) -> str | None:
        return self._kernel

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str = "/",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        exit_codes: Collection[int] = (0,),
        separate: bool = False,
    ) -> Finished:
        words = list(argv)
        self._on_line(f"$ {shlex.join(words)}")
        wire.send(self._connection, ("run", words, cwd, dict(env or {}), stdin, separate))
        pending = b""
        while (answer := self._answer())[0] == "output":
            *lines, pending = (pending + answer[1]).split(b"\n")
            for line in lines:
                self._on_line(line.decode(errors="replace"))
        if pending:
            self._on_line(pending.decode(errors="replace"))
        _, code, stdout, stderr = answer
        finished = Finished(tuple(words), code, stdout, stderr)
        if exit_codes and code not in exit_codes:
            _explain_segfault(finished)
            raise CommandError(finished, exit_codes)
        return finished

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        wire.send(self._connection, ("call", function, args, kwargs))
        kind, *rest = self._answer()
        if kind == "result":
            result: T = rest[0]
            return result
        if kind == "error":
            kind_of_error: type[PipelineError] = rest[0]
            raise kind_of_error(rest[1])
        if kind == "os error":
            number, text, path = rest
            raise PipelineError(f"{path}: {text}" if path else f"{text} (errno {number})", where=path)
        raise RuntimeError(f"{function.__qualname__} failed in the chroot:\n{rest[0]}")

    def note(self, text: str) -> None:
        self._on_note(text)

    def close(self) -> None:
        """End everything in the root, in good order: daemons that were started are told as notes."""
        wire.send(self._connection, ("close",))
        for words in self._answer()[1]:
            self._on_note(f"was left running, and was ended with the stage: {words}")

    def _answer(self) -> tuple[Any, ...]:
        answer = wire.receive(self._connection)
        if answer is None:
            raise PipelineError("the chroot ended before its time", hint="was its process killed?")
        return answer


def nothing(text: str) -> None:
    """For those who do not listen."""


@contextmanager
def enter(
    spec: RootSpec,
    *,
    on_line: Callable[[str], None] = nothing,
    on_note: Callable[[str], None] = nothing,
) -> Iterator[EnteredRoot]:
    """A root made of ``spec``; when the block is left, however, all in it has ended and nothing is mounted.

    Needs root and a process with one thread (it forks). ``on_line`` gets each line that programs print.
    Raises ``MachineError`` when this machine can't make such a root.
    """
    ours, theirs = socket.socketpair()
    with ours:
        keeper = _fork(lambda: _keep(spec, theirs))
        theirs.close()
        try:
            hello = wire.receive(ours)
            if hello is None or hello[0] != "ready":
                raise _cannot(hello)
            root = EnteredRoot(ours, hello[1], hello[2], on_line, on_note)
            yield root
            root.close()
        except BaseException:
            os.kill(keeper, signal.SIGKILL)
            raise
        finally:
            os.waitpid(keeper, 0)


def run_interactively(spec: RootSpec, argv: Sequence[str], terminal: str) -> int:
    """Run ``argv`` in the root on this process's terminal; returns its exit code."""

    def inside() -> None:
        mounts.assemble(spec)
        os.chdir("/")
        pid = os.posix_spawnp(
            argv[0], list(argv), {**environment(spec), "TERM": terminal, "PS1": r"[\u@\h \W]\$ "}
        )
        while True:
            child, status = os.wait()
            if child == pid:
                os._exit(os.waitstatus_to_exitcode(status) & 0xFF)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keeper = _fork(lambda: _new_init(inside))
    return os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])


def _fork(work: Callable[[], None]) -> int:
    """Run ``work`` in a child that never returns from here and dies with this process."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        syscalls.die_with_parent(signal.SIGKILL)
        if os.getppid() in (parent, 0):  # 0: the parent is outside of this PID namespace
            work()
            code = 0
    except BaseException as error:
        with suppress(OSError):
            os.write(2, f"chroot: {error}\n".encode())
    finally:
        os._exit(code)


def _new_init(inside: Callable[[], None]) -> NoReturn:
    """Make the namespaces, run ``inside`` as their PID 1, and end as it ends."""
    flags = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    syscalls.unshare(flags)
    pid = _fork(inside)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os._exit(code if code >= 0 else 128 - code)


def _keep(spec: RootSpec, connection: socket.socket) -> None:
    def inside() -> None:
        try:
            os.umask(0o022)
            if not spec.network:
                syscalls.unshare(syscalls.CLONE_NEWNET)
                syscalls.loopback_up()
            root = mounts.assemble(spec)
        except OSError as error:
            wire.send(connection, ("failed", error.errno, str(error)))
            return
        wire.send(connection, ("ready", root.kernel, root.shims))
        server.serve(connection, environment(spec))

    try:
        _new_init(inside)
    except OSError as error:
        wire.send(connection, ("failed", error.errno, str(error)))


def _cannot(hello: tuple[Any, ...] | None) -> PipelineError:
    reason = hello[2] if hello else "its process ended at once"
    return MachineError(
        f"this machine could not make a chroot: {reason}",
        hint="it takes root, namespaces and overlayfs, with the store on a local filesystem",
        command="pipeline doctor",
    )


def _explain_segfault(finished: Finished) -> None:
    """EL6 programs die of SIGSEGV where the kernel has no vsyscall page (CentOS 6 in containers does too)."""
    if finished.exit_code not in SEGFAULT:
        return
    with open("/proc/self/maps") as file:
        if "[vsyscall]" in file.read():
            return
    raise MachineError(
        f"{shlex.join(finished.argv)} was killed by a segmentation fault, and this machine's kernel has no "
        "vsyscall page: programs of EL6 and older can't run here",
        hint="boot this machine with vsyscall=emulate on its kernel command line",
        command="pipeline doctor",
    )
