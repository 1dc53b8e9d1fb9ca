"""What has to change: the objects that are wanted, against those that are there. Plain arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec.structs import replace

from pipeline.cluster.added import NOTHING, Added, gone_images, once_left
from pipeline.cluster.cloning import Making, origins, owned, unfinished
from pipeline.cluster.objects import Action, Assignment, Change, Kind, Properties, Ref, State, Value, Wanted
from pipeline.cluster.words import with_words

Applied = Mapping[str, Properties]
"""What the last apply had ``asked`` for, by the ``str()`` of each object."""

ABSENT: Properties = {}

FLAT: frozenset[Kind] = frozenset({"category"})
"""Kinds that are cloned from what is there already, however many clones are between: only an image's clone
has something that is made with the source, its tree."""

NOT_CLONED = frozenset({"path"})
"""Properties that a clone does not have from its source."""


def sources(wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
    """What must be read as well: where an object will be cloned, what belongs to the clone comes along."""
    wanted = tuple(wanted)
    clones = origins(wanted)
    owners = [
        Wanted(source, make=False) for source in dict.fromkeys(s for one in clones.values() for s in one)
    ]
    belonging = [
        Wanted(Ref(item.ref.kind, item.ref.name, str(source)), item.exact, make=False)
        for item in wanted
        for source in clones.get(item.ref.of, ())
    ]
    return (*owners, *belonging)


def changes(
    wanted: Iterable[Wanted],
    state: State,
    applied: Applied,
    restarts: Mapping[Ref, tuple[Ref, ...]],
    due: Collection[str] = (),
    added: Added = NOTHING,
    making: Making | None = None,
) -> tuple[Change, ...]:
    """The smallest changes that make ``wanted`` true, in its order. Before them kernel parameters are taken
    back, and after them settings, that applies ``added`` and nobody wants any more; then services restarted.

    ``due`` are services whose restart an earlier apply owes; ``making`` are clones that it was making.
    """
    wanted = tuple(wanted)
    wanted = (*gone_images(added, wanted, state.objects), *wanted)
    clones = origins(wanted, state)
    getting = {**unfinished(wanted, making or {}, state), **clones}
    after: dict[Ref, Properties] = {}
    found: list[Change] = []
    for item in _as_cloned(wanted, getting):
        here = state.objects.get(item.ref)
        before, given = _before(item, here, state, clones, after)
        put = added.put.get(str(item.ref), ABSENT) if here is not None else ABSENT
        target = {**given, **values(item, {**(before or ABSENT), **given}, put)}
        after[item.ref] = {**(before or ABSENT), **target}
        change = _change(item, here, before, target, applied, put)
        if change is not None:
            if change.action == "clone" and item.ref.kind in FLAT:
                change = replace(change, source=clones[str(item.ref)][-1].name)
            found.append(replace(change, drift=change.drift and item.ref not in state.older))
    back = _taken_back(wanted, state, applied, added)
    found += back + _of_clones(back, wanted, clones)
    return (*found, *_restarts(found, restarts, due))


def _as_cloned(wanted: Iterable[Wanted], clones: Mapping[str, tuple[Ref, ...]]) -> list[Wanted]:
    """``wanted``, and what ``clones`` get because the file says it of their sources."""
    wanted = tuple(wanted)
    whole = owned(wanted, clones)
    found = [
        whole[item.ref.of][item.ref.kind, item.ref.name] if item.ref.of in clones else item for item in wanted
    ]
    said = {item.ref for item in wanted}
    return found + [item for name in clones for item in whole.get(name, {}).values() if item.ref not in said]


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


def _of_clones(
    back: Iterable[Change], wanted: Iterable[Wanted], clones: Mapping[str, tuple[Ref, ...]]
) -> list[Change]:
    """The same for clones that are made of those from which settings are taken back."""
    said = {item.ref for item in wanted}
    copies = [
        replace(change, ref=replace(change.ref, of=name))
        for change in back
        for name, chain in clones.items()
        if change.ref.of == str(chain[-1])
    ]
    return [change for change in copies if change.ref not in said]


def _before(
    item: Wanted,
    here: Properties | None,
    state: State,
    clones: Mapping[str, tuple[Ref, ...]],
    after: Mapping[Ref, Properties],
) -> tuple[Properties | None, Properties]:
    """What the object has before anything is set on it, its own or what a clone gives it; None: nothing. And
    what it is to have besides, for its source gets it."""
    if here is not None:
        return here, ABSENT
    chain = clones.get(str(item.ref), ())
    if chain:
        source = state.objects.get(chain[-1] if item.ref.kind in FLAT else chain[0], ABSENT)
        then = after.get(chain[0], source)
        if item.ref.kind not in FLAT:
            source, then = then, ABSENT
        cloned = ({name: one for name, one in of.items() if name not in NOT_CLONED} for of in (source, then))
        return next(cloned), next(cloned)
    if item.ref.of in clones:
        return state.objects.get(Ref(item.ref.kind, item.ref.name, str(clones[item.ref.of][-1]))), ABSENT
    return None, ABSENT


def _change(
    item: Wanted,
    here: Properties | None,
    before: Properties | None,
    target: Properties,
    applied: Applied,
    put: Properties,
) -> Change | None:
    last = applied.get(str(item.ref))
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
