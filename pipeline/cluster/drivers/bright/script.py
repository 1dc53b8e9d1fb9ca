"""Steps as a file of commands, and what its output says of each.

Before an object is changed and after its commit its name is printed. So what was done is known whatever the
wordings and exit codes are, and however cmsh ends: a step whose last line is there, and nothing between that
sounds like an error, is done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from pipeline.cluster.drivers.bright.parse import plain
from pipeline.cluster.drivers.bright.read import over
from pipeline.cluster.drivers.bright.steps import Step, is_head
from pipeline.cluster.drivers.bright.words import key


class Group(msgspec.Struct, frozen=True):
    """Steps that are the same but for the object: several nodes become one foreach."""

    steps: tuple[Step, ...]

    def commands(self) -> list[str]:
        """What is typed."""
        one = self.steps[0]
        begin = [] if is_head(one) else [f"get {key(one.mode)}"]
        block = [*begin, *one.commands, one.done]
        if len(self.steps) == 1 and not (one.mode == "device" and not is_head(one)):
            return ["home", one.mode, one.open, *block]
        return ["home", one.mode, over(one.mode, [step.name for step in self.steps], block)]


class Told(msgspec.Struct, frozen=True):
    """What was printed about a step: ``begun`` and ``ended``, and all ``lines`` in between."""

    step: Step
    begun: bool
    ended: bool
    lines: tuple[str, ...]


def groups(steps: Iterable[Step]) -> list[Group]:
    """Steps in their order; those of nodes that are typed alike are done together, where the first one is."""
    found: dict[object, list[Step]] = {}
    for number, step in enumerate(steps):
        alike: object = number
        if step.mode == "device" and not is_head(step):
            alike = (step.commands, step.done)
        found.setdefault(alike, []).append(step)
    return [Group(tuple(same)) for same in found.values()]


def text(parts: Sequence[Group]) -> str:
    """The file of commands."""
    return "".join(f"{line}\n" for group in parts for line in group.commands())


def told(parts: Sequence[Group], output: str) -> list[Told]:
    """What the output of ``text(parts)`` says of each step, in their order."""
    lines = [line.strip() for line in plain(output).splitlines() if line.strip()]
    reader = _Reader(parts)
    for line in lines:
        reader.take(line)
    return reader.all()


class _Reader:
    """Goes through the groups as the output does."""

    def __init__(self, parts: Sequence[Group]) -> None:
        self._parts = parts
        self._group = -1
        self._waiting: dict[str, Step] = {}
        self._now: Step | None = None
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._lines: dict[int, list[str]] = {}
        self._next()

    def take(self, line: str) -> None:
        """Give a line to the step that it is about."""
        if self._now is not None and re.fullmatch(self._now.ends, line):
            self._ended.add(id(self._now))
            self._now = None
            if not self._waiting:
                self._next()
        elif line in self._waiting:
            self._begin(self._waiting[line])
        elif self._group + 1 < len(self._parts) and self._starts_next(line):
            self._next()
            self._begin(self._waiting[line])
        else:
            about = self._now or next(iter(self._waiting.values()), None) or self._parts[-1].steps[-1]
            self._lines.setdefault(id(about), []).append(line)

    def _starts_next(self, line: str) -> bool:
        return any(line == step.name and not is_head(step) for step in self._parts[self._group + 1].steps)

    def _begin(self, step: Step) -> None:
        self._now = step
        self._begun.add(id(step))
        self._waiting.pop(step.name)

    def _next(self) -> None:
        self._group += 1
        self._now = None
        self._waiting = {}
        if self._group < len(self._parts):
            self._waiting = {step.name: step for step in self._parts[self._group].steps}
            first = self._parts[self._group].steps[0]
            if is_head(first):
                self._begin(first)

    def all(self) -> list[Told]:
        """Every step."""
        return [
            Told(step, id(step) in self._begun, id(step) in self._ended, tuple(self._lines.get(id(step), ())))
            for group in self._parts
            for step in group.steps
        ]
