"""The driver of Bright Cluster Manager: images, categories, nodes, networks and what belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from pipeline.cluster.drivers.bright import again, frozen, trees
from pipeline.cluster.drivers.bright import state as states
from pipeline.cluster.drivers.bright import write as writing
from pipeline.cluster.drivers.bright.modifications import Setting
from pipeline.cluster.drivers.bright.quote import unsafe, unsafe_name
from pipeline.cluster.drivers.bright.read import HEAD_NAME
from pipeline.cluster.drivers.bright.session import MODIFICATIONS_SINCE, Session
from pipeline.cluster.drivers.bright.state import Owner, Owners
from pipeline.cluster.drivers.bright.steps import WAITS, Problems, Step, steps
from pipeline.cluster.drivers.bright.words import ROLE, Names
from pipeline.cluster.head import Head
from pipeline.cluster.objects import MEMBERS, Change, Kind, Properties, Ref, State, Wanted
from pipeline.errors import PipelineError, Problem, retold

KINDS: frozenset[Kind] = frozenset(
    {"image", "category", "node", "network", "interface", "service", "setting"}
)

BOOT_INTERFACES = frozenset({"BOOTIF"})
"""What the installer boots through: it belongs to the manager, not to a cluster file."""


class Bright:
    """Objects of Bright, through ``cmsh`` on its head node."""

    name = "Bright Cluster Manager"
    kinds = KINDS
    itself = frozen.DAEMON

    def __init__(self, head: Head, role: str = ROLE) -> None:
        self._session = Session(head)
        self._names = Names(role)

    def read(self, wanted: Sequence[Wanted]) -> State:
        """What there is; a few calls, whatever the number of nodes."""
        _refuse(wanted)
        there = states.top(self._session)
        top = there.objects
        running = {
            (Owner.of(item.ref.of), item.ref.name)
            for item in wanted
            if item.ref.kind == "service" and "running" in item.exact
        }
        owners = Owners(
            services=_owners(wanted, "service", top),
            settings=_owners(wanted, "setting", top)
            | (frozenset() if self._old() else _members(wanted, top)),
            interfaces=_owners(wanted, "interface", top),
        )
        found = self._found(owners, wanted, lambda owner, name: (owner, name) in running)
        asked = {item.ref for item in wanted}
        # Settings are told all: an entry that nobody asked for is a part of the same list.
        kept = {ref: value for ref, value in found.objects.items() if ref in asked or ref.kind == "setting"}
        return msgspec.structs.replace(found, objects={**top, **kept}, own=there.own)

    def refuse(self, wanted: Sequence[Wanted], state: State) -> None:
        """Raise with what of ``wanted`` can't be had where it is as ``state`` says."""
        _refuse_values(wanted, state.objects)
        top = {ref: its for ref, its in state.objects.items() if ref.kind in ("image", "category")}
        trees.refuse_missing(self._session, wanted, top)

    def check(self, changes: Sequence[Change], state: State) -> None:
        """Raise with the settings among ``changes`` that can't be written into lists as they are."""
        of_settings = [change for change in changes if change.ref.kind == "setting"]
        if not of_settings:
            return
        if self._old():
            problems = Problems()
            frozen.refuse(of_settings, problems)
            problems.raise_any()
            return
        sources = again.sources(changes)
        lists = {owner: state.entries.get(str(source)) for owner, source in sources.items()}
        entries = {owner: lines for owner, lines in lists.items() if lines is not None}
        steps(of_settings, entries, self._names)

    def write(self, changes: Sequence[Change], state: State) -> None:
        """The changes in one call, after one or two that read what the settings of an owner are part of.

        Where an image is cloned, images have a call of their own before it: its tree's copying may take an
        hour, in which others work as well. What is to be changed after it is read again, and refused where
        somebody changed it. A restart of CMDaemon that is owed comes first: it may write files then.
        """
        if any(change.ref == self.itself for change in changes):
            frozen.restart(self._session)
            changes = [change for change in changes if change.ref != self.itself]
        old = any(change.ref.kind == "setting" for change in changes) and self._old()
        made = self._steps(changes, state, old=old)
        first: tuple[Step, ...] = ()
        if any(WAITS in step.commands for step in made):
            first = tuple(step for step in made if step.refs[0].kind == "image")
            later = [step for step in made if step not in first]
            changes = [change for change in changes if change.ref.kind != "image"]
            if old:
                frozen.check(self._session, changes, again.sources(changes))
            writing.run(self._session, first, later=later)
            try:
                again.refuse_changed(changes, state, self.read)
                made = self._steps(changes, state, old=old)
            except PipelineError as error:
                raise retold(error, [*error.problems, *writing.tail(first, later)]) from None
        if not old:
            writing.run(self._session, made, done=first)
            return
        scripts = frozen.steps(self._session, changes, again.sources(changes))
        try:
            writing.run(self._session, [*made, *scripts], done=first)
        finally:
            frozen.forget(self._session, scripts)
        frozen.edit_head(self._session, changes, state)

    def restarts_itself(self, changes: Sequence[Change]) -> bool:
        """Whether files of the head node may be frozen for these changes, or be so no longer."""
        return any(map(frozen.is_of_head, changes)) and self._old()

    def _steps(self, changes: Sequence[Change], state: State, *, old: bool) -> tuple[Step, ...]:
        """What is to be typed, but for settings of an ``old`` CMDaemon. Raises with all that can't be."""
        if old:
            problems = Problems()
            frozen.refuse(changes, problems)
            return steps([one for one in changes if one.ref.kind != "setting"], {}, self._names, problems)
        # The lists of file modifications as they are now: all that others put into them stays.
        sources = again.sources(changes)
        found = states.modifications(self._session, self._names, sources.values())
        again.refuse_changed_entries(changes, state, sources, found)
        entries = {owner: found[source] for owner, source in sources.items() if source in found}
        return steps(changes, entries, self._names)

    def survey(self) -> State:
        """Everything; the interfaces through which nodes boot or are managed are left out."""
        there = states.top(self._session)
        top = there.objects
        found = self._found(states.everything(top), (), lambda owner, name: True)
        kept = {
            ref: value
            for ref, value in found.objects.items()
            if ref.kind != "interface" or (ref.name not in BOOT_INTERFACES and value.get("type") != "bmc")
        }
        return msgspec.structs.replace(found, objects={**top, **kept}, own=there.own)

    def _old(self) -> bool:
        """Whether roles can't change files. A CMDaemon that doesn't tell its revision is taken as new."""
        revision = self._session.revision()
        return revision is not None and revision < MODIFICATIONS_SINCE

    def _found(
        self, owners: Owners, wanted: Sequence[Wanted], running: Callable[[Owner, str], bool]
    ) -> State:
        """What belongs to ``owners``, and what the administrator has to know."""
        if not owners.settings or not self._old():
            frozen.refuse_left(self._session, wanted, owners.settings)
            return states.owned(self._session, self._names, owners, running)
        rest = msgspec.structs.replace(owners, settings=frozenset())
        found = states.owned(self._session, self._names, rest, running)
        of_files = frozen.read(self._session, wanted, owners.settings)
        return State({**found.objects, **of_files}, (frozen.warning(self._session.revision()),))


def _owners(wanted: Sequence[Wanted], kind: Kind, top: Mapping[Ref, Properties]) -> frozenset[Owner]:
    """The owners of wanted objects of a kind that are there themselves."""
    texts = {item.ref.of for item in wanted if item.ref.kind == kind}
    there = {str(ref) for ref in top}
    return frozenset(owner for text in texts if (owner := Owner.of(text)).name == HEAD_NAME or text in there)


def _members(wanted: Sequence[Wanted], top: Mapping[Ref, Properties]) -> frozenset[Owner]:
    """The nodes in categories of whose nodes the lists of settings are asked for, now or as it is wanted."""
    categories = {item.ref.of for item in wanted if item.ref.name == MEMBERS}
    nodes = [(ref, properties) for ref, properties in top.items() if ref.kind == "node"] if categories else []
    nodes += [(item.ref, item.exact) for item in wanted if item.ref in top and "category" in item.exact]
    return frozenset(
        Owner.of(str(ref)) for ref, of in nodes if f"category/{of.get('category')}" in categories
    )


def _refuse(wanted: Sequence[Wanted]) -> None:
    """Raise with all that Bright can't have at all."""
    problems = [
        Problem(f"{item.ref.name!r} {why}", str(item.ref))
        for item in wanted
        if item.ref.kind != "setting" and (why := unsafe_name(item.ref.name))
    ]
    problems += [
        Problem(
            "running: a category's service runs on its nodes; only theirs can be started and stopped",
            str(item.ref),
            "say it of the nodes, or of the head node",
        )
        for item in wanted
        if item.ref.kind == "service" and "running" in item.exact and item.ref.of.startswith("category/")
    ]
    problems += [
        Problem(
            f"{item.ref.name} is the interface that the node boots through: it is the cluster manager's",
            str(item.ref),
            "leave it out of the cluster file",
        )
        for item in wanted
        if item.ref.kind == "interface" and item.ref.name in BOOT_INTERFACES and item.make
    ]
    if problems:
        raise PipelineError(problems)


def _refuse_values(wanted: Sequence[Wanted], found: Mapping[Ref, Properties]) -> None:
    """Raise with all values that would have to be written and can't be; what is there already may stay."""
    problems = []
    for item in wanted:
        there = found.get(item.ref, {})
        if item.ref.kind == "setting" and (item.theirs or not item.make):
            # One that is only looked at, or taken out, is not written.
            problems += _unsayable(item) if item.theirs and item.exact != there else []
            continue
        new = {name: str(value) for name, value in item.exact.items() if there.get(name) != value}
        for name, members in item.append.items():
            old = there.get(name, ())
            if not isinstance(old, tuple) or not set(members) <= set(old):
                new[name] = " ".join(members)
        for name, text in new.items():
            before = f"{item.ref.name}=" if item.ref.kind == "setting" and name == "value" else ""
            if why := unsafe(before + text):
                problems.append(Problem(f"{name}: {text!r} {why}", str(item.ref)))
    if problems:
        raise PipelineError(problems)


def _unsayable(item: Wanted) -> list[Problem]:
    """What others have put into the list of a category, and a node's can't have as well."""
    value = str(item.exact["value"]) if "value" in item.exact else None
    entries = Setting(item.ref.name, value, bool(item.exact.get("replaces"))).entries()
    return [
        Problem(
            f"the list of {item.ref.of} would replace that of {item.theirs}, in which somebody has put "
            f"{entry!r}: that {why}",
            str(item.ref),
            f"take the entry out of the list of {item.theirs}, or give {item.ref.of} a list by hand that has "
            "it, or leave out of the cluster file what is only for this node",
        )
        for entry in entries
        if (why := unsafe(entry))
    ]
