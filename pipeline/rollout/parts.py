"""What the engine calls: hooks before and after a node is away, and who verifies nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from pipeline.rollout.model import Finding, Node, Target, Verdict


class Answer(msgspec.Struct, frozen=True):
    """What a hook says of a node: ``done``, ``wait`` (ask again; ``why`` for what), or ``no``, which fails
    the node. ``notes`` are told to the administrator, such as guests that still run there."""

    state: Literal["done", "wait", "no"]
    why: str = ""
    notes: tuple[str, ...] = ()


class Hook(Protocol):
    """What is done with a node before it is taken away, and undone when it is back.

    ``before`` and ``after`` are asked with all nodes of a batch whose turn it is, again and again until each
    is ``done`` or ``no``; each may have been done already, by a process killed before it could note it.
    ``after`` is asked of nodes that are well again, ``leave`` of those that stay failed: they get no work,
    but what would harm the rest of the cluster (noout) is undone.
    ``before`` may be asked once more of a node that the same rollout has taken: right before its reboot, and
    when one that failed goes back. It answers by how things are now, and does again what was undone.
    They return soon: what takes time is begun, and waited for by ``wait``. A `PipelineError` that they raise
    means that nothing is known; it is told, and they are asked again.
    """

    name: str

    def applies(self, node: Node) -> bool:
        """Whether this hook has to do with ``node`` at all."""
        ...

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        """What is wrong already; nothing is touched."""
        ...

    def steps(self, node: Node) -> tuple[str, ...]:
        """What will be run for ``node``, before and after, as ``--dry-run`` prints it."""
        ...

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]: ...

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]: ...

    def leave(self, nodes: Sequence[Node]) -> Mapping[str, Answer]: ...


class Verifier(Protocol):
    """Who proves that nodes are what they are to be."""

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        """What is wrong already: no tests, no way to get to nodes. Nothing is touched."""
        ...

    def steps(self, node: Node, target: Target) -> tuple[str, ...]:
        """What will be looked at when it has come to ``target``, as ``--dry-run`` prints it."""
        ...

    def verify(self, nodes: Sequence[Node], target: Target, folder: Path) -> Mapping[str, Verdict]:
        """A verdict for each of ``nodes``; what was printed goes to files in ``folder``. Called in a thread;
        changes nothing on nodes. A node that can't be reached has a verdict, too."""
        ...
