"""What the parts of a running rollout share: the order, how all is now, the journal where it is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pipeline.rollout.journal import Journal
from pipeline.rollout.model import Node, Order, Target
from pipeline.rollout.states import Event, Fold, NodeProgress, State, Way, Word

Clock = Callable[[], float]


class Desk:
    """Nodes by name, their progress, and events on their way into the journal.

    What is told here counts at once in ``of``; it is on the disk after ``commit``. Nothing is done to the
    world before what it depends on is there.
    """

    def __init__(
        self,
        order: Order,
        events: Iterable[Event],
        journal: Journal,
        folder: Path,
        clock: Clock,
        ticks: Clock,
    ) -> None:
        """``clock`` tells the time of day; ``ticks`` never jumps, and limits are measured by it."""
        self.order = order
        self.folder = folder
        self.clock = clock
        self.ticks = ticks
        self.nodes: Mapping[str, Node] = {node.name: node for node in order.nodes}
        self.fold = Fold(self.nodes)
        for event in events:
            self.fold.take(event)
        self._journal = journal
        self._waiting: list[Event] = []
        self.moves = 0
        """Changes so far, but for mere words: as long as there are none, time is let pass."""
        self._in: dict[State, dict[str, None]] = {}
        for name, progress in self.fold.nodes.items():
            self._in.setdefault(progress.state, {})[name] = None
        # Nobody has looked until now: waiting begins anew.
        self._since: dict[str, float] = dict.fromkeys(self.nodes, ticks())
        self._blind_since: float | None = None

    @property
    def of(self) -> Mapping[str, NodeProgress]:
        """How each node is."""
        return self.fold.nodes

    def named(self, *states: State) -> list[str]:
        """The nodes in these states, in the order in which they came there."""
        return [name for state in states for name in self._in.get(state, ())]

    def target(self, name: str) -> Target:
        """What a node is taken to now; on its way back what it had."""
        if self.of[name].way == "back":
            image = self.order.back_to(self.nodes[name].image)
            return self.order.targets.get(image, Target(image))
        return self.order.targets[self.order.wanted[name]]

    def tell(
        self,
        name: str,
        state: State | None = None,
        why: str = "",
        *,
        way: Way | None = None,
        sync: float = 0.0,
        facts: Mapping[str, str] | None = None,
        passed: int = 0,
        failed_checks: tuple[str, ...] = (),
        log: str = "",
        image: str = "",
        rebooted: bool = False,
    ) -> None:
        """A node comes to ``state``, or without one something is noted about it."""
        before = self.of[name]
        event = Event(
            at=self.clock(), node=name, state=state, why=why, way=way or before.way, sync=sync,
            facts=facts or {}, passed=passed, failed_checks=failed_checks, log=log, image=image,
            rebooted=rebooted,
        )  # fmt: skip
        self._take(event)
        if state is not None and state != before.state:
            self.moves += 1
            self._since[name] = self.ticks()
            self._in[before.state].pop(name)
            self._in.setdefault(state, {})[name] = None

    def note(self, name: str, why: str) -> None:
        """Something to know about a node, once."""
        if why not in self.of[name].notes:
            self.tell(name, why=why)

    def say(self, word: Word, why: str = "", batch: int = 0) -> None:
        """Something happens to all of it."""
        self.moves += 1
        self._take(Event(self.clock(), word=word, why=why, batch=batch))

    def commit(self) -> None:
        """Have all that was told on the disk."""
        if self._waiting:
            self._journal.write(self._waiting)
            self._waiting.clear()

    def age(self, name: str) -> float:
        """Seconds that a node has been in its state, without those in which nobody could see it."""
        return (self.ticks() if self._blind_since is None else self._blind_since) - self._since[name]

    def is_late(self, name: str, seconds: float) -> bool:
        """Whether a node has been in its state for longer than that."""
        return self.age(name) > seconds

    @property
    def blind(self) -> float | None:
        """For how many seconds nothing has been known of the nodes; None: it is."""
        return None if self._blind_since is None else self.ticks() - self._blind_since

    def lose_sight(self) -> None:
        """Nothing is known of the nodes for now."""
        self._blind_since = self.ticks() if self._blind_since is None else self._blind_since

    def see_again(self) -> None:
        """All that nodes did meanwhile counts from now on."""
        if self.blind is not None:
            gone = self.blind
            self._since = {name: since + gone for name, since in self._since.items()}
            self._blind_since = None

    def _take(self, event: Event) -> None:
        self.fold.take(event)
        self._waiting.append(event)


def wall_clock() -> float:
    """Seconds since 1970."""
    return time.time()
