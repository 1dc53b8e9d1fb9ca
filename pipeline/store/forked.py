"""Work that two processes share: hashing and copying of many files keeps Python's one thread busy."""

from __future__ import annotations

import os
import selectors
import signal
import struct
from collections.abc import Callable
from io import FileIO
from typing import TypeAlias

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.libc import die_with_parent

WORKERS = 2
_NUMBER = struct.Struct("=q")


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker tells: how much more it has done, what it found, or why it gave up."""

    done: int = 0
    found: tuple[Problem, ...] = ()
    failed: tuple[Problem, ...] = ()
    errno: int | None = None
    text: str = ""
    file: str = ""


Tell: TypeAlias = Callable[[Message], None]


class Turns:
    """Numbers from 0, each of which is given to one process only. Make it before forking.

    A pipe holds the next number; who has read it puts back the one after it.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe2(os.O_CLOEXEC)
        os.write(self._writing, _NUMBER.pack(0))

    def take(self) -> int:
        """The next number; waits while another process has it in hand."""
        number: int = _NUMBER.unpack(os.read(self._reading, _NUMBER.size))[0]
        os.write(self._writing, _NUMBER.pack(number + 1))
        return number

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._reading)
        os.close(self._writing)


class Share:
    """Which of many small things in a row fall to this process: runs of ``length``, whoever is free."""

    def __init__(self, turns: Turns, length: int) -> None:
        self._turns = turns
        self._length = length
        self._number = -1
        self._run = -1

    def next_is_mine(self) -> bool:
        """Whether the next thing falls to this process; every process must ask about the same things."""
        self._number += 1
        now = self._number // self._length
        while self._run < now:
            self._run = self._turns.take()
        return self._run == now


def in_processes(task: Callable[[int, Tell], None], heard: Callable[[Message], None]) -> None:
    """Run ``task(number, tell)`` in ``WORKERS`` forked processes; ``heard`` sees what they tell.

    Raises the ``PipelineError`` or ``OSError`` that ended one of them; the others are then killed, as
    they are by the kernel when this thread ends.
    """
    children: dict[FileIO, int] = {}
    parent = os.getpid()
    with selectors.DefaultSelector() as waiting:
        try:
            for number in range(WORKERS):
                reading, writing = os.pipe2(os.O_CLOEXEC)
                pid = os.fork()
                if pid == 0:
                    _work(number, task, writing, parent)
                os.close(writing)
                pipe = os.fdopen(reading, "rb", buffering=0)
                children[pipe] = pid
                waiting.register(pipe, selectors.EVENT_READ, bytearray())
            while children:
                for key, _ in waiting.select():
                    block = os.read(key.fd, 1 << 16)
                    *lines, rest = (key.data + block).split(b"\n")
                    key.data[:] = rest
                    for text in lines:
                        _hear(msgspec.json.decode(text, type=Message), heard)
                    if not block:
                        ended = next(pipe for pipe in children if pipe is key.fileobj)
                        waiting.unregister(ended)
                        ended.close()
                        _check_end(children.pop(ended))
        finally:
            for pipe, pid in children.items():
                pipe.close()
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _check_end(pid: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code != 0:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
        raise PipelineError(f"a process that worked on the store {how}")


def _hear(message: Message, heard: Callable[[Message], None]) -> None:
    if message.errno is not None:
        raise OSError(message.errno, message.text, message.file)
    if message.failed:
        raise PipelineError(message.failed)
    heard(message)


def _work(number: int, task: Callable[[int, Tell], None], pipe: int, parent: int) -> None:
    """The life of a worker; does not return."""
    code = 1
    try:
        die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too, and ends this process

        def tell(message: Message) -> None:
            block = msgspec.json.encode(message) + b"\n"
            while block:
                block = block[os.write(pipe, block) :]

        try:
            if os.getppid() == parent:
                task(number, tell)
        except PipelineError as error:
            tell(Message(failed=error.problems))
        except OSError as error:
            file = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
            tell(Message(errno=error.errno or 5, text=error.strerror or str(error), file=file))
        code = 0
    finally:
        os._exit(code)
