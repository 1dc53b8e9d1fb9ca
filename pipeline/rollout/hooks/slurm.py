"""Slurm's nodes: drained before, for a reason by which they are known again, and resumed when they answer."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from pipeline.cluster.head import Head
from pipeline.errors import PipelineError
from pipeline.rollout.hooks.asking import answered, findings, some
from pipeline.rollout.hooks.kept import Kept
from pipeline.rollout.hooks.only import Only
from pipeline.rollout.hooks.reason import is_ours
from pipeline.rollout.model import Finding, Node
from pipeline.rollout.parts import Answer

STATES = ("sinfo", "-h", "-N", "-o", "%N|%T|%E")
"""All nodes, a line for each of their partitions; the reason is last, for it may have any letter."""

JOBS = ("squeue", "-h", "-o", "%i|%u|%T|%N", "-w")

MARKS = "*~#!%$@^+-"
"""What stands behind a state: ``*`` doesn't answer, ``~`` has no power, …"""

DRAINS = ("draining", "drained")

SLURMS_OWN = ("Not responding", "Node unexpectedly rebooted")
"""Reasons that Slurm may put in the place of ours while a node is away."""

NO_REASON = "none"


class Slot(msgspec.Struct, frozen=True):
    """A node as Slurm has it. ``state`` is without its marks."""

    state: str
    reason: str
    answers: bool

    @property
    def is_drained(self) -> bool:
        """Whether no job runs there and none will."""
        return self.state == "drained"


class Slurm:
    """Slurm's side of a rollout; ``folder`` is where it notes which nodes it drained."""

    name = "slurm"

    def __init__(self, head: Head, only: Only, reason: str, folder: Path) -> None:
        self._head = head
        self._only = only
        self._reason = reason
        self._kept = Kept(folder / "slurm.json")

    def applies(self, node: Node) -> bool:
        return self._only.has(node)

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        try:
            known = self._slots()
        except PipelineError as error:
            return findings(error, "Slurm can't be asked")
        if nodes and not any(node.name in known for node in nodes):
            return [Finding("warning", f"Slurm: none of {len(nodes)} nodes is one of its nodes")]
        return []

    def steps(self, node: Node) -> tuple[str, ...]:
        return (
            shlex.join(self._drain([node.name])),
            "wait until no job runs on it",
            "after: wait until its slurmd answers",
            f"after: {shlex.join(_resume([node.name]))}",
        )

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        slots = self._of(nodes)
        fresh = [name for name, slot in slots.items() if slot.state not in DRAINS]
        if fresh:
            self._kept.put({name: {} for name in fresh})
            # Stopped here: they are not drained, and resuming them does no harm.
            answered(self._head, self._drain(fresh))
            slots = self._of(nodes)
        waiting = [name for name, slot in slots.items() if not slot.is_drained]
        jobs = self._jobs(waiting)
        answers = {node.name: Answer("done") for node in nodes}
        for name, slot in slots.items():
            if name in waiting:
                running = some(jobs.get(name, ())) or "it does not say which"
                answers[name] = Answer("wait", f"Slurm: jobs run on it: {running}")
            elif not is_ours(slot.reason) and name not in self._kept.read():
                notes = (f"Slurm had it drained already, and it stays so: {slot.reason}",)
                answers[name] = Answer("done", notes=notes)
        return answers

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        begun = self._kept.read()
        answers = {node.name: Answer("done") for node in nodes}
        back = []
        for name, slot in self._of(nodes).items():
            if not _is_by_us(slot, name in begun):
                continue
            if slot.answers:
                back.append(name)
            else:
                answers[name] = Answer("wait", "Slurm: its slurmd does not answer; it stays drained")
        if back:
            answered(self._head, _resume(back))
        ended = [name for name, answer in answers.items() if answer.state == "done" and name in begun]
        if ended:
            self._kept.put(dict.fromkeys(ended))
        return answers

    def leave(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        slots = self._of(nodes)
        notes = {
            name: (f"it stays {slot.state} in Slurm: {slot.reason}",)
            for name, slot in slots.items()
            if slot.state in DRAINS
        }
        return {node.name: Answer("done", notes=notes.get(node.name, ())) for node in nodes}

    def _of(self, nodes: Sequence[Node]) -> dict[str, Slot]:
        """Of nodes that are Slurm's."""
        known = self._slots()
        return {node.name: known[node.name] for node in nodes if node.name in known}

    def _slots(self) -> dict[str, Slot]:
        rows = (line.split("|", 2) for line in answered(self._head, STATES).splitlines())
        return {row[0]: _slot(row[1], row[2]) for row in rows if len(row) == 3}

    def _jobs(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Which jobs run on these nodes."""
        if not names:
            return {}
        from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet

        found: dict[str, list[str]] = {}
        for line in answered(self._head, (*JOBS, ",".join(names))).splitlines():
            row = line.split("|", 3)
            if len(row) == 4:
                for name in NodeSet(row[3], resolver=RESOLVER_NOGROUP):
                    found.setdefault(str(name), []).append(f"{row[0]} of {row[1]}")
        return found

    def _drain(self, names: Iterable[str]) -> tuple[str, ...]:
        words = ("state=drain", f"reason={self._reason}")
        return ("scontrol", "update", f"nodename={','.join(names)}", *words)


def _resume(names: Iterable[str]) -> tuple[str, ...]:
    return ("scontrol", "update", f"nodename={','.join(names)}", "state=resume")


def _slot(state: str, reason: str) -> Slot:
    plain = state.strip().rstrip(MARKS)
    reason = reason.strip()
    return Slot(plain, "" if reason == NO_REASON else reason, "*" not in state and plain != "unknown")


def _is_by_us(slot: Slot, is_noted: bool) -> bool:
    """Whether it was a rollout that drained it, also when Slurm has put a reason of its own meanwhile."""
    if slot.state not in (*DRAINS, "down"):
        return False
    return is_ours(slot.reason) or (is_noted and slot.reason.startswith(SLURMS_OWN))
