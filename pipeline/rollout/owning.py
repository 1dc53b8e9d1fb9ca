"""What is set at nodes themselves: "" follows a category, to which others may have given another image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.cluster.drivers.nodes import NodeManager, Survey
from pipeline.rollout.desk import Desk
from pipeline.rollout.states import Way

Groups = dict[str, list[str]]
"""Nodes by their own image ("": their category's)."""


class Owning:
    """Finds what is to be set at nodes, as their categories are now."""

    def __init__(self, desk: Desk, manager: NodeManager) -> None:
        self._desk = desk
        self._manager = manager

    def ahead(self, names: Sequence[str]) -> tuple[Groups, dict[str, str]]:
        """What gives nodes what they are taken to, and why some are not taken to what they had."""
        ways: dict[str, Way] = {name: self._desk.of[name].way for name in names}
        is_back = self._desk.order.back_of is not None
        back = [name for name in names if is_back or ways[name] == "back"]
        # On its way out a node is given its image itself, whatever its category has: nothing is asked then.
        survey = self._manager.survey() if back else None
        moved = self._moved(back, survey) if survey else {}
        left = {name: way for name, way in ways.items() if name not in moved}
        linked = {name: self._linked(name) for name, way in left.items() if way == "back"}
        found = self._grouped({name: way for name, way in left.items() if not linked.get(name)}, survey)
        for name, image in linked.items():
            if image:
                found.setdefault(image, []).append(name)
        return found, moved

    def behind(self, names: Sequence[str]) -> tuple[Groups, dict[str, str]]:
        """What gives nodes what they have had until now, and who is in another category by now."""
        # On its way back a node has what it was given on its way out.
        ways: dict[str, Way] = {
            name: "out" if self._desk.of[name].way == "back" else "back" for name in names
        }
        survey = self._manager.survey() if names else None
        return self._grouped(ways, survey), self._moved(names, survey) if survey else {}

    def _grouped(self, ways: Mapping[str, Way], survey: Survey | None) -> Groups:
        found: Groups = {}
        for name, way in ways.items():
            found.setdefault(self._own(name, way, survey), []).append(name)
        return found

    def _own(self, name: str, way: Way, survey: Survey | None) -> str:
        """What is set at a node for its way ``out``, or was before it."""
        order, node = self._desk.order, self._desk.nodes[name]
        image = order.wanted[name] if way == "out" else node.image
        own = order.own.get(name, image) if way == "out" else node.own_image
        facts = survey.nodes.get(name) if survey else None
        if own or survey is None or facts is None or facts.category != node.category:
            return own
        category = survey.categories.get(node.category)
        if category is None or category.image == image:
            return own
        self._desk.note(name, f"its category has {category.image} by now: {image} is set at it as its own")
        return image

    def _linked(self, name: str) -> str:
        """What is set at a node that goes back to what a link led to; "": it had no link."""
        return self._desk.order.linked.get(self._desk.nodes[name].image, "")

    def _moved(self, names: Sequence[str], survey: Survey) -> dict[str, str]:
        """Those that are in another category by now: what they had was that of the one before."""
        return moved({name: self._desk.nodes[name].category for name in names}, survey)


def moved(categories: Mapping[str, str], survey: Survey) -> dict[str, str]:
    """The nodes that are not in these ``categories`` any more, and where each is."""
    return {
        name: f"it is in the category {facts.category} by now, not in {category}"
        for name, category in categories.items()
        if (facts := survey.nodes.get(name)) is not None and facts.category != category
    }
