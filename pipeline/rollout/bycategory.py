"""Verification with the tests that the cluster file has for each category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.cluster.fanout import Target as Reached
from pipeline.cluster.fanout import Way
from pipeline.cluster.rolling import Rollout
from pipeline.rollout.model import Finding, Node, Target, Verdict
from pipeline.rollout.verifying import Listed, NodeVerifier
from pipeline.store.store import Store


class ByCategory:
    """A verifier for each list of test files that some category has; see ``parts.Verifier``."""

    def __init__(
        self,
        store: Store,
        rollout: Rollout,
        *,
        way: Way,
        reached: Mapping[str, Reached],
        head: Reached,
        parameters: Mapping[str, Mapping[str, Any]],
        listed: Listed,
        ignore: Sequence[str] = (),
    ) -> None:
        self._store, self._rollout, self._listed = store, rollout, listed
        self._way, self._reached, self._head, self._parameters = way, reached, head, parameters
        self._ignore = (*rollout.ignore, *ignore)
        self._of: dict[tuple[Path, ...], NodeVerifier] = {}

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        """What is wrong with any of the tests; each once."""
        found = [each for verifier, group in self._groups(nodes) for each in verifier.find(group)]
        return tuple(dict.fromkeys(found))

    def steps(self, node: Node, target: Target) -> tuple[str, ...]:
        """What will be looked at."""
        return self._for(node).steps(node, target)

    def verify(self, nodes: Sequence[Node], target: Target, folder: Path) -> Mapping[str, Verdict]:
        """A verdict for each of ``nodes``."""
        found: dict[str, Verdict] = {}
        for verifier, group in self._groups(nodes):
            found.update(verifier.verify(group, target, folder))
        return found

    def _groups(self, nodes: Iterable[Node]) -> list[tuple[NodeVerifier, list[Node]]]:
        groups: dict[tuple[Path, ...], list[Node]] = {}
        for node in nodes:
            groups.setdefault(self._rollout.tests_for(node.category), []).append(node)
        return [(self._for(group[0]), group) for group in groups.values()]

    def _for(self, node: Node) -> NodeVerifier:
        tests = self._rollout.tests_for(node.category)
        if tests not in self._of:
            self._of[tests] = NodeVerifier(
                self._store,
                tests,
                way=self._way,
                reached=self._reached,
                head=self._head,
                parameters=self._parameters,
                listed=self._listed,
                ignore=self._ignore,
                seconds=self._rollout.waits.get("verify", 600.0),
            )
        return self._of[tests]
