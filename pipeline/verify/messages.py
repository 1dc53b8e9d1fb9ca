"""What goes over the socket between the process that holds the root and the one that runs the tests.

Each message is msgpack with its length before it. Test files run on the other side, so nothing is unpickled.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgspec

HEADER = struct.Struct("=Q")
CHUNK = 1 << 20


class ImageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What tests are told about the version under test (fixtures ``image`` and ``parameters``).

    ``kernel`` is the release of its kernel (``2.6.32-431.el6.x86_64``), None without one;
    ``kernel_parameters`` are those that the recipe appends, in order.
    """

    name: str
    number: int
    kernel: str | None
    kernel_parameters: tuple[str, ...]
    parameters: dict[str, Any]


class Run(msgspec.Struct, frozen=True, tag=True):
    """A request: run this shell command in the root; the answer is a ``Ran``. It may name any file."""

    command: bytes


class Ask(msgspec.Struct, frozen=True, tag=True):
    """A request: call the function of ``pipeline.verify.inside`` that ``question`` names, in the root."""

    question: str
    arguments: tuple[Any, ...]


class Collected(msgspec.Struct, frozen=True, tag=True):
    """Told once: the names of all tests, in order, and of the files that hold some or were skipped whole."""

    tests: tuple[str, ...]
    files: tuple[str, ...]


class Started(msgspec.Struct, frozen=True, tag=True):
    """Told before each test."""

    test: str


class Result(msgspec.Struct, frozen=True, tag=True):
    """Told after each test, and for each file that could not be read. ``outcome`` as in ``Verification``."""

    test: str
    outcome: str
    seconds: float
    message: str


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The last word of a run that came to its end."""


class Ran(msgspec.Struct, frozen=True):
    """How a command ended; a negative code is the signal that killed it."""

    exit_code: int
    stdout: bytes
    stderr: bytes


Message = Run | Ask | Collected | Started | Result | Ended


class GoneError(Exception):
    """The other side is no longer there."""


def send(connection: socket.socket, message: object) -> None:
    """Send one message. Raises ``GoneError`` when nobody listens."""
    body = msgspec.msgpack.encode(message)
    try:
        connection.sendall(HEADER.pack(len(body)) + body)
    except OSError:
        raise GoneError from None


def receive(connection: socket.socket, kind: Any) -> Any:
    """The next message, checked to be of the type ``kind``.

    Raises ``GoneError`` at the end, also within a message, and ``msgspec.DecodeError`` for anything else.
    """
    (size,) = HEADER.unpack(_exactly(connection, HEADER.size))
    return msgspec.msgpack.decode(_exactly(connection, size), type=kind)


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        try:
            part = connection.recv(min(size, CHUNK))
        except OSError:
            raise GoneError from None
        if not part:
            raise GoneError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
