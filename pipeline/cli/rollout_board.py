"""What a person sees while a rollout goes on: a board on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import compress
from operator import is_not
from pathlib import Path
from typing import Protocol, TextIO

from pipeline.cli.rollout_text import headline, tail_in
from pipeline.cluster.nodesets import folded
from pipeline.printable import on_one_line
from pipeline.rollout.model import Order
from pipeline.rollout.states import NodeProgress, Progress, State, Way
from pipeline.rollout.summary import failures_of, shown

NEW = NodeProgress()
Change = tuple[Way, State | None, str]


class Watching(Protocol):
    """Takes in how a rollout is, as often as that is known."""

    def update(self, order: Order, progress: Progress) -> None: ...

    def refresh(self) -> None: ...


@contextmanager
def watching_rollout(order: Order, *, plain: bool, folder: Path | None = None) -> Iterator[Watching]:
    """Who shows a rollout on this process's stderr; ``folder`` is where relative names of logs begin."""
    if plain or not sys.stderr.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield PlainBoard(order, sys.stderr, folder)
        return
    from pipeline.cli.rollout_live import Board

    with Board(order, folder) as board:
        yield board


class PlainBoard:
    """A line for each thing that has changed since the last time; nodes that changed alike share one."""

    def __init__(self, order: Order, stream: TextIO, folder: Path | None = None) -> None:
        self._stream = stream
        self._tail = tail_in(folder)
        self._seen = Progress({node.name: NEW for node in order.nodes})
        self._say([headline(order)])

    def update(self, order: Order, progress: Progress) -> None:
        """Tell what is new."""
        before, self._seen = self._seen, progress
        self._say(_of_all(order, before, progress))
        self._say(self._of_nodes(before, progress))
        self._say(_of_end(order, before, progress))

    def refresh(self) -> None:
        """Lines that are printed stay as they are."""

    def _say(self, lines: Iterable[str]) -> None:
        told = "".join(f"{on_one_line(line)}\n" for line in lines)
        if told:
            self._stream.write(told)
            self._stream.flush()

    def _of_nodes(self, before: Progress, now: Progress) -> Iterable[str]:
        alike: dict[Change, list[str]] = {}
        told: list[str] = []
        changed = compress(now.nodes, map(is_not, now.nodes.values(), before.nodes.values()))
        for name in changed:
            node, old = now.nodes[name], before.nodes[name]
            told += [f"{name}: note: {note}" for note in node.notes[len(old.notes) :]]
            if node.state == "failed" and old.state != "failed":
                told += self._failure(name, node)
            elif (node.state, node.way) != (old.state, old.way):
                alike.setdefault((node.way, node.state, node.why), []).append(name)
            elif node.why != old.why and node.why:
                alike.setdefault((node.way, None, node.why), []).append(name)
        yield from (f"{folded(names)}: {_changed(change)}" for change, names in alike.items())
        yield from told

    def _failure(self, name: str, node: NodeProgress) -> Iterable[str]:
        failure = failures_of(name, node, self._tail)[-1]
        yield f"{name}: failed {failure}"
        if failure.line:
            yield f"{name}: | {failure.line}"


def _changed(change: Change) -> str:
    way, state, why = change
    words = [shown(state, way)] if state else []
    return ": ".join([*words, *([why] if why else [])])


def _of_all(order: Order, before: Progress, now: Progress) -> Iterable[str]:
    """What is new about the rollout as a whole, but for its end."""
    name = order.cluster
    if now.batch != before.batch and now.batch:
        yield f"{name}: batch {now.batch} of {len(order.batches)}: {folded(order.batches[now.batch - 1])}"
    if now.is_aborting and not before.is_aborting:
        yield f"{name}: nothing new is begun (abort)"
    if now.is_going_back and not before.is_going_back:
        yield f"{name}: nodes are taken back{f': {now.why}' if now.why else ''}"
    yield from (f"{name}: note: {note}" for note in now.notes[len(before.notes) :])


def _of_end(order: Order, before: Progress, now: Progress) -> Iterable[str]:
    """What comes after all that nodes did."""
    for category in now.switched[len(before.switched) :]:
        image = order.categories.get(category, "")
        yield f"{order.cluster}: category {category} has {image or 'its new image'}"
    if now.outcome and now.outcome != before.outcome:
        yield f"{order.cluster}: {now.outcome}{f': {now.why}' if now.why else ''}"
