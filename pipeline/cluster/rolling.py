"""``[rollout]``: in which order and within which limits nodes are taken to a version, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from pipeline.cluster.rollout_written import HookTables


class Share(msgspec.Struct, frozen=True):
    """A number of nodes, or so many percent of those of a rollout."""

    number: int
    is_percent: bool = False

    def of(self, nodes: int, least: int = 1) -> int:
        """As a number: percent of ``nodes`` are rounded down, and come to at least ``least``."""
        return max(least, nodes * self.number // 100) if self.is_percent else self.number

    def __str__(self) -> str:
        return f"{self.number}%" if self.is_percent else str(self.number)


class Rollout(msgspec.Struct, frozen=True):
    """What a cluster file says of rollouts.

    ``domains`` maps a label to how many nodes of one of its values may be away; ``labels`` maps nodes to
    their labels; each node has the label ``RACK`` by itself. ``waits`` maps steps to seconds; what is not
    there is as usual. ``tests`` are files, ``tests_of`` those of a category that has its own. ``ignore`` are
    absolute paths, or patterns of them, that may differ from the version. ``hooks`` are names, and ``tables``
    what is said of each.
    """

    canary: int = 1
    max_unavailable: Share = Share(1)
    failure_budget: Share = Share(0)
    on_failure: Literal["stop", "roll back failed", "roll back all"] = "roll back failed"
    install: str = "FULL"
    skip_down: bool = False
    domains: Mapping[str, Share] = {}
    labels: Mapping[str, Mapping[str, str]] = {}
    waits: Mapping[str, float] = {}
    tests: tuple[Path, ...] = ()
    tests_of: Mapping[str, tuple[Path, ...]] = {}
    ignore: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    tables: HookTables = HookTables()

    def tests_for(self, category: str) -> tuple[Path, ...]:
        """The test files of the nodes of ``category``."""
        return self.tests_of.get(category, self.tests)


RACK = "rack"
"""The label that the cluster manager gives to nodes, unless the file does."""
