"""What happens while images are built, as plain data; terminal, plain log and JSON are observers of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that happened to ``image``; the empty name is the run as a whole."""

    image: str


class ImagePlanned(Event, frozen=True, kw_only=True):
    """The stages that an image will go through, in order."""

    stages: tuple[str, ...]


class StageStarted(Event, frozen=True, kw_only=True):
    """A stage that is not in the store begins. ``what`` is ``running`` or ``locking``."""

    stage: str
    what: str = "running"


class StageFinished(Event, frozen=True, kw_only=True):
    """A stage has a layer. ``seconds`` and ``bytes`` are those of the run that made it."""

    stage: str
    cached: bool
    seconds: float
    bytes: int


class Lines(Event, frozen=True, kw_only=True):
    """One line or more that a program of ``stage`` printed, without the last one's end."""

    stage: str
    text: str


class Note(Event, frozen=True, kw_only=True):
    """Something to know that is no error: a tolerated message, a skipped check, a stale lock renewed."""

    stage: str
    text: str


class Progress(Event, frozen=True, kw_only=True):
    """A transfer: ``done`` of ``total`` bytes (None: unknown); ``what`` is a URL or a base."""

    what: str
    done: int
    total: int | None


class ImageFinished(Event, frozen=True, kw_only=True):
    """An image is a version (``number``), or failed (None)."""

    number: int | None


Observer: TypeAlias = Callable[[Event], None]
EVENTS = ImagePlanned | StageStarted | StageFinished | Lines | Note | Progress | ImageFinished


def ignore(event: Event) -> None:
    """An observer for those who want none."""
