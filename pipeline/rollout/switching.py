"""Categories: each gets in the end what all of its nodes have, and it is known whenever one may have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.cluster.drivers.nodes import NodeFacts, NodeManager
from pipeline.errors import MachineError, PipelineError
from pipeline.rollout.desk import Desk
from pipeline.rollout.model import Node
from pipeline.rollout.owning import moved
from pipeline.rollout.steps import Steps

Switched = Callable[[str, str], None]


class Switching:
    """Switches categories; ``switched`` is told of each one and the image that it gets, before it has it, and
    what it had when it does not get it."""

    def __init__(self, desk: Desk, manager: NodeManager, steps: Steps, switched: Switched) -> None:
        self._desk = desk
        self._manager = manager
        self._steps = steps
        self._switched = switched

    def switch(self, category: str, image: str) -> bool:
        """Have a category take what all of its nodes have; False: that could not be had."""
        begun = category in self._desk.fold.whole.switching
        if not (begun and self._has(category) == image) and (why := self._why_not(category, image)):
            self._keep(category, why)
            return True
        self._desk.say("switching", category)
        self._desk.commit()
        # Stopped here: whoever goes on, gives it up or takes it back asks what the category has.
        try:
            # First: an apply that sees the new image has to know whose it is.
            self._switched(category, image)
            self._manager.switch(category, image)
            self._follow(category, image)
        except MachineError:
            raise
        except PipelineError as error:
            self._desk.say("note", f"the category {category}: {error.problems[0].message}")
            if self._has(category) != image:
                self._not_switched(category)
            return False
        return True

    def is_due(self, category: str) -> bool:
        """Whether all of its nodes have what it is to get, or it may have that by now."""
        return self._has_all(category) or category in self._desk.fold.whole.switching

    def _has_all(self, category: str) -> bool:
        states = [self._desk.of[node.name] for node in self._nodes(category)]
        return all(node.state == "released" and node.way == "out" for node in states)

    def settle(self) -> None:
        """Of categories that were being switched: finish with those that have their image, keep the others.

        Raises ``MachineError`` when the cluster manager can't be asked.
        """
        for category in self._desk.fold.whole.switching:
            image = self._desk.order.categories[category]
            has = self._has(category)
            if has == image:
                self._switched(category, image)  # killed before that, somebody else may have switched it
                self._follow(category, image)
            else:
                self._keep(category, f"it was not switched to {image} yet")

    def _follow(self, category: str, image: str) -> None:
        """It has its image, and nodes that are to have the same follow it."""
        wanted = self._desk.order.wanted
        follow = [node for node in self._nodes(category) if wanted[node.name] == image]
        others = moved({node.name: category for node in follow}, self._manager.survey())
        for name, why in others.items():
            self._desk.note(name, f"{why}: it keeps {image} as its own image")
        for problem in self._steps.follow_category([node for node in follow if node.name not in others]):
            self._desk.say("note", problem)
        self._desk.say("category", category)

    def _keep(self, category: str, why: str) -> None:
        self._desk.say("note", f"the category {category} keeps its image: {why}")
        if category in self._desk.fold.whole.switching:
            self._not_switched(category)
            self._desk.say("not switched", category)

    def _not_switched(self, category: str) -> None:
        if had := self._desk.order.had_before(category):
            self._switched(category, had)

    def _has(self, category: str) -> str:
        found = self._manager.survey().categories.get(category)
        return found.image if found is not None else ""

    def _why_not(self, category: str, image: str) -> str:
        """Why it is not switched: others switched it, or a node would get what was not verified on it."""
        if not self._has_all(category):
            return f"not all of its nodes have {image}"
        survey = self._manager.survey()
        has, had = survey.categories.get(category), self._desk.order.had_before(category)
        if has is not None and had and has.image not in (had, image):
            return f"others have given it {has.image} meanwhile"
        known = self._desk.of
        late = [
            name
            for name, facts in survey.nodes.items()
            if facts.category == category and name not in known and _may_be_used(facts)
        ]
        return f"{', '.join(late[:5])} came into it meanwhile; roll out again" if late else ""

    def _nodes(self, category: str) -> Sequence[Node]:
        return [node for node in self._desk.order.nodes if node.category == category]


def _may_be_used(facts: NodeFacts) -> bool:
    """Whether users have it, or may at any time: a virtual node is started when somebody likes."""
    return facts.status.condition == "up" or facts.is_virtual
