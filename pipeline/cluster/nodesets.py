"""Node sets as ClusterShell writes them, with limits, and with no groups but those that are given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from pipeline.nearest import nearest
from pipeline.recipe.kinds import there_are

MOST = 100_000
"""Nodes in one set: a slip of the hand such as ``node[1-10000000]`` would fill the memory."""

NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*")
"""A host name; with an underscore, as ClusterShell's sets and some sites have them."""

PATTERN = re.compile(r"(?:[^,&!^\s\[]|\[[^\]]*\])+")
DIGITS = 18
"""Longer numbers name no nodes; very long ones Python refuses to read."""

RANGE = re.compile(r"(\d+)-(\d+)(?:/(\d+))?")
GROUP = re.compile(r"@([\w.-]*)")


class Nodes(msgspec.Struct, frozen=True):
    """The names of a node set, in order; ``fault`` says what is wrong with it, and then there are none."""

    names: tuple[str, ...] = ()
    fault: str | None = None


def expanded(text: str, groups: Mapping[str, str]) -> Nodes:
    """The nodes of the set ``text``; ``groups`` are the sets that ``@name`` stands for."""
    fault = _fault(text, groups)
    if fault:
        return Nodes(fault=fault)
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
    from ClusterShell.NodeUtils import GroupResolver, GroupSource, GroupSourceError

    resolver = RESOLVER_NOGROUP
    if groups and "@" in text:
        resolver = GroupResolver(GroupSource("file", dict(groups)))
    try:
        names = tuple(NodeSet(text, resolver=resolver))
    except (NodeSetException, GroupSourceError, ValueError, RecursionError) as error:
        # ClusterShell follows groups of groups for as long as Python lets it, and hands its complaint on.
        why = "its groups go in a circle" if "recursion" in str(error) else error
        return Nodes(fault=f'"{text}" is no node set: {why}')
    wrong = next((name for name in names if not NODE.fullmatch(name)), None)
    if wrong is not None:
        hint = f": {BRIGHT}" if ".." in wrong else ""
        return Nodes(fault=f'"{text}" is no node set: "{wrong}" cannot be the name of a node{hint}')
    return Nodes(names) if names else Nodes(fault=f'"{text}" has no nodes')


BRIGHT = "a range is written node[001-003] here"


def folded(names: Iterable[str]) -> str:
    """``node[001-003]``: the names as one node set, as people read them."""
    from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

    return str(NodeSet.fromlist(list(names), resolver=RESOLVER_NOGROUP))


def _fault(text: str, groups: Mapping[str, str]) -> str | None:
    if not text.strip():
        return "the node set is empty"
    for group in GROUP.findall(text):
        if group not in groups:
            near = nearest(group, groups) or there_are(groups) or ": write [groups] with its nodes"
            return f'"{text}": no group "{group}"{near}'
    sets = (text, *groups.values()) if "@" in text else (text,)
    return next((fault for fault in map(_size_fault, sets) if fault), None)


def _size_fault(text: str) -> str | None:
    """Looked for before ClusterShell is asked, which would hold each of them in the memory."""
    total = 0
    for pattern in PATTERN.findall(text):
        size = 1
        for bracket in re.findall(r"\[([^\]]*)\]", pattern):
            size *= bracket.count(",") + 1 + sum(_steps(*found) for found in RANGE.findall(bracket))
        total += size
    return f'"{text}" is more than {MOST} nodes' if total > MOST else None


def _steps(first: str, last: str, step: str) -> int:
    """How often a range goes on from its first number; none of what runs backwards."""
    if max(len(first), len(last), len(step)) > DIGITS:
        return MOST
    return max(0, int(last) - int(first)) // max(1, int(step or 1))
