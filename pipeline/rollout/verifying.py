"""Proving that nodes are what they are to be: the site's tests, and "is exactly this version".

What is no version of the store, such as an image that was made by hand, has no tests: what these would be is
not known. Nodes that are taken back to it are compared with its directory on the head node.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pipeline.cluster.fanout import Target as Reached
from pipeline.cluster.fanout import Way
from pipeline.cluster.shells import Lost, Shells, Watcher
from pipeline.rollout.asking import Asking, Tested, run
from pipeline.rollout.comparing import Comparing
from pipeline.rollout.expected import Expected, expected, expected_of_directory
from pipeline.rollout.headnode import Head
from pipeline.rollout.model import Finding, Node, Target, Verdict
from pipeline.rollout.verdicts import verdict
from pipeline.store.records import Version
from pipeline.store.store import Store
from pipeline.verify.nodes.messages import NodeFacts

SECONDS = 600.0
COMMAND_SECONDS = 60.0
LOG = "pytest.log"
HEAD = "head"
SSH = "ssh"
"""In a rollout's folder: what ssh is configured with."""


Listed = Callable[[str], Sequence[bytes] | None]
"""What a directory of the head node holds, as ``trees.listed`` tells it."""

FILES = "compare type, mode, owner, size and link target of all files"


def _no_head(command: str, *, again: bool) -> Lost:
    return Lost("tests are only read")


class NodeVerifier:
    """Verifies nodes over ssh; see ``parts.Verifier``.

    ``tests`` are files for pytest. ``way`` and ``reached`` say how ssh gets to nodes (those that are not in
    ``reached`` by their name), ``head`` to the head node. ``parameters`` maps nodes to the cluster's
    parameters as they are for each. ``listed`` tells of directories of the head node. ``ignore`` are globs of
    files that differ by right, beside those that are known here. ``seconds`` is how long a node may take,
    ``command_seconds`` one command of a test.
    """

    def __init__(
        self,
        store: Store,
        tests: Sequence[Path],
        *,
        way: Way = Way(),  # noqa: B008 - frozen
        reached: Mapping[str, Reached] | None = None,
        head: Reached | None = None,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        listed: Listed = lambda path: None,
        ignore: Sequence[str] = (),
        seconds: float = SECONDS,
        command_seconds: float = COMMAND_SECONDS,
    ) -> None:
        self._store, self._tests, self._way, self._head = store, tuple(tests), way, head
        self._reached, self._listed = reached or {}, listed
        self._parameters = parameters or {}
        self._ignore = tuple(ignore)
        self._seconds, self._command_seconds = seconds, command_seconds
        self._known: dict[str, tuple[Version, Expected]] = {}
        self._one_at_a_time = threading.Lock()

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        """Tests that are missing, hold nothing or can't be read. Nothing is run on any node."""
        missing = [path for path in self._tests if not path.is_file()]
        findings = [
            Finding("error", "the test file is missing", str(path), "[rollout] tests names it")
            for path in missing
        ]
        if not self._tests:
            return (
                Finding(
                    "warning",
                    "no tests of nodes: only packages and files are compared with the version",
                    "[rollout] tests",
                    "put test_*.py beside the cluster file and name them there",
                ),
            )
        return findings if missing else self._collect()

    def steps(self, node: Node, target: Target) -> tuple[str, ...]:
        """What will be looked at."""
        if not target.version:
            there = f"{FILES} with {target.path} on the head node, as it is then"
            return (there if target.path else "see whether it answers", f"no tests: {_unknown(target)}")
        return (
            *(f"pytest {path.name} over ssh" for path in self._tests),
            "compare the installed packages with the version's",
            f"{FILES}, and the content of stages' files",
        )

    def verify(self, nodes: Sequence[Node], target: Target, folder: Path) -> Mapping[str, Verdict]:
        """A verdict for each of ``nodes``; ``folder`` gets ``NODE.log`` of each, and what pytest printed.

        Raises ``PipelineError`` for what concerns all nodes: a damaged manifest, no ssh on this machine, no
        answer of the head node.
        """
        if not nodes:
            return {}
        folder.mkdir(parents=True, exist_ok=True)
        version, wanted, notes = self._wanted(target)
        tests = self._tests if version is not None else ()
        tested = {node.name: self._tested(node, target, version) for node in nodes}
        comparing = Comparing(wanted, self._seconds)
        place = folder / SSH
        place.mkdir(exist_ok=True)
        with Head(self._head, self._way, place / HEAD, self._command_seconds) as head:
            asking = Asking(tested, head.ask, folder, self._seconds, comparing.begin)
            shells = self._shells(nodes, place, asking if tests else comparing)
            asking.shells = comparing.shells = shells
            with shells:
                if tests:
                    run(asking, tests, folder / LOG)
                    for name in asking.leave():
                        comparing.begin(name)
                shells.wait_for_all()
        return {
            name: verdict(
                found,
                shells.shells[name],
                asking.general,
                comparing.of(name),
                tests=bool(tests),
                notes=notes,
            )
            for name, found in tested.items()
        }

    def _shells(self, nodes: Sequence[Node], place: Path, watcher: Watcher) -> Shells:
        targets = [self._reached.get(node.name, Reached(node.name)) for node in nodes]
        way = replace(self._way, seconds=self._seconds)
        return Shells(targets, way, place, self._command_seconds, watcher)

    def _wanted(self, target: Target) -> tuple[Version | None, Expected | None, tuple[str, ...]]:
        """The version, what a node of it has, and what is to be said of every node.

        Of a version that is read once, as thousands of nodes are compared with it. A directory may be changed
        at any time, and is looked into each time.
        """
        if not target.version:
            return None, *self._directory(target)
        with self._one_at_a_time:
            label = str(target)
            if label not in self._known:
                version = self._store.versions.resolve(label)
                self._known[label] = (version, expected(self._store, version, self._ignore))
            return *self._known[label], ()

    def _directory(self, target: Target) -> tuple[Expected | None, tuple[str, ...]]:
        records = self._listed(target.path) if target.path else None
        if records is None:
            there = f"the head node has no {target.path}" if target.path else "nobody knows its directory"
            return None, (f"{_unknown(target)}; {there}: it was only seen that the node answers",)
        wanted = expected_of_directory(target.path, records, self._ignore)
        return wanted, (f"{_unknown(target)}: its files were compared with {target.path} of the head node",)

    def _tested(self, node: Node, target: Target, version: Version | None) -> Tested:
        facts = NodeFacts(
            name=node.name,
            category=node.category,
            image=target.name,
            version=version.label if version else "",
            number=target.version,
            kernel=version.kernel if version else None,
            kernel_parameters=version.kernel_parameters if version else (),
            is_virtual=node.is_virtual,
            domains=node.domains,
        )
        return Tested(facts, self._parameters.get(node.name, {}))

    def _collect(self) -> list[Finding]:
        """What pytest says of the files when there is no node to run them on."""
        nothing = Asking({}, _no_head, Path(), self._seconds, lambda node: None)
        with tempfile.TemporaryDirectory(prefix="pipeline-verify.") as place:
            run(nothing, self._tests, Path(place) / LOG)
        return [
            Finding("error", check.why, check.name, "docs/node-tests.md says what tests of nodes are")
            for check in nothing.general
        ]


def _unknown(target: Target) -> str:
    return f"not verified against a version: {target.name} is none of this store"
