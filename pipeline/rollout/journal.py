"""The journal of a rollout: a line for each event, on the disk before anything depends on it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError
from pipeline.rollout.states import Event

DECODER = msgspec.json.Decoder(Event)
ENCODER = msgspec.json.Encoder()

BY_HAND = "see in the cluster manager how the nodes are; this rollout can't go on by itself"

UNREADABLE = (ValueError, RecursionError)
"""What decoding raises: for what is no JSON or another thing, no UTF-8, or nested too deeply."""


class DamagedError(PipelineError):
    """The order or the journal of a rollout can't be read: it can't go on, only be given up."""


def events(path: Path) -> Iterator[Event]:
    """All events so far. A last line without its end was being written when power went, and is none.

    Raises ``DamagedError`` for any other line that is no event: what was done can't be known then.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DamagedError("the journal is gone", where=str(path), hint=BY_HAND) from None
    *lines, _ = content.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            yield DECODER.decode(line)
        except UNREADABLE as error:
            raise DamagedError(
                f"the journal is damaged: {error}",
                where=f"{path}:{number}",
                hint=BY_HAND,
            ) from None


def readable(path: Path) -> Iterator[Event]:
    """The events of a journal that may be damaged: what can't be read is left out."""
    try:
        content = path.read_bytes()
    except OSError:
        return
    for line in content.split(b"\n"):
        with suppress(*UNREADABLE):
            yield DECODER.decode(line)


def is_ended(path: Path) -> bool:
    """Whether the last line says that the rollout is at its end; the others are not read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 65536))
            lines = file.read().split(b"\n")
        return len(lines) > 1 and DECODER.decode(lines[-2]).word == "ended"
    except (OSError, *UNREADABLE):
        return False


class Journal:
    """Writes events; they are on the disk when ``write`` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            self._cut_torn_line()
        except BaseException:
            os.close(self._fd)
            raise

    def write(self, told: Iterable[Event]) -> None:
        """Append all of them, with one sync. Raises ``OSError`` with its name when the disk is full: then
        none counts."""
        text = b"".join(ENCODER.encode(event) + b"\n" for event in told)
        end = os.fstat(self._fd).st_size
        try:
            while text:
                text = text[os.write(self._fd, text) :]
            os.fdatasync(self._fd)
        except OSError as error:
            error.filename = str(self._path)
            os.ftruncate(self._fd, end)
            raise

    def close(self) -> None:
        os.close(self._fd)

    def _cut_torn_line(self) -> None:
        """What was being written when it ended would be the beginning of the next line."""
        size = os.fstat(self._fd).st_size
        at, tail = size, b""
        while at and b"\n" not in tail:
            at = max(0, at - 65536)
            tail = os.pread(self._fd, size - at, at)
        end = at + tail.rfind(b"\n") + 1
        if end < size:
            os.ftruncate(self._fd, end)
