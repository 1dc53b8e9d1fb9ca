"""What has to change: the objects that are wanted, against those that are there. Plain arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec.structs import replace

from pipeline.cluster.added import NOTHING, Added, once_left
from pipeline.cluster.objects import Action, Assignment, Change, Properties, Ref, State, Value, Wanted
from pipeline.cluster.words import with_words

Applied = Mapping[str, Properties]
"""What the last apply had ``asked`` for, by the ``str()`` of each object."""

ABSENT: Properties = {}

NOT_CLONED = frozenset({"path"})
"""Properties that a clone does not have from its source."""


def sources(wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
    """What must be read as well: where an object will be cloned, what belongs to the clone comes along."""
    wanted = tuple(wanted)
    clones = {str(item.ref): Ref(item.ref.kind, item.source) for item in wanted if item.source}
    owners = [Wanted(source, make=False) for source in clones.values()]
    owned = [
        Wanted(Ref(item.ref.kind, item.ref.name, str(clones[item.ref.of])), item.exact, make=False)
        for item in wanted
        if item.ref.of in clones
    ]
    return (*owners, *owned)


def changes(
    wanted: Iterable[Wanted],
    state: State,
    applied: Applied,
    restarts: Mapping[Ref, tuple[Ref, ...]],
    due: Collection[str] = (),
    added: Added = NOTHING,
) -> tuple[Change, ...]:
    """The smallest changes that make ``wanted`` true, in its order; then settings that applies ``added`` and
    nobody wants any more are taken back, and services restarted.

    ``due`` are services whose restart an earlier apply owes.
    """
    wanted = tuple(wanted)
    clones: dict[str, str] = {}
    found: list[Change] = []
    for item in wanted:
        here = state.objects.get(item.ref)
        if here is None and item.source:
            clones[str(item.ref)] = str(Ref(item.ref.kind, item.source))
        before = _before(item, here, state, clones)
        change = _change(item, here, before, applied, added)
        if change is not None:
            found.append(replace(change, drift=change.drift and item.ref not in state.older))
    found += _taken_back(wanted, state, applied, added)
    return (*found, *_restarts(found, restarts, due))


def _taken_back(wanted: Iterable[Wanted], state: State, applied: Applied, added: Added) -> list[Change]:
    """Settings that were added, are no longer wanted, and are still there as they were applied."""
    names = {str(item.ref) for item in wanted}
    found: list[Change] = []
    for ref, here in state.objects.items():
        name = str(ref)
        if ref.kind != "setting" or name not in added.put or name in names:
            continue
        left = once_left(added, applied, name, here)
        if left is None:
            found.append(Change(ref, "remove", with_list=ref.of in added.lists))
        elif left != here:
            old = [Assignment(key, here.get(key), new) for key, new in left.items() if here.get(key) != new]
            found.append(Change(ref, "set", tuple(old)))
    return found


def _before(
    item: Wanted, here: Properties | None, state: State, clones: Mapping[str, str]
) -> Properties | None:
    """What the object has before anything is set on it, its own or what a clone gives it; None: nothing."""
    if here is not None:
        return here
    if item.source:
        source = state.objects.get(Ref(item.ref.kind, item.source), ABSENT)
        return {name: value for name, value in source.items() if name not in NOT_CLONED}
    if item.ref.of in clones:
        return state.objects.get(Ref(item.ref.kind, item.ref.name, clones[item.ref.of]))
    return None


def _change(
    item: Wanted, here: Properties | None, before: Properties | None, applied: Applied, added: Added
) -> Change | None:
    last, put = applied.get(str(item.ref)), added.put.get(str(item.ref), ABSENT)
    target = values(item, before or ABSENT, put if here is not None else ABSENT)
    assignments = tuple(
        Assignment(name, None if before is None else before.get(name), value)
        for name, value in target.items()
        if before is None or before.get(name) != value
    )
    if here is None and item.ref.kind == "service" and target == {"running": False}:
        return None  # what isn't there doesn't run
    action: Action = "clone" if item.source else "add"
    if here is not None or (before is not None and not item.source):
        action = "set"
    if action == "set" and not assignments:
        return None
    drift = (
        last is not None
        and all(last.get(name) == value for name, value in asked(item, assignments).items())
        and not still_there(item, here or ABSENT, put)
    )
    return Change(item.ref, action, assignments, item.source, drift, item.at)


def asked(item: Wanted, assignments: Iterable[Assignment] | None = None) -> dict[str, Value]:
    """What the file says of these properties, or of all: what is appended to one stands under ``+name``."""
    names = None if assignments is None else {entry.name for entry in assignments}
    found = {name: value for name, value in item.exact.items() if names is None or name in names}
    for name, members in item.append.items():
        if names is None or PROPERTY.get(name, name) in names:
            found[f"+{name}"] = members
    return found


PROPERTY = {"words": "content"}
"""The property that members of this one are put into, where that has another name."""


def values(item: Wanted, before: Properties, put: Properties = ABSENT) -> dict[str, Value]:
    """What each property is to be, given what is there, and what applies have ``put`` into it."""
    target: dict[str, Value] = dict(item.exact)
    gone = still_there(item, before, put)
    for name in (*item.append, *(name for name in gone if name not in item.append)):
        members = item.append.get(name, ())
        if name in PROPERTY:
            target[PROPERTY[name]] = with_words(str(before.get(PROPERTY[name], "")), members)
        else:
            old = before.get(name, ())
            assert isinstance(old, tuple)  # only such properties are appended to
            old = tuple(member for member in old if member not in gone.get(name, ()))
            target[name] = (*old, *(member for member in members if member not in old))
    return target


def still_there(item: Wanted, here: Properties, put: Properties) -> dict[str, tuple[str, ...]]:
    """Members that applies have ``put`` into properties, and the file no longer has: by property, those that
    are there. They are taken out again, as settings are."""
    found = {}
    for asked_, members in put.items():
        name = asked_.removeprefix("+")
        old = here.get(name, ())
        if name == asked_ or name in PROPERTY or name in item.exact:
            continue
        assert isinstance(members, tuple)
        assert isinstance(old, tuple)
        wanted = item.append.get(name, ())
        gone = tuple(member for member in members if member in old and member not in wanted)
        if gone:
            found[name] = gone
    return found


def _restarts(
    found: Iterable[Change], restarts: Mapping[Ref, tuple[Ref, ...]], due: Collection[str]
) -> tuple[Change, ...]:
    """Restarts of services some of whose files change; one that is started or stopped anyway is not."""
    changed = {change.ref for change in found}
    starting = {
        change.ref for change in found if any(entry.name == "running" for entry in change.assignments)
    }
    return tuple(
        Change(service, "restart")
        for service, files in restarts.items()
        if service not in starting and (changed.intersection(files) or str(service) in due)
    )
