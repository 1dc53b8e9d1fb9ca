"""Which nodes a hook has to do with."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.cluster.nodesets import expanded
from pipeline.errors import Problem
from pipeline.rollout.model import Node


class Only(msgspec.Struct, frozen=True):
    """Nodes by name (None: all), and of these categories (none: of all)."""

    names: frozenset[str] | None = None
    categories: tuple[str, ...] = ()

    def has(self, node: Node) -> bool:
        return (self.names is None or node.name in self.names) and (
            not self.categories or node.category in self.categories
        )


def only(
    nodes: str, categories: tuple[str, ...], groups: Mapping[str, str], where: str
) -> tuple[Only, Problem | None]:
    """What a table says; ``where`` is the table, for what is wrong with it."""
    if not nodes:
        return Only(categories=categories), None
    found = expanded(nodes, groups)
    problem = Problem(found.fault, where) if found.fault else None
    return Only(frozenset(found.names), categories), problem
