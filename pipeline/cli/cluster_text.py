"""A cluster's plan as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec

from pipeline.cluster.differing import changed_lines, shown, told
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Assignment, Change, members
from pipeline.cluster.plan import Plan, named
from pipeline.printable import counted
from pipeline.recipe.findings import positions

SIGNS = {"clone": "+", "add": "+", "set": "~", "remove": "-", "restart": "!", "build": "!"}


def document(cluster: Cluster, plan: Plan, **more: Any) -> dict[str, Any]:
    """The JSON document of a plan."""
    places = positions(cluster.file, [change.at for change in plan.changes])
    changes = [
        {
            "object": str(change.ref),
            "kind": change.ref.kind,
            "name": change.ref.name,
            "of": change.ref.of or None,
            "action": change.action,
            "source": change.source or None,
            "drift": change.drift,
            "place": place,
            "properties": [
                {"property": entry.name, "old": entry.old, "new": entry.new} for entry in change.assignments
            ],
        }
        for change, place in zip(plan.changes, places, strict=True)
    ]
    return {"cluster": plan.cluster, "changes": changes, "notes": plan.notes, "unasked": plan.unasked, **more}


def json_text(document: dict[str, Any]) -> str:
    """A document as it is printed; bytes of files that are no UTF-8 are replaced."""
    text = json.dumps(msgspec.to_builtins(document), indent=2, ensure_ascii=False)
    return text.encode(errors="surrogateescape").decode(errors="replace")


def lines(cluster: Cluster, plan: Plan) -> Iterable[str]:
    """The plan, with the objects that get the same folded into one; nothing in it drives a terminal."""
    yield from map(shown, _lines(cluster, plan))


def _lines(cluster: Cluster, plan: Plan) -> Iterable[str]:
    for note in plan.notes:
        yield f"note: {note}"
    if not plan.changes:
        rest = f", as far as could be asked; not known: {', '.join(plan.unasked)}" if plan.unasked else ""
        yield f"{plan.cluster}: nothing to do{rest}"
        return
    places = iter(positions(cluster.file, [change.at for change in plan.changes]))
    placed = [(change, next(places)) for change in plan.changes]
    for _, group in groupby(placed, key=lambda pair: _likeness(*pair)):
        alike = list(group)
        change, place = alike[0]
        yield _head([change for change, _ in alike], place if change.at else "")
        for entry in change.assignments:
            yield from _assignment(entry)
    drifted = sum(change.drift for change in plan.changes)
    tail = f", {drifted} of them changed by hand since the last apply" if drifted else ""
    tail += f"; not known: {', '.join(plan.unasked)}" if plan.unasked else ""
    yield f"{plan.cluster}: {counted(len(plan.changes), 'change')}{tail}"


def one_line(text: str) -> str:
    """``text`` from a cluster as it may be shown, in one line."""
    return shown(text).replace("\n", "\\n")


def _likeness(change: Change, place: str) -> tuple[object, ...]:
    """What changes that are shown as one have in common."""
    owner, name = change.ref.of.partition("/")[0], change.ref.name
    own = () if change.ref.kind == "node" else (name,)
    many = change.ref.kind == "node" or owner == "node"
    return (change.ref.kind, owner, own, change.action, change.assignments, change.drift, place) + (
        () if many else (str(change.ref),)
    )


def _head(alike: Sequence[Change], place: str) -> str:
    change = alike[0]
    name = named(tuple(change.ref for change in alike))
    what = f" (a clone of {change.source})" if change.action == "clone" else ""
    what = {"restart": " (restart)", "build": " (overlays built)"}.get(change.action, what)
    hand = "  changed by hand" if change.drift else ""
    return f"{SIGNS[change.action]} {name}{what}{hand}" + (f"  [{place}]" if place else "")


def _assignment(entry: Assignment) -> Iterable[str]:
    if isinstance(entry.new, tuple):
        old = members(entry.old)
        added = [member for member in entry.new if member not in old]
        gone = [member for member in old if member not in entry.new]
        parts = [*(f"+{member}" for member in added), *(f"-{member}" for member in gone)]
        yield f"    {entry.name}: {' '.join(parts) or told(entry.new)}"
    elif isinstance(entry.new, str) and "\n" in f"{entry.old}{entry.new}":
        yield f"    {entry.name}:"
        lines = changed_lines(str(entry.old or ""), entry.new, " (--json shows all)")
        yield from (f"      {line}" for line in lines)
    elif entry.old is None:
        yield f"    {entry.name}: {told(entry.new)}"
    else:
        yield f"    {entry.name}: {told(entry.old)} -> {told(entry.new)}"
