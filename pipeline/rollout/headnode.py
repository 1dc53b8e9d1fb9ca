"""The head node, for tests that ask it: a shell that is opened when the first one does."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from pipeline.cluster.fanout import Target, Way
from pipeline.cluster.shells import Lost, Ran, Shells

FRESH = 10.0
"""Seconds for which an answer is good enough for another node's test."""


class Head:
    """Asks the head node; to be used as a context manager. ``target`` None: the site says no way to it."""

    def __init__(self, target: Target | None, way: Way, folder: Path, command_seconds: float) -> None:
        self._target, self._way, self._folder = target, way, folder
        self._command_seconds = command_seconds
        self._open = ExitStack()
        self._shells: Shells | None = None
        self._known: dict[str, tuple[float, Ran | Lost]] = {}

    def __enter__(self) -> Head:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def opened(self, node: str) -> None:
        """Nothing is asked before a test asks."""

    def ask(self, command: str, *, again: bool) -> Ran | Lost:
        """The answer to ``command``, of just now where another node's test has asked, unless ``again``."""
        known = self._known.get(command)
        if known is not None and not again and time.monotonic() - known[0] < FRESH:
            return known[1]
        answer = self._ask(command)
        self._known[command] = (time.monotonic(), answer)
        return answer

    def _ask(self, command: str) -> Ran | Lost:
        target = self._target
        if target is None:
            return Lost("nothing says how the head node is reached")
        if self._shells is None or self._shells.shells[target.name].state == "ended":
            self._open.close()
            self._folder.mkdir(exist_ok=True)
            self._shells = self._open.enter_context(
                Shells([target], self._way, self._folder, self._command_seconds, self)
            )
        return self._shells.wait_for(target.name, self._shells.ask(target.name, command))
