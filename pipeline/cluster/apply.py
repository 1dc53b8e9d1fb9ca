"""Making a cluster as its file wants it: write, read back, tell what is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline.cluster import plan as planning
from pipeline.cluster import record
from pipeline.cluster.keepers import Keepers
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Change
from pipeline.cluster.places import at_lines
from pipeline.cluster.plan import Plan
from pipeline.errors import PipelineError, Problem, retold


class Applied(msgspec.Struct, frozen=True):
    """What an apply did: the ``plan`` that it carried out, and how long that took in seconds."""

    plan: Plan
    seconds: float


def look(cluster: Cluster, keepers: Keepers, store: Path) -> Plan:
    """The plan for now."""
    last = record.load(store, cluster.name)
    with at_lines(cluster):
        return planning.make(cluster, planning.read(cluster, keepers), last)


def apply(
    cluster: Cluster,
    keepers: Keepers,
    store: Path,
    *,
    agreed: Plan | None = None,
    agree: Callable[[Plan], bool] | None = None,
) -> Applied:
    """Carry out what the cluster file asks for.

    ``agreed`` is a plan made before: anything that differs from it now is refused. ``agree`` is asked before
    anything is written; what it takes long for is looked at again. Raises ``PipelineError`` when something
    could not be done, with what was and what is left.
    """
    began = time.monotonic()
    with record.applying(store, cluster.name), at_lines(cluster):
        before = record.load(store, cluster.name)
        state = planning.read(cluster, keepers)
        plan = planning.make(cluster, state, before)
        if agreed is not None:
            planning.refuse_other(agreed, plan)
        if plan.changes and agree is not None:
            if not agree(plan):
                raise PipelineError("not applied: nothing was changed")
            state = planning.read(cluster, keepers)
            planning.refuse_other(plan, planning.make(cluster, state, before))
        if plan.changes:
            # Killed from here on: the next plan shows what is left, and the restarts that are owed.
            due = tuple(str(change.ref) for change in plan.changes if change.action == "restart")
            before = msgspec.structs.replace(before, restarts=due)
            record.save(store, cluster.name, before)
        trouble: PipelineError | None = None
        try:
            keepers.write(plan.changes, state)
        except PipelineError as error:
            trouble = error
        _read_back(cluster, keepers, store, plan, before, trouble)
    return Applied(plan, time.monotonic() - began)


def _read_back(
    cluster: Cluster,
    keepers: Keepers,
    store: Path,
    plan: Plan,
    before: record.Record,
    trouble: PipelineError | None,
) -> None:
    """Keep what is really there now, and raise what isn't as it was to be."""
    if not plan.changes:
        return
    again = f"pipeline cluster plan {cluster.name}"
    try:
        state = planning.read(cluster, keepers)
    except PipelineError as error:
        unknown = Problem(
            f"what was changed is not known: reading it back failed ({error.problems[0].message})",
            hint="once the head node answers, a plan shows exactly what is left",
            command=again,
        )
        raise retold(trouble or error, [*(trouble.problems if trouble else ()), unknown]) from None
    applied = record.now_applied(cluster, state, before.applied)
    after = record.Record(time.time(), before.restarts if trouble else (), applied)
    left = planning.make(cluster, state, after).changes
    record.save(store, cluster.name, after)
    if trouble is None and not left:
        return
    problems = [*(trouble.problems if trouble else ()), *_left(plan.changes, left)]
    undone = {change.ref for change in left}
    made = sum(change.ref not in undone for change in plan.changes)
    tail = f"{made} of {len(plan.changes)} changes are made"
    problems.append(Problem(tail, hint="the rest is what the next plan shows", command=again))
    raise retold(trouble or PipelineError("left"), problems)


def _left(planned: tuple[Change, ...], left: tuple[Change, ...]) -> list[Problem]:
    """What is still to be done, object by object."""
    known = {change.ref for change in planned}
    return [
        Problem(
            "not as wanted: "
            + "; ".join(
                f"{entry.name} is {planning.told(entry.old)}, wanted {planning.told(entry.new)}"
                for entry in change.assignments
            )
            if change.action == "set"
            else "not there"
            if change.action != "restart"
            else "not restarted",
            str(change.ref) if change.ref in known else f"{change.ref} (not part of the plan)",
        )
        for change in left
    ]
