"""What a person sees while images are built: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from pipeline.cli.text import seconds, size
from pipeline.events import (
    Event,
    ImageFinished,
    Lines,
    Note,
    Observer,
    Progress,
    StageFinished,
    StageStarted,
)
from pipeline.printable import on_one_line


@contextmanager
def watching(*, verbose: bool, plain: bool) -> Iterator[tuple[Observer, Callable[[], None] | None]]:
    """An observer for this process's stderr, and what is to be called now and then so that clocks go on."""
    if plain or verbose or not sys.stderr.isatty():
        yield PlainLog(sys.stderr, verbose=verbose), None
        return
    from pipeline.cli.live import LiveView

    with LiveView() as view:
        yield view.see, view.refresh


class PlainLog:
    """One line for each thing that happened; what programs print only with ``verbose``."""

    def __init__(self, stream: TextIO, *, verbose: bool) -> None:
        self._stream = stream
        self._verbose = verbose
        self._begun: set[str] = set()

    def __call__(self, event: Event) -> None:
        line = self._line(event)
        if line is not None:
            print(line, file=self._stream, flush=True)

    def _line(self, event: Event) -> str | None:
        match event:
            case StageStarted():
                return f"{event.image}: {event.stage}: {event.what}"
            case StageFinished(cached=True):
                return f"{event.image}: {event.stage}: cached"
            case StageFinished():
                return f"{event.image}: {event.stage}: done in {seconds(event.seconds)}, {size(event.bytes)}"
            case Note():
                place = ": ".join(word for word in (event.image, event.stage) if word)
                return on_one_line(f"{place}: {event.text}" if place else event.text)
            case Lines() if self._verbose:
                begin = f"{event.image}: {event.stage}: | "
                return "\n".join(begin + line for line in event.text.split("\n"))
            case Progress() if event.what not in self._begun:
                self._begun.add(event.what)
                total = f" ({size(event.total)})" if event.total else ""
                doing = "fetching " if "://" in event.what else ""
                return f"{doing}{on_one_line(event.what)}{total}"
            case ImageFinished(number=None):
                return f"{event.image}: failed"
            case ImageFinished():
                return f"{event.image}: version {event.number}"
        return None
