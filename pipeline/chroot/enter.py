"""Entering a root: fork, namespaces, mounts, and a connection to the process inside."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pipeline.chroot import mounts, processes, server, syscalls, wire
from pipeline.chroot.inside import NO_KERNEL
from pipeline.chroot.machine import MAPS, has_old_glibc, has_vsyscall
from pipeline.chroot.printed import End, Lines
from pipeline.chroot.root import CommandError, Finished, RootSpec, nothing
from pipeline.errors import MachineError, PipelineError, Problem

P = ParamSpec("P")
T = TypeVar("T")

SEGFAULT = {-signal.SIGSEGV, 128 + signal.SIGSEGV}


def environment(spec: RootSpec, kernel: str | None) -> dict[str, str]:
    """What programs in the root find in their environment; nothing of this process's own.

    ``kernel`` is the image's, if it has one: modprobe would take that of this machine (modprobe(8),
    MODPROBE_OPTIONS).
    """
    clean = {
        "PATH": server.PATH,
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/sh",
        "LANG": "C",
        "TERM": "dumb",
        "SYSTEMD_OFFLINE": "1",
        "MODPROBE_OPTIONS": f"-S {kernel or NO_KERNEL}",
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
        on_lines: Callable[[Sequence[str]], None],
        on_note: Callable[[str], None],
        maps: Path,
    ) -> None:
        self._connection = connection
        self._kernel = kernel
        self.shims = shims
        self._on_lines = on_lines
        self._on_note = on_note
        self._maps = maps

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
        most: int | None = None,
        on_lines: Callable[[Sequence[str]], None] = nothing,
    ) -> Finished:
        words = list(argv)
        self._on_lines([f"$ {shlex.join(words)}"])
        self._ask("run", words, cwd, dict(env or {}), stdin, separate)
        lines = {1: Lines(), 2: Lines()}
        kept = {1: End(most), 2: End(most)}
        while (answer := self._answer())[0] == "output":
            _, stream, chunk = answer
            kept[stream].add(chunk)
            self._hear(lines[stream].of(chunk), on_lines)
        for each in lines.values():
            self._hear(each.rest(), on_lines)
        code = answer[1]
        finished = Finished(tuple(words), code, kept[1].bytes(), kept[2].bytes(), kept[1].left_out)
        if exit_codes and code not in exit_codes:
            self._explain_segfault(finished)
            raise CommandError(finished, exit_codes)
        return finished

    def _hear(self, lines: Sequence[str], on_lines: Callable[[Sequence[str]], None]) -> None:
        if lines:
            self._on_lines(lines)
            on_lines(lines)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self._ask("call", function, args, kwargs)
        kind, *rest = self._answer()
        if kind == "result":
            result: T = rest[0]
            return result
        if kind == "error":
            exit_code, problems, type_of_error = rest
            raise _again(type_of_error, exit_code, problems)
        if kind == "os error":
            raise PipelineError(rest[0], where=rest[1])
        raise RuntimeError(f"{function.__qualname__} failed in the chroot:\n{rest[0]}")

    def note(self, text: str) -> None:
        self._on_note(text)

    def close(self) -> None:
        """End everything in the root, in good order: daemons that were started are told as notes."""
        self._ask("close")
        for words in self._answer()[1]:
            self._on_note(f"was left running, and was ended with the stage: {words}")

    def _ask(self, *request: Any) -> None:
        try:
            wire.send(self._connection, request)
        except OSError:
            raise _ended() from None

    def _answer(self) -> tuple[Any, ...]:
        answer = wire.receive(self._connection)
        if answer is None:
            raise _ended()
        return answer

    def _explain_segfault(self, finished: Finished) -> None:
        """EL6 programs die of SIGSEGV where the kernel has no vsyscall page."""
        if (
            finished.exit_code in SEGFAULT
            and not has_vsyscall(self._maps)
            and self.call(has_old_glibc, Path("/"))
        ):
            raise MachineError(
                f"{shlex.join(finished.argv)} was killed by a segmentation fault, and this machine's kernel "
                "has no vsyscall page: programs of EL6 and older can't run here",
                hint="boot this machine with vsyscall=emulate on its kernel command line",
                command="pipeline doctor",
            )


def _ended() -> PipelineError:
    return PipelineError("the chroot ended before its time", hint="was its process killed, or memory short?")


def _again(kind: type[PipelineError], exit_code: int, problems: Sequence[Problem]) -> PipelineError:
    """The error that was raised inside; one whose class is made of other things, as a plain one."""
    if kind.__init__ is PipelineError.__init__:
        return kind(problems)
    error = PipelineError(problems)
    error.exit_code = exit_code
    return error


@contextmanager
def enter(
    spec: RootSpec,
    *,
    on_lines: Callable[[Sequence[str]], None] = nothing,
    on_note: Callable[[str], None] = nothing,
    maps: Path = MAPS,
) -> Iterator[EnteredRoot]:
    """A root made of ``spec``; when the block is left, however, all in it has ended and nothing is mounted.

    Needs root and a process with one thread (it forks). ``on_lines`` gets the lines that programs print, as
    they come; ``maps`` says whether this machine has a vsyscall page. Raises ``MachineError`` when this
    machine can't make such a root.
    """
    with _standing(spec, server.serve) as (connection, kernel, laid):
        root = EnteredRoot(connection, kernel, laid, on_lines, on_note, maps)
        yield root
        root.close()


def run_interactively(spec: RootSpec, argv: Sequence[str], terminal: str) -> int:
    """Run ``argv`` in the root; returns its exit code (128 + N when signal N killed it).

    When stdin and stdout are a terminal it gets one of its own that is carried to that; else it gets what
    this process has. ``terminal`` is its TERM. Raises ``PipelineError`` (exit code 126 or 127) when there is
    no such program.
    """
    from pipeline.chroot import interactive
    from pipeline.chroot.terminal import carry

    on_terminal = os.isatty(0) and os.isatty(1)
    # In words that every shell knows: dash prints those of bash as they are.
    more = {"TERM": terminal, "PS1": f"[root@{spec.hostname} $PWD]# "}

    def work(theirs: socket.socket, env: Mapping[str, str]) -> None:
        interactive.run(theirs, argv, {**env, **more}, on_terminal)

    with _standing(spec, work) as (connection, _, _):
        if on_terminal:
            _, (side, *_), _, _ = socket.recv_fds(connection, 1, 1)
            try:
                carry(side, connection.fileno())
            finally:
                os.close(side)
        answer = wire.receive(connection)
    if answer is None:
        raise _ended()
    code, reason = answer
    if reason:
        failed = PipelineError(reason, where="in the image")
        failed.exit_code = code
        raise failed
    return int(code)


@contextmanager
def _standing(
    spec: RootSpec, work: Callable[[socket.socket, Mapping[str, str]], None]
) -> Iterator[tuple[socket.socket, str | None, Mapping[str, str]]]:
    """A root in whose first process ``work`` runs, with one end of a connection and the environment of
    programs; yields the other end, the kernel and the shims. When the block is left by an exception, all in
    the root is ended."""
    _require_layers(spec)
    ours, theirs = socket.socketpair()

    def inside() -> None:
        try:
            _only(theirs.fileno())
            os.umask(0o022)
            if not spec.network:
                syscalls.unshare(syscalls.CLONE_NEWNET)
                syscalls.loopback_up()
            root = mounts.assemble(spec, shims_folder)
        except Exception as error:
            wire.send(theirs, ("failed", str(error)))
            return
        wire.send(theirs, ("ready", root.kernel, root.shims))
        work(theirs, environment(spec, root.kernel))

    with ours, _shims_folder(spec) as shims_folder:
        keeper = _start(inside, theirs)
        try:
            theirs.close()
            hello = wire.receive(ours)
            if hello is None or hello[0] != "ready":
                raise _cannot(hello[1] if hello else "its process ended at once")
            yield ours, hello[1], hello[2]
        except BaseException:
            os.kill(keeper, signal.SIGTERM)
            raise
        finally:
            processes.wait(keeper)


def _require_layers(spec: RootSpec) -> None:
    """Raise ``PipelineError`` with every layer that is not there: that is no fault of this machine."""
    missing = [layer for layer in spec.layers if not layer.is_dir()]
    if missing:
        raise PipelineError(
            Problem("a layer of the image is missing", str(layer), command="pipeline fsck")
            for layer in missing
        )


@contextmanager
def _shims_folder(spec: RootSpec) -> Iterator[str | None]:
    """A directory beside the upper one for stand-ins, of nobody else; None for a root that is thrown away."""
    if spec.upper is None:
        yield None
        return
    folder = f"{spec.upper.parent}/shims.{os.urandom(8).hex()}"
    try:
        os.mkdir(folder, 0o700)
    except OSError as error:
        raise _cannot(str(error)) from None
    try:
        yield folder
    finally:
        # The store may have put the directory that it is in aside; then it goes with that.
        shutil.rmtree(folder, ignore_errors=True)


def _start(inside: Callable[[], None], theirs: socket.socket) -> int:
    try:
        return processes.start(inside, lambda error: wire.send(theirs, ("failed", str(error))))
    except OSError as error:
        raise _cannot(str(error)) from None


def _only(kept: int) -> None:
    """Let go of all that the maker of this process has open, but ``kept`` and what it was started with.

    Through a directory of this machine a program could get out (/proc/1/fd). The numbers stay taken, by a
    pipe's end: objects copied by the fork believe to own them, and may close them.
    """
    numbers = {int(name) for name in os.listdir("/proc/self/fd")}
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.close(writer)
    for number in numbers - {0, 1, 2, kept, reader, writer}:
        os.dup2(reader, number, inheritable=False)


def _cannot(reason: str) -> MachineError:
    return MachineError(
        f"this machine could not make a chroot: {reason}",
        hint="it takes root, namespaces and overlayfs, with the store on a local filesystem",
        command="pipeline doctor",
    )
