"""Settings that a node has from its category, and loses when it gets a list of its own.

Bright's list of a node replaces that of its category (the seed: "this will override the category's
'configfilemodifications' setting"). What the cluster file says of the category is given to the node when
the file is loaded; what others have put into the category's list is known only when it was read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec.structs import replace

from pipeline.cluster.added import Added, once_left
from pipeline.cluster.cloning import Making, origins, owned, unfinished
from pipeline.cluster.compare import Applied
from pipeline.cluster.nodesets import folded
from pipeline.cluster.objects import MEMBERS, Properties, Ref, State, Wanted

ANY = "/any[file]key"
"""The name of a setting that nobody has: asked for, it has the list of its owner read."""


def owners(wanted: Iterable[Wanted], state: State, more: Collection[str] = ()) -> dict[str, tuple[str, str]]:
    """Each node that is to have settings of its own, and each of ``more`` → its category, and whose list that
    category has now: its own, or that of what it is cloned from when it is yet to be. All as ``str()`` of
    objects."""
    wanted = tuple(wanted)
    nodes = {item.ref.of for item in wanted if item.ref.kind == "setting" and item.ref.of.startswith("node/")}
    of = _categories(wanted, state, {*nodes, *more})
    sources = {name: str(chain[-1]) for name, chain in origins(wanted, state).items()} if of else {}
    return {node: (name, sources.get(name, name)) for node, name in of.items()}


def _categories(wanted: Iterable[Wanted], state: State, nodes: Collection[str]) -> dict[str, str]:
    """The category that each of ``nodes`` is to be in, if it is in any."""
    if not nodes:
        return {}
    category: dict[str, object] = {
        str(ref): properties.get("category", "")
        for ref, properties in state.objects.items()
        if ref.kind == "node"
    }
    category |= {str(item.ref): item.exact["category"] for item in wanted if "category" in item.exact}
    return {node: f"category/{category[node]}" for node in sorted(nodes) if category.get(node)}


def members(wanted: Iterable[Wanted]) -> list[Wanted]:
    """What has to be asked for so that it is known which nodes do not get the settings of their category."""
    of = {
        item.ref.of for item in wanted if item.ref.kind == "setting" and item.ref.of.startswith("category/")
    }
    return [Wanted(Ref("setting", MEMBERS, name), make=False) for name in sorted(of)]


def unread(wanted: Iterable[Wanted], state: State) -> list[Wanted]:
    """What has to be asked for as well, so that the lists of those categories are read."""
    wanted = tuple(wanted)
    read = {item.ref.of for item in wanted if item.ref.kind == "setting"}
    missing = {has for _, has in owners(wanted, state).values()} - read
    return [Wanted(Ref("setting", ANY, has), make=False) for has in sorted(missing)]


def with_inherited(
    wanted: Iterable[Wanted], state: State, applied: Applied, added: Added, making: Making
) -> tuple[Wanted, ...]:
    """``wanted``, with what nodes that get a list of their own have from their category so far.

    A node that has a list already, of somebody else's making, is left as it is; also with an empty one. One
    whose list an apply has made, and that keeps it for somebody else has put something there, goes on having
    all that its category has.
    """
    wanted = tuple(wanted)
    lists: dict[str, dict[str, Properties]] = {}
    for ref, properties in state.objects.items():
        if ref.kind == "setting":
            lists.setdefault(ref.of, {})[ref.name] = properties
    getting = {**unfinished(wanted, making, state), **origins(wanted, state)}
    said = _said(wanted, getting)
    found: list[Wanted] = []
    theirs = state.has_list() - {*added.lists}
    shared = _shared(said, state, applied, added)
    for node, (category, has) in owners(wanted, state, shared).items():
        own = said.get(node, {}).keys() | shared.get(node, set())
        if (category in getting or node in shared) and node not in theirs:
            # A clone that is yet to be made, or to get it, has what the file says of its source.
            more = [item for name, item in said.get(category, {}).items() if name not in own]
            found += [replace(item, ref=replace(item.ref, of=node)) for item in more]
        for name, here in lists.get(has, {}).items() if node not in theirs else ():
            # What an apply had put into the category's and the file no longer says goes from both.
            left = once_left(added, applied, f"{category}/setting/{name}", here)
            if name in own or name in said.get(category, {}) or left is None:
                continue
            at = next((item.at for item in said.get(node, {}).values()), ())
            found.append(Wanted(Ref("setting", name, node), dict(left), at=at, theirs=has))
    return (*wanted, *found)


def notes(wanted: Iterable[Wanted], state: State, added: Added, making: Making) -> list[str]:
    """Of nodes with lists of somebody else's making, of which the file says nothing, and that lack settings
    of their category for it."""
    wanted = tuple(wanted)
    said = _said(wanted, {**unfinished(wanted, making, state), **origins(wanted, state)})
    lists = {name for name in state.has_list() if name.startswith("node/")}
    lacking: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for node, category in _categories(wanted, state, lists - said.keys() - {*added.lists}).items():
        names = tuple(
            name
            for name, item in said.get(category, {}).items()
            if not item.exact.items() <= state.objects.get(Ref("setting", name, node), {}).items()
        )
        if names:
            lacking.setdefault((category, names), []).append(node.removeprefix("node/"))
    return [
        f"{folded(nodes)}: somebody has given a list of settings of its own, which replaces that of "
        f"{category}: {', '.join(names)} of this file does not arrive there"
        for (category, names), nodes in lacking.items()
    ]


def _said(wanted: Iterable[Wanted], getting: Mapping[str, tuple[Ref, ...]]) -> dict[str, dict[str, Wanted]]:
    """The settings that the file says of each owner, by name; clones are ``getting`` their sources'."""
    said: dict[str, dict[str, Wanted]] = {}
    for items in owned(wanted, getting).values():
        for (kind, name), item in items.items():
            if kind == "setting":
                said.setdefault(item.ref.of, {})[name] = item
    return said


def _shared(said: Collection[str], state: State, applied: Applied, added: Added) -> dict[str, set[str]]:
    """Nodes that got a list by an apply, and that the file gives no settings any more: the names of those
    that somebody else has put there, or changed. With none the list goes."""
    found: dict[str, set[str]] = {}
    for ref, here in state.objects.items():
        if ref.kind != "setting" or ref.of not in added.lists or ref.of in said:
            continue
        if once_left(added, applied, str(ref), here) is not None:
            found.setdefault(ref.of, set()).add(ref.name)
    return found
