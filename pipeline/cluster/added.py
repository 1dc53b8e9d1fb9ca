"""What applies have put where it was not, and what they have put in the place of something else.

Only that is taken back when it leaves the cluster file. What was as wanted before an apply is not among it:
others have set it, and it is theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from pipeline.cluster.madenames import made_for
from pipeline.cluster.objects import Change, Properties, Ref, State, Value, Wanted, members


class Added(msgspec.Struct, frozen=True):
    """By the ``str()`` of objects. ``put``: of a setting the properties that were written, of others the
    members that were appended to a property, under ``+name``. ``before``: what those properties of a setting
    were, where it was there already. ``lists``: nodes that had no list of settings, not even an empty one,
    and got one. ``made`` are images that rollouts have made: what was put into them is taken back only where
    categories have them, for nodes may go back to the others.

    It is kept before anything is written: what was written by an apply that died is in it, too.
    """

    put: Mapping[str, Mapping[str, str | bool | int | tuple[str, ...]]] = {}
    before: Mapping[str, Mapping[str, str | bool | int | tuple[str, ...]]] = {}
    lists: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


NOTHING = Added()

WORDS = "+kernel_parameters"
"""As ``put`` names those of an image."""


def put_into(added: Added, image: str) -> tuple[str, ...]:
    """The kernel parameters that applies have put into an image of this name."""
    return members(added.put.get(str(Ref("image", image)), {}).get(WORDS))


def gone_images(added: Added, wanted: Iterable[Wanted], there: Iterable[Ref]) -> list[Wanted]:
    """Images that are no longer wanted, and have members in properties that applies have put there."""
    names = added.put.keys() - {str(item.ref) for item in wanted} - {*added.made}
    return [Wanted(ref, make=False) for ref in there if ref.kind == "image" and str(ref) in names]


def once_left(
    added: Added, applied: Mapping[str, Properties], name: str, here: Properties
) -> Properties | None:
    """What is to be there of a setting that is ``here`` and that nobody wants any more; None: nothing.

    One that somebody else has set, or changed since, stays.
    """
    if not _is_ours(added, applied, name, here):
        return here
    if name not in added.before:
        return None
    before = added.before[name]
    return {**here, **before} if before.keys() >= added.put[name].keys() else here


def _is_ours(added: Added, applied: Mapping[str, Properties], name: str, here: Properties) -> bool:
    """Whether an apply has set what is ``here``: the last one, or the one before, if the last one died."""
    said = (added.put[name], applied.get(name)) if name in added.put else ()
    return any(one and all(here.get(key) == value for key, value in one.items()) for one in said)


def with_changes(added: Added, wanted: Iterable[Wanted], state: State, changes: Iterable[Change]) -> Added:
    """``added``, and what the ``changes`` are about to add."""
    items = {item.ref: item for item in wanted}
    with_list = state.has_list()
    put, before = dict(added.put), dict(added.before)
    lists = dict.fromkeys(added.lists)
    for change in changes:
        name, item = str(change.ref), items.get(change.ref)
        if item is None or change.action in ("remove", "restart", "build"):
            continue
        if change.action in ("add", "clone"):
            # Whatever was there once is gone, with all that belonged to it.
            belongs = [] if change.ref.of else [each for each in put if each.startswith(f"{name}/")]
            for known in (name, *belongs):
                put.pop(known, None)
                before.pop(known, None)
        if change.ref.kind == "setting":
            if change.action == "set" and (name not in put or name in before):
                old = {entry.name: entry.old for entry in change.assignments if entry.old is not None}
                before[name] = {**old, **before.get(name, {})}
            put[name] = {**put.get(name, {}), **{entry.name: entry.new for entry in change.assignments}}
            if change.ref.of not in with_list and change.ref.of.startswith("node/"):
                lists[change.ref.of] = None
        elif fresh := _fresh(item, change, put.get(name, {})):
            put[name] = fresh
    return Added(put, before, tuple(lists), added.made)


def _fresh(item: Wanted, change: Change, known: Properties) -> dict[str, Value]:
    """The members that are put into properties of an object, those that are ``known`` first."""
    found = dict(known)
    for entry in change.assignments:
        if entry.name in item.append and isinstance(entry.new, tuple):
            there, was = members(entry.old), members(found.get(f"+{entry.name}"))
            new = [each for each in item.append[entry.name] if each not in there and each not in was]
            found[f"+{entry.name}"] = (*was, *new)
    return {name: value for name, value in found.items() if value}


def _members_there(written: Properties, here: Properties) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, value in written.items():
        there = members(here.get(name.removeprefix("+")))
        if left := tuple(member for member in members(value) if member in there):
            found[name] = left
    return found


def _with_clones(added: Added, names: Collection[str], state: State) -> Added:
    """``added`` with images of versions that are not among ``names``. They were cloned from images of the
    file, and have what was put into these."""
    put, made = dict(added.put), dict.fromkeys(added.made)
    for ref in state.objects:
        name, of = str(ref), made_for(ref.name) if ref.kind == "image" else None
        source = added.put.get(str(Ref("image", of[0])), {}) if of is not None else {}
        if source and name not in names and name not in put:
            made[name] = None
            put[name] = {**source, **put.get(name, {})}
    return msgspec.structs.replace(added, put=put, made=tuple(made))


def still_added(
    added: Added, wanted: Iterable[Wanted], state: State, applied: Mapping[str, Properties]
) -> Added:
    """What of ``added`` is there in ``state``; ``applied`` is what an apply has seen there."""
    names = {str(item.ref) for item in wanted}
    added = _with_clones(added, names, state)
    there = {str(ref): (ref, found) for ref, found in state.objects.items()}
    put: dict[str, Properties] = {}
    for name, written in added.put.items():
        if name not in there:
            continue
        ref, here = there[name]
        if ref.kind != "setting":
            if found := _members_there(written, here):
                put[name] = found
        elif (name in names and name in applied) or _is_ours(added, applied, name, here):
            put[name] = written
    owners = {ref.of for ref in state.objects if ref.kind == "setting"}
    before = {name: value for name, value in added.before.items() if name in put}
    made = tuple(name for name in added.made if name in there)
    return Added(put, before, tuple(owner for owner in added.lists if owner in owners), made)
