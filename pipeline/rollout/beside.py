"""Other rollouts that are not at their end: what they have away is away for this one as well.

All of a store count, for its sites have one cluster manager; towards ``max_unavailable`` those of the same
cluster, or of one of its categories, for a file may have been renamed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from pipeline.cluster.nodesets import folded
from pipeline.rollout import folder as folders
from pipeline.rollout.commands import command
from pipeline.rollout.journal import DECODER, UNREADABLE, DamagedError
from pipeline.rollout.model import Finding, Node, Order
from pipeline.rollout.states import Event, Fold


class Other(msgspec.Struct, frozen=True):
    """Another rollout at one moment: the nodes that it has ``away``. ``is_same``: they count towards
    ``max_unavailable``; ``is_at_work``: a process runs it, and some of them are on their way."""

    folder: Path
    away: tuple[Node, ...]
    is_same: bool
    is_at_work: bool
    is_running: bool
    is_ended: bool

    @property
    def name(self) -> str:
        return f"rollout {folders.number_of(self.folder)} of {folders.cluster_of(self.folder)}"

    def told(self) -> str:
        """What of it is in the way, and what ends that."""
        what = f"{self.name} has {folded(node.name for node in self.away)} away"
        if self.is_ended:
            return f"{what}, and is at its end: see how they are, and resume this one"
        if self.is_at_work:
            return what
        if self.is_running:
            return f"{what}, and none of them is on its way"
        return f"{what}, and nobody runs it: resume it, or give it up ({folders.abort_command(self.folder)})"


class Beside:
    """The others of one rollout, in ``folder``."""

    def __init__(self, folder: Path, order: Order) -> None:
        self._folder = folder
        self._clusters = folder.parents[2]
        self._order = order
        self._ended: set[Path] = set()
        self._read: dict[Path, _Reading] = {}

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Nobody else takes nodes meanwhile: whoever does looks, and has it in its journal, within this."""
        with folders.alone(self._clusters):
            yield

    def look(self, is_up: Callable[[str], bool] = bool) -> list[Other]:
        """Those that have nodes away now. Of one that came to its end since: those that were not released,
        and that are not up by now; what earlier ones have left is seen as neighbours are."""
        for folder in folders.folders_of_all(self._clusters):
            if folder == self._folder or folder in self._ended or folder in self._read:
                continue
            if folders.is_at_its_end(folder):
                self._ended.add(folder)
            else:
                self._read[folder] = _Reading(folder)
        found = [reading.now(self._order, is_up) for reading in self._read.values()]
        return [other for other in found if other.away]


def others(store: Path, order: Order, but: Path | None = None) -> list[Other]:
    """Those that have nodes away while ``order`` is planned, ``but`` for that of a folder."""
    place = folders.rollouts(store, order.cluster)
    return Beside(but or folders.folder_of(place, 0), order).look()


def without(order: Order, found: Sequence[Other]) -> Order:
    """``order`` without what others have away: its batches are made as if they had brought it back."""
    away = {node.name for other in found for node in other.away}
    left = tuple(node for node in order.unavailable if node.name not in away)
    return msgspec.structs.replace(order, unavailable=left)


def findings(order: Order, found: Sequence[Other]) -> list[Finding]:
    """What is known of them before this one begins; that they have nodes of it is told as an error."""
    mine = {node.name for node in order.nodes}
    told = []
    for other in found:
        if any(node.name in mine for node in other.away):
            continue
        status = command("status", folders.cluster_of(other.folder), folders.number_of(other.folder))
        away = folded(node.name for node in other.away)
        if other.is_running:
            what = f"{other.name} is running, and has {away} away: this one waits where limits leave no room"
            told.append(Finding("warning", what, str(other.folder), "limits hold for both", status))
        else:
            what = (
                f"{other.name} is not at its end, nobody runs it, and it has {away} away, within the limits"
            )
            hint = "where they leave no room this one stops: resume the other one, or give it up"
            told.append(
                Finding("warning", what, str(other.folder), hint, folders.abort_command(other.folder))
            )
    return told


class _Reading:
    """One of them, whose journal is read as it grows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._order: Order | None = None
        with suppress(DamagedError):
            self._order = folders.order_of(folder)
        self._begin()

    def _begin(self) -> None:
        self._at, self._last = 0, b""
        self._nodes = {node.name: node for node in self._order.nodes} if self._order else {}
        self._fold = Fold(self._nodes)

    def now(self, order: Order, is_up: Callable[[str], bool]) -> Other:
        """How it is, beside a rollout of ``order``."""
        self._go_on()
        is_ended = self._fold.whole.outcome == "ended"
        nodes = self._fold.nodes
        names = [name for name, node in nodes.items() if node.is_away and not (is_ended and is_up(name))]
        is_running = bool(names) and not is_ended and folders.is_running(self.folder)
        return Other(
            self.folder,
            tuple(self._nodes[name] for name in names),
            self._is_same(order),
            is_running and any(nodes[name].is_moving for name in names),
            is_running,
            is_ended,
        )

    def _is_same(self, order: Order) -> bool:
        if folders.cluster_of(self.folder) == order.cluster:
            return True
        mine = {node.category for node in order.nodes}
        return any(node.category in mine for node in self._nodes.values())

    def _go_on(self) -> None:
        """Take the lines that are new. A journal that was cut, for the disk was full, is read anew."""
        try:
            with open(self.folder / folders.JOURNAL, "rb") as file:
                start = self._at - len(self._last)
                if os.pread(file.fileno(), len(self._last), start) != self._last:
                    self._begin()
                file.seek(self._at)
                lines = file.read().splitlines(keepends=True)
        except OSError:
            return  # what was known holds
        for line in lines:
            if line.endswith(b"\n"):
                self._at, self._last = self._at + len(line), line
                with suppress(*UNREADABLE):
                    self._take(DECODER.decode(line))

    def _take(self, event: Event) -> None:
        if self._order is None and event.node and event.node not in self._nodes:
            self._nodes[event.node] = Node(event.node, "")
            self._fold.nodes.update(Fold([event.node]).nodes)
        self._fold.take(event)
