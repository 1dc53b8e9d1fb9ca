"""Clones: each after what it is cloned from, and with what the file gives that one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace

from pipeline.cluster.objects import Ref, State, Wanted
from pipeline.cluster.reading import Reading
from pipeline.recipe.lines import KeyPath

Item = TypeVar("Item")

Table = tuple[str, str, KeyPath]
"""Of a table: the name of its object, what that is cloned from, and where it stands."""


def in_order(reading: Reading, items: Sequence[Item], table: Callable[[Item], Table]) -> list[Item]:
    """``items`` with each clone behind what it is cloned from; clones that go in a circle are told."""
    named = {table(item)[0]: item for item in reversed(items)}
    found: dict[str, Item] = {}
    told: set[str] = set()
    for item in items:
        chain: dict[str, Item] = {}
        name: str = table(item)[0]
        while name in named and name not in found and name not in chain:
            chain[name] = named[name]
            name = table(named[name])[1]
        if name in chain and name not in told:
            _tell_circle(reading, name, [table(one) for one in chain.values()])
            told.update(chain)
        found.update(reversed(chain.items()))
    first = {id(item) for item in found.values()}
    return [*found.values(), *(item for item in items if id(item) not in first)]


def _tell_circle(reading: Reading, name: str, chain: Sequence[Table]) -> None:
    names = [one for one, _, _ in chain]
    circle = names[names.index(name) :]
    if len(circle) < 2:
        return  # one that is cloned from itself is told where it is read
    _, source, at = chain[names.index(name)]
    where = reading.place((*next(at for one, _, at in chain if one == source), "clone"))
    way = " from ".join(f'"{one}"' for one in (*circle, name))
    reading.say((*at, "clone"), f"{at[0]} {way}: clones of each other, and none is there first ({where})")


def origins(wanted: Iterable[Wanted], state: State | None = None) -> dict[str, tuple[Ref, ...]]:
    """By the ``str()`` of each clone: what it is cloned from, what that one is cloned from, and so on.

    With ``state`` only of those that are not there, and no further than to what is there.
    """
    sources = {
        item.ref: Ref(item.ref.kind, item.source)
        for item in wanted
        if item.source and not (state and item.ref in state.objects)
    }
    found: dict[str, tuple[Ref, ...]] = {}
    for ref, source in sources.items():
        chain = dict.fromkeys((source,))
        while (more := sources.get(next(reversed(chain)))) and more not in chain:
            chain[more] = None
        found[str(ref)] = tuple(chain)
    return found


Owned = Mapping[str, Mapping[tuple[str, str], Wanted]]
"""By the ``str()`` of an owner, and the kind and name of each of its objects."""


Making = Mapping[str, tuple[str, ...]]
"""Clones that an apply was about to make, and what each is cloned from, as ``origins`` has it: all ``str()``.

It is kept before anything is written: what belongs to a clone is written after it, by another apply maybe.
"""


def unfinished(
    wanted: Iterable[Wanted], making: Making, state: State | None = None
) -> dict[str, tuple[Ref, ...]]:
    """What those of ``making`` are cloned from, as far as the file has them so still; with ``state`` only of
    those that are there."""
    return {
        str(item.ref): tuple(Ref(item.ref.kind, name.partition("/")[2]) for name in chain)
        for item in wanted
        if item.source and (state is None or item.ref in state.objects)
        if (chain := making.get(str(item.ref))) and chain[0] == str(Ref(item.ref.kind, item.source))
    }


def owed(wanted: Iterable[Wanted], making: Making) -> list[Wanted]:
    """What belongs to those of ``making``, whether they are there or not."""
    wanted = tuple(wanted)
    chains = unfinished(wanted, making)
    whole = owned(wanted, chains)
    return [item for name in chains for item in whole.get(name, {}).values()]


def owned(wanted: Iterable[Wanted], clones: Mapping[str, tuple[Ref, ...]]) -> Owned:
    """What the file gives each owner; ``clones`` have what their sources get as well.

    A clone is made before anything is written that belongs to its source.
    """
    wanted = tuple(wanted)
    found: dict[str, dict[tuple[str, str], Wanted]] = {}
    for item in wanted:
        if item.ref.of:
            found.setdefault(item.ref.of, {})[item.ref.kind, item.ref.name] = item
    for name, chain in clones.items():
        mine = found.get(name, {})
        for source in chain:
            for key, theirs in found.get(str(source), {}).items():
                said = mine.get(key, theirs)
                whole = {**theirs.exact, **said.exact}
                mine[key] = replace(said, ref=replace(theirs.ref, of=name), exact=whole)
        if mine:
            found[name] = mine
    return found
