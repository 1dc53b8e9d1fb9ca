"""Settings that a node has from its category, and loses when it gets a list of its own.

Bright's list of a node replaces that of its category (the seed: "this will override the category's
'configfilemodifications' setting"). What the cluster file says of the category is given to the node when
the file is loaded; what others have put into the category's list is known only when it was read.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from pipeline.cluster.added import Added, once_left
from pipeline.cluster.cloning import Making, origins, owned, unfinished
from pipeline.cluster.compare import Applied
from pipeline.cluster.objects import Properties, Ref, State, Wanted

ANY = "/any[file]key"
"""The name of a setting that nobody has: asked for, it has the list of its owner read."""


def owners(wanted: Iterable[Wanted], state: State) -> dict[str, tuple[str, str]]:
    """Each node that is to have settings of its own → its category, and whose list that category has now: its
    own, or that of what it is cloned from when it is yet to be. All as ``str()`` of objects."""
    wanted = tuple(wanted)
    nodes = {item.ref.of for item in wanted if item.ref.kind == "setting" and item.ref.of.startswith("node/")}
    if not nodes:
        return {}
    category: dict[str, object] = {
        str(ref): properties.get("category", "")
        for ref, properties in state.objects.items()
        if ref.kind == "node"
    }
    category |= {str(item.ref): item.exact["category"] for item in wanted if "category" in item.exact}
    sources = {name: str(chain[-1]) for name, chain in origins(wanted, state).items()}
    of = {node: f"category/{category[node]}" for node in sorted(nodes) if category.get(node)}
    return {node: (name, sources.get(name, name)) for node, name in of.items()}


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

    A node that has a list already, of somebody else's making, is left as it is; also with an empty one.
    """
    wanted = tuple(wanted)
    lists: dict[str, dict[str, Properties]] = {}
    for ref, properties in state.objects.items():
        if ref.kind == "setting":
            lists.setdefault(ref.of, {})[ref.name] = properties
    said: dict[str, dict[str, Wanted]] = {}
    getting = {**unfinished(wanted, making, state), **origins(wanted, state)}
    for (kind, name), item in (
        (key, item) for items in owned(wanted, getting).values() for key, item in items.items()
    ):
        if kind == "setting":
            said.setdefault(item.ref.of, {})[name] = item
    found: list[Wanted] = []
    theirs = state.has_list() - {*added.lists}
    for node, (category, has) in owners(wanted, state).items():
        if category in getting and node not in theirs:
            # A clone that is yet to be made, or to get it, has what the file says of its source.
            more = [item for name, item in said.get(category, {}).items() if name not in said[node]]
            found += [replace(item, ref=replace(item.ref, of=node)) for item in more]
        for name, here in lists.get(has, {}).items() if node not in theirs else ():
            # What an apply had put into the category's and the file no longer says goes from both.
            left = once_left(added, applied, f"{category}/setting/{name}", here)
            if name in said[node] or name in said.get(category, {}) or left is None:
                continue
            at = next(iter(said[node].values())).at
            found.append(Wanted(Ref("setting", name, node), dict(left), at=at, theirs=has))
    return (*wanted, *found)
