"""Who keeps which objects: the cluster manager, files of the head node, OpenStack; asked and told as one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from typing import Protocol, runtime_checkable

from pipeline.cluster.begun import Begun
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
class Refusing(Protocol):
    """A keeper that can't have everything that may be wanted, given what is there."""

    @property
    def kinds(self) -> frozenset[Kind]: ...

    def refuse(self, wanted: Sequence[Wanted], state: State) -> None: ...


@runtime_checkable
class Checking(Protocol):
    """A keeper that can tell, before anything is written, what of changes it can't write."""

    @property
    def kinds(self) -> frozenset[Kind]: ...

    def check(self, changes: Sequence[Change], state: State) -> None: ...


@runtime_checkable
class Builder(Protocol):
    """A keeper that builds the overlays of a node after a change of these kinds."""

    @property
    def built_after(self) -> frozenset[Kind]: ...


@runtime_checkable
class Restarting(Protocol):
    """A keeper whose manager, called ``itself``, may have to be restarted as a part of ``write``.

    Given among the changes, ``itself`` is restarted before the others are made.
    """

    @property
    def itself(self) -> Ref: ...

    def restarts_itself(self, changes: Sequence[Change]) -> bool: ...


@runtime_checkable
class Beginning(Protocol):
    """A keeper that makes what looks whole before it is."""

    begun: Begun


class Reader(Protocol):
    """What a plan is made from: ``Keepers``, or what has been read already."""

    @property
    def trouble(self) -> PipelineError | None: ...

    def read(self, wanted: Sequence[Wanted]) -> State: ...

    def refuse(self, wanted: Sequence[Wanted], state: State) -> None: ...

    def asked(self, wanted: Iterable[Wanted]) -> tuple[Wanted, ...]: ...


class Keepers:
    """Several keepers; the first one that knows a kind is asked.

    ``cloud`` is one that the others do without: when it can't be asked, that is kept in ``trouble``, and its
    objects are left out. It may be down for want of what the others will change.
    """

    def __init__(self, keepers: Iterable[Keeper], cloud: Keeper | None = None) -> None:
        self._keepers = (*keepers, *([cloud] if cloud else ()))
        self._cloud = cloud
        self._restarting = [keeper for keeper in self._keepers if isinstance(keeper, Restarting)]
        self._restarted: set[str] = set()
        self.trouble: PipelineError | None = None

    def go_on(self, begun: Begun) -> None:
        """Know what was ``begun`` and not ended, and keep there what is begun from now on."""
        for keeper in self._keepers:
            if isinstance(keeper, Beginning):
                keeper.begun = begun

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
        lists: frozenset[str] = frozenset()
        own: dict[str, str] = {}
        entries: dict[str, tuple[str, ...]] = {}
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
            lists |= state.lists
            own.update(state.own)
            entries.update(state.entries)
        return State(objects, tuple(notes), older, lists, own, entries)

    def refuse(self, wanted: Sequence[Wanted], state: State) -> None:
        """Raise with what of ``wanted`` can't be had where it is as ``state`` says."""
        for keeper in self._keepers:
            if isinstance(keeper, Refusing):
                keeper.refuse([item for item in wanted if item.ref.kind in keeper.kinds], state)

    def check(self, changes: Sequence[Change], state: State) -> None:
        """Raise with what of ``changes`` can't be written where it is as ``state`` says."""
        for keeper in self._keepers:
            if isinstance(keeper, Checking):
                keeper.check([change for change in changes if change.ref.kind in keeper.kinds], state)

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

    def restarts(self, due: Collection[str]) -> tuple[Change, ...]:
        """Restarts of managers themselves that are ``due``."""
        managers = [keeper.itself for keeper in self._restarting]
        return tuple(Change(ref, "restart") for ref in managers if str(ref) in due)

    def restarted(self, changes: Sequence[Change]) -> tuple[str, ...]:
        """Managers that writing these changes may restart."""
        those = (keeper for keeper in self._restarting if keeper.restarts_itself(changes))
        return tuple(str(keeper.itself) for keeper in those)

    def write(self, changes: Iterable[Change], state: State) -> None:
        """Make the changes, keeper after keeper; then the restarts; then the cloud's, whose service may be
        among the restarted. A manager itself is restarted when it has its turn."""
        managers = {keeper.itself for keeper in self._restarting}
        self._restarted = set()

        def turn(change: Change) -> tuple[bool, bool, int]:
            number = self._number(change.ref.kind)
            is_after = change.action == "restart" and change.ref not in managers
            return self._keepers[number] is self._cloud, is_after, number

        for (_, _, number), group in groupby(sorted(changes, key=turn), key=turn):
            part = tuple(group)
            self._keepers[number].write(part, state)
            self._restarted.update(self.restarted(part))
            self._restarted.update(str(change.ref) for change in part if change.action == "restart")

    def still_owed(self, restarts: Iterable[str]) -> tuple[str, ...]:
        """Those that the last ``write`` has not made."""
        return tuple(name for name in restarts if name not in self._restarted)


def _node(ref: Ref) -> Ref:
    """The node that this is, or belongs to."""
    return Ref("node", ref.of.partition("/")[2]) if ref.of else ref
