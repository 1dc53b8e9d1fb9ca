"""What was read for a plan, looked at again right before it is written: somebody may have been there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pipeline.cluster.drivers.again import changed, refuse
from pipeline.cluster.drivers.bright.modifications import settings
from pipeline.cluster.drivers.bright.state import Owner
from pipeline.cluster.objects import Change, Properties, Ref, State, Wanted


def sources(changes: Sequence[Change]) -> dict[Owner, Owner]:
    """The owners of changed settings, and whose settings they have to begin with: of a category that is
    about to be cloned its source's. One that is about to be added has none."""
    clones = {
        str(change.ref): Owner("category", change.source)
        for change in changes
        if change.action == "clone" and change.ref.kind == "category"
    }
    added = {str(change.ref) for change in changes if change.action == "add"}
    owners = [change.ref.of for change in changes if change.ref.kind == "setting"]
    return {Owner.of(name): clones.get(name, Owner.of(name)) for name in owners if name not in added}


def refuse_changed(
    changes: Sequence[Change], state: State, read: Callable[[Sequence[Wanted]], State]
) -> None:
    """Raise with everything that is about to be changed, or cloned, and is no longer as ``state`` has it."""
    refs = [change.ref for change in changes]
    refs += [Ref(change.ref.kind, change.source) for change in changes if change.action == "clone"]
    now = read([Wanted(ref, _asked(state.objects.get(ref, {})), make=False) for ref in refs]).objects
    of_change = {change.ref: change for change in changes}
    refuse(
        problem
        for ref in refs
        for was, is_ in [(_about(of_change.get(ref), one.get(ref)) for one in (state.objects, now))]
        for problem in changed(str(ref), was, is_)
    )


def refuse_changed_entries(
    changes: Sequence[Change],
    state: State,
    owners: Mapping[Owner, Owner],
    entries: Mapping[Owner, Sequence[str]],
) -> None:
    """As ``refuse_changed``, for settings, whose owners' lists are ``entries``."""
    now = {
        Ref("setting", setting.name, str(owner)): setting.properties()
        for owner, lines in entries.items()
        for setting in settings(lines)
    }
    problems = []
    for change in changes:
        owner = owners.get(Owner.of(change.ref.of)) if change.ref.kind == "setting" else None
        if owner is not None:
            ref = Ref("setting", change.ref.name, str(owner))
            problems += changed(str(change.ref), state.objects.get(ref), now.get(ref))
    refuse(problems)


def _asked(there: Properties) -> Properties:
    """What makes a driver look at these: whether a service runs, and how a frozen file's key was set."""
    return {name: value for name, value in there.items() if name in ("running", "replaces")}


def _about(change: Change | None, there: Properties | None) -> Properties | None:
    """Those properties that the change is about; all of what is cloned."""
    if there is None or change is None or change.action != "set":
        return there
    names = {entry.name for entry in change.assignments}
    return {name: value for name, value in there.items() if name in names}
