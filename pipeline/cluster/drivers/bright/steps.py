"""From changes to steps: what is typed in which object, each with a commit of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from pipeline.cluster.drivers.bright.modifications import NAME, Setting, merged, of_names, settings
from pipeline.cluster.drivers.bright.quote import argument, unsafe, unsafe_name
from pipeline.cluster.drivers.bright.read import HEAD_NAME
from pipeline.cluster.drivers.bright.state import Owner
from pipeline.cluster.drivers.bright.words import MODES, PROPERTIES, Names, key, written
from pipeline.cluster.objects import Change, Ref, Value
from pipeline.errors import PipelineError, Problem

WAITS = "commit -w"
"""Commits, and ends when what that begins has ended: the copying of an image, which may take an hour."""

RAMDISK = "createramdisk"
"""Nodes boot from it, and it is made of what lies at the path: anew when an image gets another one."""


class Step(msgspec.Struct, frozen=True):
    """Commands in the object ``name`` of ``mode``, which ``open`` (use, clone, add) reaches.

    ``done`` prints a line like ``ends`` when all is committed. ``refs`` are what it changes. ``service`` is
    the one that it starts or stops, ``up`` what it is to be then.
    """

    mode: str
    name: str
    open: str
    commands: tuple[str, ...]
    done: str
    ends: str
    refs: tuple[Ref, ...]
    service: str = ""
    up: bool = True


class Problems:
    """Everything that can't be written, gathered before anything is."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, ref: Ref, message: str, hint: str | None = None) -> None:
        self.found.append(Problem(message, str(ref), hint))

    def name(self, ref: Ref, name: str) -> str:
        """``name`` as an argument."""
        if why := unsafe_name(name):
            self.add(ref, f"{name!r} {why}")
            return "refused"
        return name

    def value(self, ref: Ref, property_: str, value: str) -> str:
        """``value`` as an argument."""
        if why := unsafe(value):
            self.add(ref, f"{property_}: {value!r} {why}")
            return "refused"
        return argument(value)

    def raise_any(self) -> None:
        if self.found:
            raise PipelineError(dict.fromkeys(self.found))


def steps(
    changes: Sequence[Change],
    entries: Mapping[Owner, Sequence[str]],
    names: Names,
    known: Problems | None = None,
) -> tuple[Step, ...]:
    """The steps for ``changes``; ``entries`` are the lists of file modifications as they are now.

    Raises ``PipelineError`` with all values that can't be written safely, and what is ``known`` to be wrong.
    """
    problems = known or Problems()
    made: list[Step] = []
    of_owner: dict[Owner, list[Change]] = {}
    for change in changes:
        if change.ref.kind == "setting":
            of_owner.setdefault(Owner.of(change.ref.of), []).append(change)
    for change in changes:
        kind = change.ref.kind
        if kind == "setting":
            owner = Owner.of(change.ref.of)
            if owner in of_owner:
                made.append(_modifications(owner, of_owner.pop(owner), entries, names, problems))
        elif kind == "service":
            made += _service(change, problems)
        elif kind == "interface":
            made.append(_interface(change, problems))
        else:
            made.append(_object(change, problems))
    problems.raise_any()
    return tuple(made)


def _sets(change: Change, problems: Problems, skip: Iterable[str] = ()) -> list[str]:
    """A ``set`` for each assignment."""
    theirs = PROPERTIES[change.ref.kind]
    lines = []
    for entry in change.assignments:
        if entry.name in skip:
            continue
        if entry.name not in theirs:
            problems.add(change.ref, f"{entry.name}: Bright has no such property of a {change.ref.kind}")
            continue
        value = problems.value(change.ref, entry.name, written(entry.new))
        lines.append(f"set {theirs[entry.name]} {value}")
    return lines


def _object(change: Change, problems: Problems) -> Step:
    """An image, category, network or node.

    Cloning an image copies its tree to the path that it has when it is committed; only ``-w`` waits for that.
    So another path comes afterwards: it may be a published version's, which nothing may be copied into.
    """
    ref, mode = change.ref, MODES[change.ref.kind]
    name = problems.name(ref, ref.name)
    if ref.kind == "node" and change.action != "set":
        problems.add(ref, "nodes are never made")
    opened = f"use {name}"
    if change.action == "add":
        opened = f"add {name}"
    elif change.action == "clone":
        opened = f"clone {problems.name(ref, change.source)} {name}"
    commands: tuple[str, ...] = (*_sets(change, problems), "commit")
    paths = tuple(entry for entry in change.assignments if entry.name == "path")
    if ref.kind == "image" and change.action == "clone":
        others = msgspec.structs.replace(change, assignments=paths)
        commands = (*_sets(change, problems, ("path",)), WAITS, *_then(_sets(others, problems)))
    if ref.kind == "image" and paths:
        commands = (*commands, RAMDISK)
    return Step(mode, name, opened, commands, f"get {key(mode)}", re.escape(ref.name), (ref,))


def _then(commands: list[str]) -> list[str]:
    """These commands and a commit of their own, if there are any."""
    return [*commands, "commit"] if commands else []


def _interface(change: Change, problems: Problems) -> Step:
    """An interface of a node; its type is said when it is added, and stays."""
    ref = change.ref
    new = {entry.name: entry.new for entry in change.assignments}
    name = problems.name(ref, ref.name)
    if change.action == "add":
        first = f"add {problems.name(ref, str(new.get('type', 'physical')))} {name}"
    else:
        first = f"use {name}"
        if "type" in new:
            problems.add(
                ref,
                f"type: is {_old(change, 'type')!r} and can't become {new['type']!r}",
                "the type of an interface is said when it is made: remove it by hand first",
            )
    commands = ("interfaces", first, *_sets(change, problems, ("type",)), "commit")
    return _within(change, problems, commands, f"get {key('interfaces')}", re.escape(ref.name))


def _old(change: Change, name: str) -> Value | None:
    return next((entry.old for entry in change.assignments if entry.name == name), None)


def _service(change: Change, problems: Problems) -> list[Step]:
    """A service: what is kept of it, then whether it runs now."""
    ref = change.ref
    name = problems.name(ref, ref.name)
    made: list[Step] = []
    sets = _sets(change, problems, ("running",))
    if change.action == "add" or sets:
        first = f"{'add' if change.action == 'add' else 'use'} {name}"
        commands = ("services", first, *sets, "commit")
        made.append(_within(change, problems, commands, f"get {key('services')}", re.escape(ref.name)))
    running = next((entry.new for entry in change.assignments if entry.name == "running"), None)
    verb = "restart" if change.action == "restart" else None
    if running is not None:
        verb = "start" if running else "stop"
    # What was never started needs no stop; and a service just added isn't running.
    if verb is None or (verb == "stop" and change.action == "add"):
        return made
    if Owner.of(ref.of).mode == "category":
        problems.add(
            ref, "running: a category's service runs on nodes; only theirs can be started and stopped"
        )
        return made
    shown = rf"{re.escape(ref.name)}\s+\.*\s*\[.*"
    step = _within(change, problems, ("services", f"{verb} {name}"), f"status {name}", shown)
    return [*made, msgspec.structs.replace(step, service=ref.name, up=verb != "stop")]


def _within(change: Change, problems: Problems, commands: tuple[str, ...], done: str, ends: str) -> Step:
    owner = Owner.of(change.ref.of)
    name = problems.name(change.ref, owner.name)
    return Step(owner.mode, name, f"use {name}", commands, done, ends, (change.ref,))


def _modifications(
    owner: Owner,
    changes: Sequence[Change],
    entries: Mapping[Owner, Sequence[str]],
    names: Names,
    problems: Problems,
) -> Step:
    """All settings of one owner: the one list that its role has, with everybody else's entries."""
    has = owner in entries
    here = entries.get(owner, ())
    known = {setting.name: setting for setting in settings(here)}
    wanted = []
    for change in changes:
        was = known.get(change.ref.name, Setting(change.ref.name, None, False))
        if change.action != "remove" and NAME.match(change.ref.name) is None:
            problems.add(change.ref, f"{change.ref.name!r} is not FILE[SECTION]KEY")
        wanted.append(was.changed(change))
    lines = merged(here, wanted)
    own = {
        entry: change.ref for change, item in zip(changes, wanted, strict=True) for entry in item.entries()
    }
    typed = {"set": lines}
    if any(map(unsafe, here)):
        # What can't be typed stays as it is: only what these changes are about is taken out, and put behind.
        typed = {"removefrom": of_names(here, {item.name for item in wanted}), "append": list(own)}
    theirs = [line for each in typed.values() for line in each if line not in own]
    _refuse_theirs(problems, changes[0].ref.of, theirs)
    said = [
        f"{verb} {names.modifications} "
        + " ".join(_quoted(problems, own[line], line) if line in own else _in_quotes(line) for line in each)
        for verb, each in typed.items()
        if each
    ]
    commands: tuple[str, ...] = (
        "roles",
        f"{'use' if has else 'assign'} {names.role}",
        *said,
        "commit",
    )
    name = problems.name(changes[0].ref, owner.name)
    refs = tuple(change.ref for change in changes)
    if not lines and owner.mode == "device" and any(change.with_list for change in changes):
        # An empty list of the node would still replace that of its category.
        unassign = ("roles", f"unassign {names.role}", "commit", "exit")
        done = f"get {key(owner.mode)}"
        return Step(owner.mode, name, f"use {name}", unassign, done, re.escape(owner.name), refs)
    if not lines:
        commands = ("roles", f"use {names.role}", f"clear {names.modifications}", "commit")
    ends = re.escape(names.role)
    return Step(owner.mode, name, f"use {name}", commands, "get name", ends, refs)


def _refuse_theirs(problems: Problems, owner: str, entries: Iterable[str]) -> None:
    """Add those of somebody else's entries that can't be typed, which the file's are to replace."""
    for entry in entries:
        if why := unsafe(entry):
            problems.found.append(
                Problem(
                    f"somebody has put {entry!r} into its list, which would have to be taken out: it {why}",
                    owner,
                    "take it out by hand (of what this is to be cloned from, where it is not there yet)",
                )
            )


def _quoted(problems: Problems, ref: Ref, entry: str) -> str:
    """An entry of the file's as an argument."""
    if why := unsafe(entry):
        problems.add(ref, f"value: {entry!r} {why}")
    return _in_quotes(entry)


def _in_quotes(entry: str) -> str:
    """An entry in quotes always, as in the manual: it begins with what could be an option."""
    if unsafe(entry):
        return "refused"
    text = argument(entry)
    return text if text.startswith('"') else f'"{text}"'


def is_head(step: Step) -> bool:
    """Whether it is about the head node."""
    return step.mode == "device" and step.name == HEAD_NAME
