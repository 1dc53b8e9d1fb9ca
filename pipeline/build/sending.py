"""Events from a process that builds to the one that shows them."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

import msgspec

from pipeline.events import Event, Observer, ignore


def sender(number: int | None) -> Observer:
    """An observer that sends what it sees to the socket ``number`` of this process (None: nowhere)."""
    if number is None:
        return ignore
    connection = socket.socket(fileno=os.dup(number))

    def send(event: Event) -> None:
        with suppress(OSError):
            connection.send(msgspec.json.encode(event))

    return send
