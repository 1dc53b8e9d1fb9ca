"""Who keeps which objects: the cluster manager, files of the head node, OpenStack; asked and told as one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Protocol, runtime_checkable

from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Change, Kind, Properties, Ref, State, Wanted
from pipeline.errors import PipelineError, Problem, UsageError
from pipeline.recipe.findings import positions


class Keeper(Protocol):
    """What a driver is, without ``survey``."""

    @property
    def name(self) -> str: ...

    @property
    def kinds(self) -> frozenset[Kind]: ...

    def read(self, wanted: Sequence[Wanted]) -> State: ...

    def write(self, changes: Sequence[Change], state: State) -> None: ...


@runtime_checkable
class Builder(Protocol):
    """A keeper that builds the overlays of a node after a change of these kinds."""

    @property
    def built_after(self) -> frozenset[Kind]: ...


class Reader(Protocol):
    """What a plan is made from: ``Keepers``, or what has been read already."""

    @property
    def trouble(self) -> PipelineError | None: ...

    def read(self, wanted: Sequence[Wanted]) -> State: ...

    def asked(self, wanted: Iterable[Wanted]) -> tuple[Wanted, ...]: ...


class Keepers:
    """Several keepers; the first one that knows a kind is asked.

    ``cloud`` is one that the others do without: when it can't be asked, that is kept in ``trouble``, and its
    objects are left out. It may be down for want of what the others will change.
    """

    def __init__(self, keepers: Iterable[Keeper], cloud: Keeper | None = None) -> None:
        self._keepers = (*keepers, *([cloud] if cloud else ()))
        self._cloud = cloud
        self.trouble: PipelineError | None = None

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
        """What there is of all of them, but for the cloud's when that can't be asked."""
        objects: dict[Ref, Properties] = {}
        notes: list[str] = []
        older: frozenset[Ref] = frozenset()
        self.trouble = None
        for keeper in self._keepers:
            mine = [item for item in wanted if item.ref.kind in keeper.kinds]
            if not mine and "node" not in keeper.kinds:
                continue
            try:
                state = keeper.read(mine)
            except PipelineError as error:
                if keeper is not self._cloud:
                    raise
                self.trouble = error
                continue
            objects.update(state.objects)
            notes += state.notes
            older |= state.older
        return State(objects, tuple(notes), older)

    def asked(self, wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
        """Those of which the last read says something."""
        if self.trouble is None or self._cloud is None:
            return tuple(wanted)
        return tuple(item for item in wanted if item.ref.kind not in self._cloud.kinds)

    def builds(self, changes: Iterable[Change], due: Collection[str], state: State) -> tuple[Change, ...]:
        """Builds of the overlays of nodes: of those that ``changes`` are for, and those that are ``due``."""
        kinds = {
            kind for keeper in self._keepers if isinstance(keeper, Builder) for kind in keeper.built_after
        }
        of_changes = (_node(change.ref) for change in changes if change.ref.kind in kinds)
        owed = (ref for ref in state.objects if ref.kind == "node" and str(ref) in due) if kinds else ()
        return tuple(Change(ref, "build") for ref in dict.fromkeys([*of_changes, *owed]))

    def write(self, changes: Iterable[Change], state: State) -> None:
        """Make the changes, keeper after keeper; then the restarts; then the cloud's, whose service may be
        among the restarted."""

        def turn(change: Change) -> tuple[bool, bool, int]:
            number = self._number(change.ref.kind)
            return self._keepers[number] is self._cloud, change.action == "restart", number

        for (_, _, number), group in groupby(sorted(changes, key=turn), key=turn):
            self._keepers[number].write(tuple(group), state)


def _node(ref: Ref) -> Ref:
    """The node that this is, or belongs to."""
    return Ref("node", ref.of.partition("/")[2]) if ref.of else ref
