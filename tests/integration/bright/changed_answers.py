"""A head node whose answers are changed on their way: cut, lost, or with other words in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.cluster.drivers.bright.nodes import BrightNodes
from pipeline.cluster.head import Head, Ran

Send = Callable[[str], Ran]
"""Asks the head node."""

Change = Callable[[Send, str], Ran]
"""Takes that, and the commands; gives what arrives."""


class Changed:
    """A `Head` whose cmsh says something else."""

    def __init__(self, head: Head, change: Change) -> None:
        self._head = head
        self._change = change
        self.answer_seconds = head.answer_seconds
        self.label = head.label
        self.root = head.root
        self.run = head.run

    def run_file(self, argv: Sequence[str], content: str, *, seconds: float | None = None) -> Ran:
        def send(commands: str) -> Ran:
            return self._head.run_file(argv, commands, seconds=seconds)

        return self._change(send, content)


def nodes_with(head: Head, change: Change) -> BrightNodes:
    """A driver that hears what ``change`` makes of each answer."""
    return BrightNodes(Changed(head, change))  # type: ignore[arg-type]
