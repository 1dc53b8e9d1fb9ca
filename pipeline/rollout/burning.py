"""Firmware runs and rollouts keep off each other's nodes: no installer that burns is rebooted.

Who begins says so first and looks for the other then: a run has its record before it looks for rollouts, a
rollout its folder, and a node's turn in its journal, before it looks for runs. So of two that begin at once
at least one sees the other.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from pipeline.cluster import fanout, livenodes, runs
from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.cluster.nodescript import BUSY, SIGN, is_free
from pipeline.cluster.nodesets import folded
from pipeline.cluster.opening import head_site
from pipeline.errors import Problem, UsageError
from pipeline.recipe.model import Site
from pipeline.rollout import folder as folders
from pipeline.rollout.commands import command
from pipeline.rollout.model import Finding, Node
from pipeline.rollout.parts import Answer
from pipeline.rollout.trees import Heard

SECONDS = 60.0
"""For a node to say whether it burns."""

Ask = Callable[[Sequence[str]], Mapping[str, tuple[int | None, str]]]
"""How ``is_free`` ended on each of these nodes (None: not in time), and what was said last."""


class Run(msgspec.Struct, frozen=True):
    """A firmware run that is not known to be over on some node. ``is_running``: its process is there."""

    folder: Path
    who: str
    is_running: bool

    def __str__(self) -> str:
        return f"{self.folder.name} of {self.folder.parents[1].name}"


def refuse_rolling(store: Path, names: Iterable[str]) -> None:
    """Raise ``UsageError`` with each unfinished rollout that has some of ``names`` on their way, or has yet
    to come to them."""
    asked = frozenset(names)
    problems = []
    for kept in folders.unfinished(store):
        if kept.order is None:  # damaged: it may be any
            theirs = asked
        else:
            of = kept.progress.nodes
            theirs = frozenset(node.name for node in kept.order.nodes if not of[node.name].is_settled)
        if shared := sorted(asked & theirs):
            problems.append(_rolling(kept, shared))
    if problems:
        raise UsageError(problems)


def _rolling(kept: folders.Kept | folders.Lost, shared: Sequence[str]) -> Problem:
    number, cluster = folders.number_of(kept.folder), folders.cluster_of(kept.folder)
    whom = "it on its way, or has yet to come to it"
    if len(shared) > 1:
        whom = "them on their way, or has yet to come to them"
    return Problem(
        f"{folded(shared)}: rollout {number} of {cluster} has {whom}, and reboots what would be burnt",
        str(kept.folder),
        "wait for its end, or give it up (abort); --nodes takes others",
        command("status", cluster, number),
    )


class Burning:
    """A hook that every rollout has: a node goes when no firmware run of this store may be burning there.

    Nodes are asked only where a run was left before its end: what it has begun on them goes on by itself.
    """

    name = "firmware"

    def __init__(self, store: Path, ask: Ask, manager: NodeManager) -> None:
        self._store, self._ask, self._manager = store, ask, manager
        self._over: dict[Path, tuple[str, Mapping[str, bool]]] = {}
        """Of runs that nobody runs any more: who did, and what is known of their nodes."""
        self._free: set[tuple[str, Path]] = set()

    def applies(self, node: Node) -> bool:
        return True

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        alike: dict[Run, list[str]] = {}
        for name, run in self._left([node.name for node in nodes]).items():
            alike.setdefault(run, []).append(name)
        return [_finding(run, names) for run, names in alike.items()]

    def steps(self, node: Node) -> tuple[str, ...]:
        return ()

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        left = self._left([node.name for node in nodes])
        found = dict.fromkeys((node.name for node in nodes), Answer("done"))
        found |= {name: Answer("wait", f"{run} burns there: {run.who}") for name, run in left.items()}
        unknown = {name: run for name, run in left.items() if not run.is_running}
        return {**found, **(self._asked(unknown) if unknown else {})}

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        return dict.fromkeys((node.name for node in nodes), Answer("done"))

    leave = after

    def _left(self, names: Sequence[str]) -> dict[str, Run]:
        """Those of ``names`` where a run may not be over, and which one: the newest that began there."""
        found: dict[str, Run | None] = {}
        for folder in sorted(self._store.glob(f"clusters/*/runs/{runs.KIND}-*"), key=_began):
            is_running, who, known = self._known(folder)
            run = Run(folder, who, is_running)
            found |= {name: run if known[name] else None for name in names if name in known}
        return {name: run for name, run in found.items() if run and (name, run.folder) not in self._free}

    def _known(self, folder: Path) -> tuple[bool, str, Mapping[str, bool]]:
        """Whether somebody runs it, who, and for nodes on which it began whether it may not be over."""
        if folder in self._over:
            return False, *self._over[folder]
        is_running = runs.is_running(folder)  # first: what it writes until then is read as well
        if not (folder / runs.RECORD).exists():  # it has begun nothing, and has to look for rollouts first
            return is_running, "", {}
        record = runs.record_of(folder)
        known = _on_nodes(folder, record, is_running=is_running)
        if not is_running:
            self._over[folder] = record.who, known
        return is_running, record.who, known

    def _asked(self, left: Mapping[str, Run]) -> dict[str, Answer]:
        """What nodes say themselves; of those that say nothing, what the manager says."""
        answers = self._ask(list(left))
        silent = [name for name, (code, _) in answers.items() if code not in (0, BUSY)]
        statuses = self._manager.statuses(silent) if silent else {}
        found = {}
        for name, run in left.items():
            code, said = answers[name]
            if code == 0:
                self._free.add((name, run.folder))
                found[name] = Answer("done")
            elif code == BUSY:
                found[name] = Answer("wait", f"what {run} has begun there still burns")
            elif (status := statuses[name]).condition in ("up", "unknown"):
                found[name] = Answer("wait", f"whether {run} still burns there can't be known: {said}")
            else:
                note = f"{run} may not have come to its end there: it is {status.text or status.condition}"
                found[name] = Answer("done", notes=(note,))
        return found


def _began(folder: Path) -> tuple[float, str]:
    """When a run began, which is when its lock was made."""
    try:
        return (folder / runs.LOCK).stat().st_mtime, folder.name
    except FileNotFoundError:
        return 0.0, folder.name


def _on_nodes(folder: Path, record: runs.Record, *, is_running: bool) -> dict[str, bool]:
    """For nodes on which a run has begun, or is to begin, whether it may not be over."""
    found = {}
    for name in record.names:
        result = record.results.get(name)
        if result is None and is_running:
            found[name] = True
        elif result is not None and result.is_done:
            found[name] = False
        elif (left := _by_log(folder, record, name)) is not None:
            found[name] = left
    return found


def _by_log(folder: Path, record: runs.Record, name: str) -> bool | None:
    """Whether a node's log lacks its end; None where nothing was begun."""
    try:
        lines = runs.log_of(folder, name).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    sign = f"{SIGN}{record.word} "
    words = {line.removeprefix(sign).partition(" ")[0] for line in lines if line.startswith(sign)}
    if "end" in words:
        return False
    result = record.results.get(name)
    left_at_once = result is None or result.status == "interrupted"
    return True if left_at_once or words & {"begin", "busy"} else None


def _finding(run: Run, names: Sequence[str]) -> Finding:
    if run.is_running:
        hint = "wait for its end: a node that is rebooted while it is burnt may lose its adapter"
        return Finding("error", f"{run} is under way there: {run.who}", folded(names), hint)
    hint = "before its reboot each is asked whether it still burns, and waited for"
    return Finding("warning", f"{run} was left before its end there", folded(names), hint)


def asked_over_ssh(site: Site, names: Sequence[str]) -> Mapping[str, tuple[int | None, str]]:
    """Ask nodes whether they are free, one ssh for each."""
    targets = tuple(livenodes.reached(names, head_site(site)).values())
    heard = Heard()
    with tempfile.TemporaryDirectory(prefix="pipeline-firmware-") as folder:
        way = livenodes.way(site, targets, seconds=SECONDS)
        fanout.run(is_free(), targets, way, Path(folder), heard)
    last = {name: heard.lines[name][-1] if heard.lines.get(name) else "it said nothing" for name in names}
    return {name: (heard.codes.get(name), last[name]) for name in names}
