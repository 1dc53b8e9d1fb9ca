"""A shell on each of many nodes, kept open while there is something to ask: one ssh for each node.

As many as the fan-out allows are open at once; when one ends the next begins. ClusterShell's loop has a
thread of its own; all else may be called from any.
"""

from __future__ import annotations

import binascii
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from pipeline.cluster import fanout
from pipeline.cluster.fanout import Target, Way
from pipeline.cluster.shellscript import SIGN, TIMED_OUT, put_frame, run_frame, script

if TYPE_CHECKING:
    from ClusterShell.Worker.Worker import Worker

LAST_LINES = 3
"""Of what ssh says when it gets nowhere."""

LOOK_EVERY = 1.0
END_SECONDS = 3.0
GRACE = 20
"""Seconds beyond a limit that the node itself keeps: for a login, for what can't be ended there."""

State = Literal["waiting", "open", "ended"]


class Ran(msgspec.Struct, frozen=True):
    """How a command ended on a node."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""


class Lost(msgspec.Struct, frozen=True):
    """There is no answer, and why."""

    why: str


class Shell(msgspec.Struct):
    """One node's. ``why`` says how it ended, when that was not in order; ``was_open``: it was reached.

    ``outbox`` are frames for when it is open, ``pending`` the commands that are not answered yet, each with
    the seconds that it may take. ``begun`` is when ssh was, ``busy`` since when there is something pending,
    ``heard`` when it last said something, ``ran`` when it began what it does ``now`` (monotonic; 0: not yet).
    """

    name: str
    state: State = "waiting"
    was_open: bool = False
    why: str = ""
    answers: dict[int, Ran | Lost] = {}
    pending: dict[int, tuple[str, float]] = {}
    outbox: list[bytes] = []
    is_closing: bool = False
    noise: list[str] = []
    now: int | None = None
    begun: float = 0.0
    busy: float = 0.0
    heard: float = 0.0
    ran: float = 0.0
    parts: dict[str, list[bytes]] = {}


class Watcher(Protocol):
    """Who is told, in the thread of the loop; must not wait for anything."""

    def opened(self, node: str) -> None: ...


class Shells:
    """Shells on ``targets``; to be used as a context manager, which ends all of them.

    ``changed`` is notified when a shell opens or ends, or an answer comes; whoever looks at ``shells`` holds
    it. A command may take ``command_seconds``, and all that a shell was asked together ``way.seconds``; time
    in which it has nothing to do does not count. Who waits here also gives up what takes longer.
    """

    def __init__(
        self, targets: Sequence[Target], way: Way, folder: Path, command_seconds: float, watcher: Watcher
    ) -> None:
        self.changed = threading.Condition()
        self.shells = {target.name: Shell(target.name) for target in targets}
        self._targets, self._way, self._folder, self._watcher = targets, way, folder, watcher
        self._command_seconds = command_seconds
        self._sign = secrets.token_hex(4)
        self._start = f"{SIGN}{self._sign} ".encode()
        self._workers: dict[str, Worker] = {}
        self._port: Any = None
        self._number = 0
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="shells", daemon=True)

    def __enter__(self) -> Shells:
        """Raises ``MachineError`` or ``UsageError`` when this machine can't reach any node at all."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        """Let shells that have nothing to do end by themselves, with their files; kill the rest."""
        for name, shell in self.shells.items():
            if shell.state == "open" and not shell.pending:
                self.close(name)
        until = time.monotonic() + END_SECONDS
        with self.changed:
            while time.monotonic() < until and any(
                shell.is_closing and shell.state == "open" and not shell.pending
                for shell in self.shells.values()
            ):
                self.changed.wait(LOOK_EVERY)
        self._in_loop(self._abort)
        self._thread.join()

    def ask(self, node: str, command: str, seconds: float | None = None) -> int:
        """Have ``command`` run on ``node`` after what it was asked before; the number of the answer."""
        with self.changed:
            self._number += 1
            number, shell = self._number, self.shells[node]
            if shell.state == "ended" or shell.is_closing:
                shell.answers[number] = Lost(shell.why or "the connection was closed")
                return number
            limit = seconds or self._command_seconds
            if not shell.pending:
                shell.busy = time.monotonic()
            shell.pending[number] = (command, limit)
            frame = run_frame(number, command, limit)
        self._send(shell, frame)
        return number

    def put(self, node: str, name: str, content: bytes) -> None:
        """Send a file for later commands, see ``shellscript.FILES``."""
        shell = self.shells[node]
        if shell.state != "ended":
            self._send(shell, put_frame(name, content))

    def close(self, node: str) -> None:
        """Let ``node``'s shell end when it has done what it was asked."""
        with self.changed:
            shell = self.shells[node]
            if shell.is_closing or shell.state == "ended":
                return
            shell.is_closing = True
            is_open = shell.state == "open"
        if is_open:
            self._in_loop(lambda: self._workers[node].set_write_eof())

    def wait_for(self, node: str, number: int) -> Ran | Lost:
        """The answer; a shell's end is one, too."""
        shell = self.shells[node]
        with self.changed:
            while number not in shell.answers:
                self.wait()
            return shell.answers[number]

    def wait_for_all(self) -> None:
        """Until every shell has ended."""
        with self.changed:
            while any(shell.state != "ended" for shell in self.shells.values()):
                self.wait()

    def wait(self) -> None:
        """Until something changes, or a second; whoever calls this holds ``changed``."""
        if not self.changed.wait(LOOK_EVERY):
            now = time.monotonic()
            for shell in self.shells.values():
                why = self._overdue(shell, now)
                if why is not None:
                    self._give_up(shell.name, why)

    def _overdue(self, shell: Shell, now: float) -> str | None:
        """Why a shell is not waited for any longer; None when it is."""
        if shell.state == "waiting":
            seconds = self._way.connect_seconds + GRACE
            return (
                f"unreachable: no shell in {seconds} s"
                if shell.begun and now - shell.begun > seconds
                else None
            )
        if shell.state == "open" and shell.pending:
            limit = next(iter(shell.pending.values()))[1] + GRACE
            took = now - max(shell.heard, shell.busy)
            if took > limit or (self._way.seconds and now - shell.busy > self._way.seconds):
                return f"not done in {max(took, now - shell.busy):.0f} s{_in(shell)}"
        elif shell.state == "open" and shell.is_closing and now - shell.heard > GRACE:
            return ""
        return None

    def _give_up(self, node: str, why: str) -> None:
        self._end(node, why)
        self._in_loop(lambda: self._workers[node].abort())

    def _send(self, shell: Shell, frame: bytes) -> None:
        with self.changed:
            if shell.state != "open":
                shell.outbox.append(frame)
                return
        self._in_loop(lambda: self._workers[shell.name].write(frame))

    def _in_loop(self, call: Callable[[], object]) -> None:
        """Calls of workers are for the thread of the loop only."""
        if threading.current_thread() is self._thread:
            call()
            return
        # The loop may just have ended by itself, its port with it: then nothing is left to be told.
        with suppress(OSError, AttributeError, KeyError):
            self._port.msg_send(call)

    def _abort(self) -> None:
        for worker in self._workers.values():
            worker.abort()

    def _loop(self) -> None:
        try:
            with fanout.own_task() as task:
                over_ssh = [target for target in self._targets if not target.local]
                tree = fanout.prepare(task, over_ssh, self._way, self._folder)
                self._port = task.port(handler=_calls(), autoclose=True)
                self._schedule(task, tree)
                self._ready.set()
                task.run()
        except BaseException as error:  # raised again where this was begun, or told as every node's end
            self._error = error
        finally:
            self._all_ended()
            self._ready.set()

    def _schedule(self, task: Any, tree: bool) -> None:
        command = script(self._sign)
        for target in self._targets:
            nodes = [] if target.local else [target.name]
            handler = fanout.handler_of(self, [target.name], target.name if target.local else "")
            self._workers[target.name] = fanout.start(task, command, nodes, handler, tree, stdin=True)

    def _all_ended(self) -> None:
        for name, shell in self.shells.items():
            if shell.state != "ended":
                why = f"the connections broke down: {self._error}" if self._error else "it was not waited for"
                self._end(name, why)

    # What ClusterShell tells

    def started(self, node: str) -> None:
        """ssh was begun."""
        self.shells[node].begun = time.monotonic()

    def line(self, node: str, line: bytes) -> None:
        """A line came: an answer's, or what ssh says."""
        shell = self.shells[node]
        if not line.startswith(self._start):
            text = line.decode(errors="replace").strip()
            if text:
                shell.noise = [*shell.noise[1 - LAST_LINES :], text]
            return
        shell.heard = time.monotonic()
        word, _, rest = line[len(self._start) :].rstrip(b"\r").partition(b" ")
        match word:
            case b"hello":
                self._open(shell)
            case b"begin":
                shell.now, shell.parts = int(rest), {"out": [], "err": []}
                shell.ran = shell.heard
            case b"out" | b"err":
                shell.parts[word.decode()].append(rest.partition(b" ")[2])
            case b"end":
                self._answer(shell, rest)

    def ended(self, node: str, code: int) -> None:
        """ssh ended."""
        shell = self.shells[node]
        said = "; ".join(shell.noise)
        if not shell.was_open:
            self._end(node, f"unreachable: {said or f'ssh ended with {code}'}")
        elif shell.is_closing and not shell.pending:
            self._end(node, "")
        else:
            self._end(node, f"the connection broke off{f': {said}' if said else ''}{_in(shell)}")

    def timed_out(self, node: str) -> None:
        """ClusterShell has no limit here."""

    def _open(self, shell: Shell) -> None:
        with self.changed:
            shell.state, shell.was_open, shell.noise = "open", True, []
            frames, shell.outbox = shell.outbox, []
        worker = self._workers[shell.name]
        for frame in frames:
            worker.write(frame)
        self._watcher.opened(shell.name)
        if shell.is_closing:
            worker.set_write_eof()
        with self.changed:
            self.changed.notify_all()

    def _answer(self, shell: Shell, rest: bytes) -> None:
        number, code = map(int, rest.split())
        if number not in shell.pending:  # it was given up
            return
        out, err = (b"".join(map(binascii.a2b_base64, shell.parts[name])) for name in ("out", "err"))
        took = time.monotonic() - shell.ran
        answer: Ran | Lost = Ran(code, out, err)
        if code == TIMED_OUT and took > shell.pending[number][1] - 0.5:
            answer = Lost(f"not done in {took:.0f} s: {_short(shell.pending[number][0])}")
        with self.changed:
            shell.now = None
            shell.pending.pop(number, None)
            shell.answers[number] = answer
            self.changed.notify_all()

    def _end(self, node: str, why: str) -> None:
        with self.changed:
            shell = self.shells[node]
            if shell.state == "ended":
                return
            shell.state, shell.why = "ended", why
            for number in shell.pending:
                shell.answers[number] = Lost(why or "the connection ended")
            shell.pending, shell.outbox = {}, []
            self.changed.notify_all()


def _calls() -> Any:
    from ClusterShell.Event import EventHandler

    class Calls(EventHandler):  # type: ignore[misc]
        def ev_msg(self, port: Any, msg: Callable[[], object]) -> None:
            msg()

    return Calls()


def _in(shell: Shell) -> str:
    found = shell.pending.get(shell.now or 0)
    return f", in: {_short(found[0])}" if found else ""


def _short(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= 100 else f"{line[:99]}…"
