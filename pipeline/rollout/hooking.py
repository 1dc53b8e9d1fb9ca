"""Asking hooks about nodes: before they go away, and when they are back, in the reverse order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.errors import PipelineError
from pipeline.rollout.desk import Desk
from pipeline.rollout.hooks.asking import is_away
from pipeline.rollout.model import Node
from pipeline.rollout.parts import Answer, Hook

PHASES = ("before", "after", "leave")

NOT_UNDONE = "what hooks did is not undone"
"""Of nodes that are left, with why."""

Ask = Callable[[Hook, Sequence[Node]], Mapping[str, Answer]]


class Hooking:
    """Where each node is in the row of hooks.

    That is kept in memory only: after a kill each hook is asked again, which is what hooks are made for.
    """

    def __init__(self, hooks: Sequence[Hook], desk: Desk) -> None:
        self._hooks = tuple(hooks)
        self._desk = desk
        self._at: dict[tuple[str, str], int] = {}
        self.not_left: dict[str, str] = {}
        """Of nodes that could not be left as they are until now: why."""

    def before(self, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The nodes that may go, and those that may not, with why."""
        return self._round("before", names, self._hooks, lambda hook, nodes: hook.before(nodes))

    def after(self, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The nodes with which everything is as it was before, and those where that can't be had."""
        return self._round("after", names, self._hooks[::-1], lambda hook, nodes: hook.after(nodes))

    def forget(self, name: str) -> None:
        """A node's way begins anew: nothing that hooks said of it counts any more."""
        for phase in PHASES:
            self._at.pop((phase, name), None)

    def leave(self, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The nodes that can be left as they are, and those with which that can't be had."""
        for name in names:
            self.not_left.pop(name, None)
        return self._round("leave", names, self._hooks[::-1], lambda hook, nodes: hook.leave(nodes))

    def undo(self, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """As ``after``, for nodes that don't go after all: users get only those that they had."""
        held = frozenset(self._desk.order.held)
        done, refused = self.after([name for name in names if name not in held])
        left, not_left = self.leave([name for name in names if name in held])
        return [*done, *left], {**refused, **not_left}

    def _round(
        self, phase: str, names: Sequence[str], hooks: Sequence[Hook], ask: Ask
    ) -> tuple[list[str], dict[str, str]]:
        refused: dict[str, str] = {}
        for number, hook in enumerate(hooks):
            here = [
                name for name in names if self._at.get((phase, name), 0) == number and name not in refused
            ]
            answers = self._asked(hook, here, ask)
            for name in here:
                answer = answers[name]
                self._note(phase, hook, name, answer)
                if answer.state == "done":
                    self._at[phase, name] = number + 1
                elif answer.state == "no":
                    refused[name] = f"{hook.name}: {answer.why}"
        done = [
            name for name in names if name not in refused and self._at.get((phase, name), 0) == len(hooks)
        ]
        for name in (*done, *refused):
            self._at.pop((phase, name), None)
        return done, refused

    def _asked(self, hook: Hook, names: Sequence[str], ask: Ask) -> Mapping[str, Answer]:
        """What ``hook`` says of these nodes; of those that it has nothing to do with, that it's done."""
        nodes = [self._desk.nodes[name] for name in names]
        concerned = [node for node in nodes if hook.applies(node)]
        free = dict.fromkeys(names, Answer("done"))
        if not concerned:
            return free
        try:
            silent = Answer("wait", "it says nothing about this node")
            unheard = dict.fromkeys((node.name for node in concerned), silent)
            return {**free, **unheard, **ask(hook, concerned)}
        except PipelineError as error:
            if is_away(error):
                raise
            waits = Answer("wait", f"nothing is known: {error.problems[0].message}")
            return {**free, **dict.fromkeys((node.name for node in concerned), waits)}

    def _note(self, phase: str, hook: Hook, name: str, answer: Answer) -> None:
        for note in answer.notes:
            self._desk.note(name, f"{hook.name}: {note}")
        why = f"{hook.name}: {answer.why}"
        if answer.state == "wait" and phase == "leave":
            self.not_left[name] = why
        elif answer.state == "wait" and self._desk.of[name].why != why:
            self._desk.tell(name, self._desk.of[name].state, why)
