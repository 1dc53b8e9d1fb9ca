"""The board of a rollout on a terminal: nodes by state, batch, time left, failures with their last line."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live
from rich.text import Text

from pipeline.cli.rollout_text import headline, standing, tail_in
from pipeline.cluster.nodesets import folded
from pipeline.printable import on_one_line
from pipeline.rollout.commands import command_of
from pipeline.rollout.model import Order
from pipeline.rollout.spans import span
from pipeline.rollout.states import Progress, State
from pipeline.rollout.summary import Failure, Said, Summary, shown, summarize

PER_SECOND = 4
MOST_OF_THE_TIME = 0.05
"""How much of the program's time drawing may take: with many thousands of nodes it draws more seldom."""

STYLES: dict[State, str] = {"waiting": "dim", "released": "green", "failed": "bold red"}
AT_REST: tuple[State, ...] = ("waiting", "released", "failed")
FULL, EMPTY = "█", "░"


class Board:
    """Draws only when it is told something: it has no thread, because this process also forks.

    The terminal is taken with the first drawing, and given back however the rollout ends.
    """

    def __init__(self, order: Order, folder: Path | None = None) -> None:
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._tail = lru_cache(maxsize=None)(tail_in(folder))  # a log is rewritten by the next try
        self._now: tuple[Order, Progress] | None = None
        self._next = 0.0
        self._width = self._console.width

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._now is not None:
                self._draw(*self._now)
        finally:
            self._live.__exit__(kind, value, trace)

    def update(self, order: Order, progress: Progress) -> None:
        """Take in how it is now."""
        self._now = order, progress
        self.refresh()

    def refresh(self) -> None:
        """Draw what was taken in last, with clocks gone on; a few times a second at most."""
        if self._now is not None and time.monotonic() >= self._next:
            self._draw(*self._now)

    def _draw(self, order: Order, progress: Progress) -> None:
        began = time.monotonic()
        self._live.start()  # nothing when it has been
        width, height = self._console.size
        if width < self._width:
            # The terminal has broken the lines that were too long: they are more than rich would go back.
            self._console.control(Control.home(), Control.clear())
        self._width = width
        now = time.time()
        summary = summarize(order, progress, now, tail=self._tail)
        self._live.update(
            Group(*frame(order, progress, summary, now=now, width=width, height=height - 1)), refresh=True
        )
        ended = time.monotonic()
        self._next = ended + max(1 / PER_SECOND, (ended - began) / MOST_OF_THE_TIME)


def frame(
    order: Order, progress: Progress, summary: Summary, *, now: float, width: int, height: int
) -> list[Text]:
    """The board, of at most ``height`` lines and ``width`` columns."""
    top = [
        Text(headline(order), style="bold"),
        Text(standing(progress, summary)),
        _bar(summary, width),
        *_states(progress, summary, now, width),
    ]
    rest = list(_rest(progress, summary))
    room = height - len(top)
    if len(rest) > room:
        more = len(rest) - max(0, room - 1)
        rest = rest[: max(0, room - 1)]
        rest.append(Text(f"… {more:,} more lines: {command_of('status', order)}", style="dim"))
    lines = [*top, *rest][: max(1, height)]
    return [_fitted(line, width) for line in lines]


def _fitted(line: Text, width: int) -> Text:
    shown = Text(on_one_line(line.plain), style=line.style) if not line.plain.isprintable() else line
    shown.truncate(width, overflow="ellipsis")
    shown.no_wrap = True
    return shown


def _bar(summary: Summary, width: int) -> Text:
    total = sum(summary.counts.values())
    released = len(summary.by_state.get(("released", "out"), ()))
    words = f" {released:,} of {total:,} released"
    columns = max(0, min(40, width - len(words)))
    done = columns * released // max(1, total)
    return Text.assemble((FULL * done, "green"), (EMPTY * (columns - done), "dim"), words)


def _states(progress: Progress, summary: Summary, now: float, width: int) -> Iterable[Text]:
    """A line for each state with its nodes as a set, cut off where the terminal ends."""
    wide = max((len(shown(*at)) for at in summary.by_state), default=0)
    count_wide = max((len(f"{len(names):,}") for names in summary.by_state.values()), default=0)
    for (state, way), names in summary.by_state.items():
        ages = [now - since for name in names if (since := progress.nodes[name].since)]
        age = f"  {span(max(ages))}" if ages and state not in AT_REST and summary.how == "running" else ""
        head = f"  {shown(state, way).ljust(wide)}  {f'{len(names):,}'.rjust(count_wide)}  "
        nodes = Text(on_one_line(folded(names)))
        nodes.truncate(max(1, width - len(head) - len(age)), overflow="ellipsis")
        yield Text.assemble((head, STYLES.get(state, "yellow")), nodes, (age, "dim"))


def _rest(progress: Progress, summary: Summary) -> Iterable[Text]:
    yield from _failures("failed", summary.failed, "bold red")
    yield from _failures("failed and taken back", summary.taken_back, "red")
    yield from _said("waits", summary.waits)
    yield from _said("notes", (*(Said(text, ()) for text in progress.notes[::-1]), *summary.notes))


def _failures(head: str, failures: Iterable[Failure], style: str) -> Iterable[Text]:
    for number, each in enumerate(failures):
        if not number:
            yield Text(head, style=style)
        yield Text(f"  {each.node}: {each}")
        if each.line:
            yield Text(f"    | {each.line}", style="dim")


def _said(head: str, said: Iterable[Said]) -> Iterable[Text]:
    for number, each in enumerate(said):
        if not number:
            yield Text(head, style="yellow")
        yield Text(f"  {folded(each.nodes)}: {each.text}" if each.nodes else f"  {each.text}")
