"""What tests found on nodes and the cluster file says otherwise: an interface of another name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from pipeline.cluster import tomltext
from pipeline.cluster.nodesets import folded
from pipeline.recipe.model import Parameter
from pipeline.rollout.states import Progress

Parameters = Mapping[str, Parameter]
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)


class Difference(msgspec.Struct, frozen=True):
    """A fact of ``nodes`` that is called as a ``parameter`` and has another ``value`` than that one.

    ``written`` is that value as the file would have it. ``is_own``: the file gives these nodes a
    value of their own already, which is to be changed.
    """

    parameter: str
    value: str
    wanted: str
    nodes: tuple[str, ...]
    written: str
    is_own: bool = False

    def __str__(self) -> str:
        whose = "[[node]] of the cluster file" if self.is_own else "the cluster file"
        return f"{folded(self.nodes)}: {self.parameter} is {self.value}; {whose} says {self.wanted}"


def to_write(differences: Iterable[Difference]) -> tuple[str, ...]:
    """Lines for the cluster file that give nodes what was found; not for those that have lines already."""
    of: dict[tuple[str, ...], dict[str, str]] = {}
    for each in differences:
        if not each.is_own:
            of.setdefault(each.nodes, {})[each.parameter] = each.written
    lines: list[str] = []
    for nodes, found in of.items():
        given = ", ".join(f"{tomltext.key(name)} = {value}" for name, value in found.items())
        lines += ["[[node]]", f"names = {tomltext.text(folded(nodes))}", f"parameters = {{ {given} }}"]
    return tuple(lines)


def differing(
    progress: Progress, common: Parameters, of_node: Callable[[str], Parameters]
) -> tuple[Difference, ...]:
    """Facts that the parameters contradict: ``common`` are all nodes', ``of_node`` gives one node's."""
    found: dict[tuple[str, str, str, bool], list[str]] = {}
    for name, node in progress.nodes.items():
        own = of_node(name) if node.facts else {}
        for fact, value in node.facts.items():
            if fact in own and _spelled(own[fact]) != value:
                is_own = own[fact] != common.get(fact)
                found.setdefault((fact, value, _spelled(own[fact]), is_own), []).append(name)
    return tuple(
        Difference(fact, value, wanted, tuple(names), _written(value, common.get(fact)), is_own)
        for (fact, value, wanted, is_own), names in found.items()
    )


def _spelled(value: Parameter) -> str:
    """A parameter as tests report it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _written(value: str, like: Parameter | None) -> str:
    """A fact in TOML, as the type that the parameter has where it can be read so."""
    if isinstance(like, bool):
        return value if value in ("true", "false") else tomltext.text(value)
    if isinstance(like, int | float) and NUMBER.fullmatch(value):
        return value
    if isinstance(like, tuple):
        return tomltext.value(value.split(","))
    return tomltext.text(value)
