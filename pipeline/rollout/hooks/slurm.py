"""Slurm's nodes: drained before, for a reason by which they are known again, and resumed when they answer."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from pipeline.cluster.head import Head
from pipeline.cluster.nodesets import folded
from pipeline.errors import PipelineError
from pipeline.rollout.hooks.asking import answered, findings, some
from pipeline.rollout.hooks.kept import Kept
from pipeline.rollout.hooks.only import Only
from pipeline.rollout.hooks.reason import is_ours
from pipeline.rollout.model import Finding, Node
from pipeline.rollout.parts import Answer

STATES = ("sinfo", "-h", "-a", "-N", "-o", "%N|%T|%E")
"""All nodes, a line for each of their partitions; the reason is last, for it may have any letter."""

JOBS = ("squeue", "-h", "-o", "%i|%u|%T|%N", "-w")

MARKS = "*~#!%$@^+-"
"""What stands behind a state: ``*`` doesn't answer, ``~`` has no power, …"""

DRAINS = ("draining", "drained")

CLOSED = (*DRAINS, "down", "fail", "failing", "error")
"""States in which a node gets no job until somebody says so."""

BUSY = ("draining", "failing")
"""Those of them in which jobs are still running."""

SILENT = "Not responding"
"""The reason of a node that is down only because it doesn't answer: it comes back by itself."""

SLURMS_OWN = (SILENT, "Node unexpectedly rebooted")
"""Reasons that Slurm may put in the place of ours while a node is away."""

NO_REASON = "none"

UNLISTED = "Slurm: sinfo doesn't list it"


class Slot(msgspec.Struct, frozen=True):
    """A node as Slurm has it. ``state`` is without its marks."""

    state: str
    reason: str
    answers: bool

    def is_empty(self, by_others: bool) -> bool:
        """Whether no job runs there and none will; what others have closed may be down as well."""
        return self.state == "drained" or (by_others and self.state in CLOSED and self.state not in BUSY)


class Slurm:
    """Slurm's side of a rollout; ``folder`` is where it notes which nodes it drained."""

    name = "slurm"

    def __init__(self, head: Head, only: Only, reason: str, folder: Path) -> None:
        self._head = head
        self._only = only
        self._reason = reason
        self._kept = Kept(folder / "slurm.json")

    def applies(self, node: Node) -> bool:
        return self._only.has(node) or self._kept.had(node.name)

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        try:
            known = self._slots()
        except PipelineError as error:
            return findings(error, "Slurm can't be asked")
        begun = self._kept.read()
        strange = [node.name for node in nodes if node.name not in known]
        closed = [
            Finding("warning", _stays(slot), node.name)
            for node in nodes
            if (slot := known.get(node.name)) and _is_by_others(slot, node.name in begun)
        ]
        return [*([_strange(strange)] if strange else []), *closed]

    def steps(self, node: Node) -> tuple[str, ...]:
        return (
            shlex.join(self._drain([node.name])),
            "wait until no job runs on it",
            "after: wait until its slurmd answers",
            f"after: {shlex.join(_resume([node.name]))}",
        )

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        slots, begun = self._of(nodes), self._kept.read()
        theirs = {name for name, slot in slots.items() if _is_by_others(slot, name in begun)}
        if theirs & begun.keys():
            self._kept.put(dict.fromkeys(theirs & begun.keys()))
        fresh = [name for name, slot in slots.items() if slot.state not in DRAINS and name not in theirs]
        if fresh:
            self._kept.put({name: {} for name in fresh})
            # Stopped here: they are not drained, and are drained or left alone by whoever goes on.
            answered(self._head, self._drain(fresh))
            slots |= self._of(nodes)
        waiting = [name for name, slot in slots.items() if not slot.is_empty(name in theirs)]
        jobs = self._jobs(waiting)
        answers = {node.name: self._unlisted(node.name in begun) for node in nodes}
        for name, slot in slots.items():
            answers[name] = Answer("done")
            if name in waiting:
                running = some(jobs.get(name, ())) or "it does not say which"
                answers[name] = Answer("wait", f"Slurm: jobs run on it: {running}")
            elif name in theirs:
                answers[name] = Answer("done", notes=(_stays(slot),))
        return answers

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        begun, slots = self._kept.read(), self._of(nodes)
        answers = {node.name: self._unlisted(node.name in begun) for node in nodes}
        back = []
        for name, slot in slots.items():
            answers[name] = Answer("done")
            if not _is_by_us(slot, name in begun):
                if slot.state in CLOSED:
                    answers[name] = Answer("done", notes=(_stays(slot),))
            elif slot.answers:
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
            if slot.state in CLOSED
        }
        return {node.name: Answer("done", notes=notes.get(node.name, ())) for node in nodes}

    def _unlisted(self, is_noted: bool) -> Answer:
        """Of a node that Slurm doesn't tell of: it has none of this name, or told only half."""
        if is_noted:
            file = self._kept.file
            why = f"{UNLISTED}, and a rollout has drained it (if Slurm has it no more, take it out of {file})"
            return Answer("wait", why)
        return Answer("done", notes=(f"{UNLISTED}: it was not drained",))

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


def _is_by_others(slot: Slot, is_noted: bool) -> bool:
    """Whether somebody has closed it who is no rollout: it stays so."""
    if slot.state not in CLOSED or _is_by_us(slot, is_noted):
        return False
    return not (slot.state == "down" and (not slot.reason or slot.reason.startswith(SILENT)))


def _strange(names: Sequence[str]) -> Finding:
    it = "no node of this name: it is" if len(names) == 1 else "no nodes of these names: they are"
    return Finding(
        "warning",
        f"Slurm has {it} not drained, and jobs there are lost",
        folded(names),
        "if Slurm calls them otherwise, drain them yourself; nodes and categories of [rollout.slurm] say "
        "which are Slurm's",
        shlex.join(STATES),
    )


def _stays(slot: Slot) -> str:
    return f"Slurm has it {slot.state}, not by a rollout, and it stays so: {slot.reason or 'no reason given'}"
