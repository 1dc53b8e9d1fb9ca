"""Who keeps which objects: the cluster manager, files of the head node, OpenStack; asked and told as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Protocol

from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Change, Kind, Properties, Ref, State, Wanted
from pipeline.errors import Problem, UsageError
from pipeline.recipe.findings import positions


class Keeper(Protocol):
    """What a driver is, without ``survey``."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> frozenset[Kind]: ...

    def read(self, wanted: Sequence[Wanted]) -> State: ...

    def write(self, changes: Sequence[Change], state: State) -> None: ...


class Keepers:
    """Several keepers; the first one that knows a kind is asked."""

    def __init__(self, keepers: Iterable[Keeper]) -> None:
        self._keepers = tuple(keepers)

    def _number(self, kind: Kind) -> int:
        return next((number for number, keeper in enumerate(self._keepers) if kind in keeper.kinds), -1)

    def refuse_unknown(self, cluster: Cluster) -> None:
        """Raise ``UsageError`` with every object of a kind that nobody here keeps."""
        names = ", ".join(keeper.name for keeper in self._keepers)
        unkept = [item for item in cluster.wanted if self._number(item.ref.kind) < 0]
        places = positions(cluster.file, [item.at for item in unkept])
        if unkept:
            raise UsageError(
                Problem(f"{item.ref}: no {item.ref.kind} can be kept here ({names})", place)
                for item, place in zip(unkept, places, strict=True)
            )

    def read(self, wanted: Sequence[Wanted]) -> State:
        """What there is of all of them."""
        objects: dict[Ref, Properties] = {}
        notes: list[str] = []
        for keeper in self._keepers:
            mine = [item for item in wanted if item.ref.kind in keeper.kinds]
            if mine or "node" in keeper.kinds:
                state = keeper.read(mine)
                objects.update(state.objects)
                notes += state.notes
        return State(objects, tuple(notes))

    def write(self, changes: Iterable[Change], state: State) -> None:
        """Make the changes, keeper after keeper; restarts come when everything before them is done."""
        order = sorted(
            changes, key=lambda change: (change.action == "restart", self._number(change.ref.kind))
        )
        for (_, number), group in groupby(
            order, key=lambda change: (change.action == "restart", self._number(change.ref.kind))
        ):
            self._keepers[number].write(tuple(group), state)
