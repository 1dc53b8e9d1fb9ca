"""The limits as several rollouts share them: what is left of them for one, and for which others it waits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from pipeline.rollout.batches import Room
from pipeline.rollout.beside import Beside, Other
from pipeline.rollout.desk import Desk
from pipeline.rollout.model import Node

WAITS_FOR = "waits for"
"""How the reason begins for which a node waits until other rollouts have brought theirs back."""


class Sharing:
    """What the rollout of ``desk`` may take beside the others, as they were when ``room`` was asked last."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._beside = Beside(desk.folder, desk.order)
        self._others: Sequence[Other] = ()
        self._down: Collection[str] = ()
        self._near: Sequence[Node] = ()
        self._standing_since: float | None = None

    @contextmanager
    def taking(self) -> Iterator[None]:
        """No other rollout takes nodes meanwhile; what is told within is in the journal afterwards."""
        with self._beside.taking():
            yield
            self._desk.commit()

    def room(self, down: Collection[str], near: Sequence[Node], is_up: Callable[[str], bool]) -> Room:
        """What is left of the limits; ``down`` are nodes of this rollout that are not up by themselves,
        ``near`` neighbours that are not."""
        self._down, self._near = frozenset(down), near
        self._others = self._beside.look(is_up)
        return self._room(self._others)

    def _room(self, others: Sequence[Other]) -> Room:
        desk = self._desk
        away = [name for name, progress in desk.of.items() if progress.is_away or name in self._down]
        mine = (*self.nobodys(), *(desk.nodes[name] for name in away))
        same = (node for other in others if other.is_same for node in other.away)
        beside = (node for other in others if not other.is_same for node in other.away)
        return Room(desk.order.policy, (*mine, *same), beside)

    def nobodys(self) -> list[Node]:
        """Neighbours that are not up, and that no other rollout has away."""
        theirs = {node.name for other in self._others for node in other.away}
        return [node for node in self._near if node.name not in theirs]

    def waits(self, left: Sequence[str], *, is_moving: bool) -> str:
        """For whom some of ``left`` wait: others that have their room, and will end ("": for nobody).

        Others that are at work are waited for; those that stand may wait for this one, and have a limited
        time. ``is_moving``: this one has nodes on their way.
        """
        if not left or not self._others:
            return ""
        working = [other for other in self._others if other.is_at_work]
        standing = [other for other in self._others if other.is_running and not other.is_at_work]
        if not self._stand_too_long(bool(standing) and not working and not is_moving):
            working += standing
        without = self._room([other for other in self._others if other not in working])
        if not working or not any(without.has(self._desk.nodes[name]) for name in left):
            return ""
        named = ", ".join(other.name for other in working)
        return f"{WAITS_FOR} {named}: together they have as many nodes away as may be"

    def _stand_too_long(self, stand: bool) -> bool:
        if not stand:
            self._standing_since = None
        elif self._standing_since is None:
            self._standing_since = self._desk.ticks()
        since = self._standing_since
        return since is not None and self._desk.ticks() - since > self._desk.order.policy.waits.prepare

    def told(self) -> list[str]:
        """What others have away, for each, with what ends that."""
        return [other.told() for other in self._others]
