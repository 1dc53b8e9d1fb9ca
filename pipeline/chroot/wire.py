"""What goes over the socket between a root's process and the one that made it: pickled, with a length."""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

HEADER = struct.Struct("=Q")


def send(connection: socket.socket, message: tuple[Any, ...]) -> None:
    """Send one message. Raises ``OSError`` when nobody is there."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    connection.sendall(HEADER.pack(len(body)) + body)


def receive(connection: socket.socket) -> tuple[Any, ...] | None:
    """The next message, or None when the other side is gone.

    Both sides are this program, one a fork of the other: what is unpickled comes from nobody else.
    """
    head = _exactly(connection, HEADER.size)
    if head is None:
        return None
    body = _exactly(connection, HEADER.unpack(head)[0])
    if body is None:
        return None
    message: tuple[Any, ...] = pickle.loads(body)
    return message


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        try:
            part = connection.recv(min(size, 1 << 20))
        except ConnectionResetError:
            return None
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
