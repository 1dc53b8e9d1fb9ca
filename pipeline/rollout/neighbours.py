"""Nodes beside those of a rollout: while they are not up users lack them too, whoever took them away."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.cluster.drivers.nodes import NodeFacts
from pipeline.rollout.model import Node, Order


class Neighbours:
    """Those of ``order``: of its categories as the manager has them by now, and of its failure domains."""

    def __init__(self, order: Order) -> None:
        self._mine = frozenset(node.name for node in order.nodes)
        self._categories = frozenset(node.category for node in order.nodes)
        self._known = {node.name: node for node in (*order.unavailable, *order.neighbours)}

    def away(self, facts: Mapping[str, NodeFacts]) -> tuple[Node, ...]:
        """Those that are not up by ``facts``."""
        return tuple(
            self._known.get(name) or Node(name, found.category, found.image, is_virtual=found.is_virtual)
            for name, found in facts.items()
            if found.status.condition != "up" and name not in self._mine and self._counts(name, found)
        )

    def _counts(self, name: str, facts: NodeFacts) -> bool:
        """Whether it is one of them. A virtual node that is down is one that nobody began."""
        is_begun = not facts.is_virtual or facts.status.condition != "down"
        return name in self._known or (facts.category in self._categories and is_begun)
