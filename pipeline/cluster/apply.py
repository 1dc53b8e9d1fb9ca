"""Making a cluster as its file wants it: write, read back, tell what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

import msgspec

from pipeline import interrupts
from pipeline.cluster import heads, record, renamed, rolled
from pipeline.cluster import plan as planning
from pipeline.cluster.added import still_added, with_changes
from pipeline.cluster.begun import Begun
from pipeline.cluster.differing import unlike
from pipeline.cluster.keepers import Keepers
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Action, Change, Ref, State
from pipeline.cluster.places import at_lines, placed
from pipeline.cluster.plan import Plan
from pipeline.errors import MachineError, PipelineError, Problem, retold


class Applied(msgspec.Struct, frozen=True):
    """What an apply did: the ``plan`` that it carried out, and how long that took in seconds."""

    plan: Plan
    seconds: float


def look(cluster: Cluster, keepers: Keepers, store: Path, leaving: Collection[str] = ()) -> Plan:
    """The plan for now; ``keepers.trouble`` is what could not be asked. ``leaving`` are categories that are
    about to get other images than they have."""
    found = renamed.known(store, cluster)
    cluster = _noted(cluster, found)
    keepers.go_on(Begun(found.last.begun))
    with at_lines(cluster):
        now = planning.read(cluster, keepers, found.last, store, leaving)
        plan = _checked(keepers, now)
    if keepers.trouble is None:
        return plan
    keepers.trouble = placed(cluster, keepers.trouble)
    return msgspec.structs.replace(plan, unasked=tuple(map(str, now.cluster.unasked)))


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
    could not be done, with what was and what is left; so does an interruption.
    """
    began = time.monotonic()
    with renamed.applying(store, cluster) as found, at_lines(cluster):
        cluster, last = _noted(cluster, found), found.last
        begun = Begun(last.begun, partial(record.save_begun, store, cluster.name))
        keepers.go_on(begun)
        now = planning.read(cluster, keepers, last, store)
        plan = _checked(keepers, now)
        if agreed is not None:
            planning.refuse_other(agreed, plan)
        if plan.changes and agree is not None:
            if not agree(plan):
                raise PipelineError("not applied: nothing was changed")
            now = planning.read(cluster, keepers, last, store)
            planning.refuse_other(plan, whole_plan(keepers, now.cluster, now.state, now.last))
        unasked = keepers.trouble
        with at_lines(now.cluster):
            _carry_out(now, keepers, store, plan, begun, found.taken)
        for category, image in now.gone:
            # An object of the gone one's name that is made later is no reason to take nodes to it.
            rolled.note(store, cluster.name, category, image, image)
        if unasked is not None:
            raise retold(unasked, [*unasked.problems, Problem("everything else is as wanted")])
    return Applied(plan, time.monotonic() - began)


def _noted(cluster: Cluster, found: renamed.Known) -> Cluster:
    cluster = heads.noted(cluster, found.last.of)
    return msgspec.structs.replace(cluster, notes=(*cluster.notes, *found.notes))


def _carry_out(
    now: planning.Now, keepers: Keepers, store: Path, plan: Plan, begun: Begun, taken: str
) -> None:
    """Write the changes, and read them back; what stands under the name ``taken`` is taken over first."""
    full, state, last = now.cluster, now.state, now.last
    if plan.changes:
        # Killed from here on: the next plan shows what is left, what is owed, what was added.
        there = still_added(last.added, full.wanted, state, last.applied)
        coming = with_changes(there, full.wanted, state, plan.changes)
        restarts = dict.fromkeys([*_of(plan, "restart"), *keepers.restarted(plan.changes)])
        owed = {"restarts": tuple(restarts), "builds": _of(plan, "build")}
        making = record.now_making(last.making, full.wanted, state)
        last = msgspec.structs.replace(last, **owed, added=coming, making=making)
        renamed.save(store, full, last, taken)
        trouble = _write(keepers, plan, state)
        last = msgspec.structs.replace(last, begun=begun.names)
        _read_back(full, keepers, store, plan, last, trouble)
    else:
        # Also what was there already is drift when it is changed by hand, and told when it leaves the file.
        owed = {"restarts": last.restarts, "builds": last.builds}
        renamed.save(store, full, msgspec.structs.replace(_now_there(full, state, last), **owed), taken)


def whole_plan(keepers: Keepers, cluster: Cluster, state: State, last: record.Record) -> Plan:
    """The plan with the builds that it takes, and the builds and restarts that an earlier apply owes."""
    plan = planning.make(cluster, state, last)
    more = (*keepers.restarts(last.restarts), *keepers.builds(plan.changes, last.builds, state))
    return msgspec.structs.replace(plan, changes=(*plan.changes, *more))


def _checked(keepers: Keepers, now: planning.Now) -> Plan:
    """The plan, all of which can be written as far as that is known before."""
    plan = whole_plan(keepers, now.cluster, now.state, now.last)
    with at_lines(now.cluster):
        keepers.check(plan.changes, now.state)
    return plan


def _of(plan: Plan, action: Action) -> tuple[str, ...]:
    return tuple(str(change.ref) for change in plan.changes if change.action == action)


def _write(keepers: Keepers, plan: Plan, state: State) -> PipelineError | None:
    """Write the changes; what went wrong, if anything did."""
    try:
        keepers.write(plan.changes, state)
    except PipelineError as error:
        return error
    except KeyboardInterrupt as error:
        stopped = PipelineError(f"{interrupts.WHAT} while changes were written")
        stopped.exit_code = interrupts.exit_code(error)
        return stopped
    return None


def _read_back(
    cluster: Cluster,
    keepers: Keepers,
    store: Path,
    plan: Plan,
    last: record.Record,
    trouble: PipelineError | None,
) -> None:
    """Keep what is really there now, and raise what isn't as it was to be."""
    again = f"pipeline cluster plan {cluster.name}"
    try:
        state = planning.read_back(cluster, keepers, last)
    except PipelineError as error:
        unknown = Problem(
            f"what was changed is not known: reading it back failed ({error.problems[0].message})",
            hint=f"{_when(error)}, a plan shows exactly what is left",
            command=again,
        )
        raise retold(trouble or error, [*(trouble.problems if trouble else ()), unknown]) from None
    after = _now_there(cluster, state, last)
    if trouble:
        owed = keepers.still_owed(last.restarts)
        after = msgspec.structs.replace(after, restarts=owed, builds=last.builds)
    left = whole_plan(keepers, cluster, state, msgspec.structs.replace(after, making=last.making)).changes
    making = record.still_making(last.making, left)
    renamed.save(store, cluster, msgspec.structs.replace(after, making=making))
    if trouble is None and not left:
        return
    problems = [*(trouble.problems if trouble else ()), *_left(plan.changes, left)]
    undone = {_deed(change) for change in left}
    made = sum(_deed(change) not in undone for change in plan.changes)
    tail = f"{made} of {len(plan.changes)} changes are made"
    if left:
        problems.append(Problem(tail, hint="the rest is what the next plan shows", command=again))
    else:
        problems.append(Problem(f"all the same everything is as wanted: {tail}"))
    raise retold(trouble or PipelineError("left"), problems)


def _now_there(cluster: Cluster, state: State, last: record.Record) -> record.Record:
    """What to keep after an apply that found, or made, what there is in ``state``; nothing is owed."""
    added = still_added(last.added, cluster.wanted, state, last.applied)
    applied = record.now_applied(cluster.wanted, state, last.applied, added)
    # Of what could not be asked it stays as it was known.
    applied |= {name: dict(last.applied[name]) for name in map(str, cluster.unasked) if name in last.applied}
    left = renamed.left_out(cluster, last)
    return record.Record(
        time.time(), applied=applied, added=added, begun=last.begun, took=last.took, left=left
    )


def _when(error: PipelineError) -> str:
    """From when on a plan can be made, after reading failed."""
    if isinstance(error, MachineError):
        return "once the head node answers"
    said = error.problems[0].hint
    return f"{said}; then" if said else "when that is mended"


def _deed(change: Change) -> tuple[Ref, str]:
    """What is told from other things done to the same object."""
    return change.ref, change.action if change.action in ("restart", "build") else ""


WORDS = {
    "add": "not there",
    "clone": "not there",
    "remove": "still there",
    "restart": "not restarted",
    "build": "its overlays are not built",
}


def _left(planned: tuple[Change, ...], left: tuple[Change, ...]) -> list[Problem]:
    """What is still to be done, object by object."""
    known = {change.ref for change in planned}
    return [
        Problem(
            "not as wanted: "
            + "; ".join(unlike(entry.name, entry.old, entry.new) for entry in change.assignments)
            if change.action == "set"
            else WORDS[change.action],
            str(change.ref) if change.ref in known else f"{change.ref} (not part of the plan)",
        )
        for change in left
    ]
