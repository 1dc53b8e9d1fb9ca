"""The live view of a build on a terminal: images side by side, their stages, and downloads below."""

from __future__ import annotations

import time
from types import TracebackType

import msgspec
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pipeline.cli.text import seconds, size
from pipeline.events import (
    Event,
    ImageFinished,
    ImagePlanned,
    Lines,
    Note,
    Progress,
    StageFinished,
    StageStarted,
)
from pipeline.printable import on_one_line

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PER_SECOND = 10


class StageRow(msgspec.Struct):
    """One stage as it stands: ``state`` is ``waiting``, ``running``, ``locking``, ``done``, ``cached`` or
    ``failed``."""

    state: str = "waiting"
    since: float = 0.0
    seconds: float = 0.0
    bytes: int = 0


class ImageBox(msgspec.Struct):
    """One image: its stages by name, in order, the last line printed, and how it ended (None: not yet)."""

    stages: dict[str, StageRow] = msgspec.field(default_factory=dict)
    last_line: str = ""
    ended: str | None = None


class LiveView:
    """Draws only when told to: it has no thread, because the process that draws also forks.

    The terminal is taken with the first drawing: before there is something to show, nothing has to be undone.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._boxes: dict[str, ImageBox] = {}
        self._transfers: dict[str, Progress] = {}
        self._drawn = 0.0

    def __enter__(self) -> LiveView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._boxes or self._transfers:
            self._draw()
        self._live.__exit__(kind, value, trace)

    def see(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case Progress():
                self._transfers[event.what] = event
                if event.total is not None and event.done >= event.total:
                    del self._transfers[event.what]
            case Note():
                place = ": ".join(word for word in (event.image, event.stage) if word)
                text = on_one_line(f"{place}: {event.text}" if place else event.text)
                self._console.print(Text(text, style="dim"))
            case _ if event.image:
                self._see_image(self._boxes.setdefault(event.image, ImageBox()), event)
        self.refresh()

    def refresh(self) -> None:
        """Draw, ten times a second at most."""
        if time.monotonic() - self._drawn >= 1 / PER_SECOND:
            self._draw()

    def _see_image(self, box: ImageBox, event: Event) -> None:
        match event:
            case ImagePlanned():
                for name in event.stages:
                    box.stages.setdefault(name, StageRow())
            case StageStarted():
                box.stages[event.stage] = StageRow(state=event.what, since=time.monotonic())
            case StageFinished():
                state = "cached" if event.cached else "done"
                box.stages[event.stage] = StageRow(state, 0.0, event.seconds, event.bytes)
                box.last_line = ""
            case Lines():
                box.last_line = event.text.rpartition("\n")[2]
            case ImageFinished():
                box.ended = "failed" if event.number is None else f"version {event.number}"
                self._end(box)

    def _end(self, box: ImageBox) -> None:
        """What was going on when an image ended is what it failed in."""
        for name, row in box.stages.items():
            if box.ended == "failed" and row.state not in ("waiting", "cached", "done"):
                box.stages[name] = StageRow("failed", 0.0, time.monotonic() - row.since)

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._live.start()  # nothing when it has been
        boxes = [self._box(name, box) for name, box in self._boxes.items()]
        parts: list[RenderableType] = [Columns(boxes, equal=True, expand=True)]
        parts += [self._transfer(event) for event in self._transfers.values()]
        self._live.update(Group(*parts), refresh=True)

    def _box(self, name: str, box: ImageBox) -> Panel:
        rows = Table.grid(padding=(0, 1))
        rows.add_column()
        rows.add_column(ratio=1)
        rows.add_column(justify="right")
        rows.add_column(justify="right")
        for stage, row in box.stages.items():
            rows.add_row(*self._row(stage, row))
        style = {"failed": "red", None: "cyan"}.get(box.ended, "green")
        last = Text(box.last_line, style="dim", no_wrap=True, overflow="ellipsis")
        title = f"{name} {box.ended}" if box.ended else name
        return Panel(Group(rows, last), title=title, border_style=style)

    def _row(self, stage: str, row: StageRow) -> tuple[Text, str, str, str]:
        now = time.monotonic()
        turning = SPINNER[int(now * PER_SECOND) % len(SPINNER)]
        marks = {
            "waiting": Text("·", style="dim"),
            "cached": Text("=", style="green"),
            "done": Text("✓", style="green"),
            "failed": Text("✗", style="red"),
        }
        mark = marks.get(row.state, Text(turning, style="yellow"))
        if row.state == "waiting":
            return mark, stage, "", ""
        if row.state in ("cached", "done"):
            took = "cached" if row.state == "cached" else seconds(row.seconds)
            return mark, stage, took, size(row.bytes)
        if row.state == "failed":
            return mark, stage, seconds(row.seconds), row.state
        return mark, stage, seconds(now - row.since), row.state

    def _transfer(self, event: Progress) -> Table:
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(ratio=2, no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(justify="right", no_wrap=True)
        of = f" of {size(event.total)}" if event.total else ""
        bar = ProgressBar(total=event.total or None, completed=event.done, pulse=event.total is None)
        line.add_row(on_one_line(event.what.rpartition("/")[2] or event.what), bar, f"{size(event.done)}{of}")
        return line
