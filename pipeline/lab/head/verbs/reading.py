"""list, format, show, get, status, usedby: what there is."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.instances import SINGLE
from pipeline.lab.head.kinds import KINDS, MODES, Property
from pipeline.lab.head.looks import cell_of, header, runs, service_status, status, whole
from pipeline.lab.head.objects import Object
from pipeline.lab.head.output import Column, delimited, json_list, parameters, table
from pipeline.lab.head.session import Call, Session, Verb
from pipeline.lab.head.simulation import settle
from pipeline.lab.head.values import shown
from pipeline.lab.head.verbs.options import options
from pipeline.lab.head.verbs.places import none, only
from pipeline.lab.head.verbs.selection import LETTERS, selected
from pipeline.lab.head.wordings import illegal_option

WIDEST = 32
"""A column whose width nobody gave is as wide as its widest cell, up to this."""


def _list(session: Session, call: Call) -> None:
    on_devices = session.level.mode == "device"
    found, rest = options(call, f"fd{LETTERS if on_devices else ''}")
    if rest:
        raise CommandError("list: too many arguments")
    delimiter = found.pop("d", None)
    if delimiter is not None and session.switches.json == "illegal":
        raise CommandError(illegal_option("d"))
    if on_devices:
        settle(session.store, session.switches, session.faults)
    names = selected(session, {k: v for k, v in found.items() if k != "f"}) if on_devices else session.names()
    columns = _columns(session, found.get("f") or session.formats.get(session.level.mode, ""))
    rows = [_row(session, name, [prop for prop, _, _ in columns]) for name in names]
    labels = [label for _, label, _ in columns]
    if on_devices is False and session.level.mode == "roles":
        rows = [*_inherited_roles(session, columns), *rows]
    if delimiter is None:
        widths = [_width(width, at, [labels, *rows]) for at, (_, _, width) in enumerate(columns)]
        table(session.out, [Column(*one) for one in zip(labels, widths, strict=True)], rows)
    elif delimiter == "{}" and session.switches.json == "yes":
        json_list(session.out, labels, rows)
    else:
        delimited(session.out, delimiter, labels, rows)


def _columns(session: Session, text: str) -> list[tuple[Property, str, int]]:
    """``hostname:20,status``: each with its label and width; 0 is any."""
    kind = session.level.kind
    if not text:
        return [
            (kind.properties[name], header(session, kind.properties[name]), width)
            for name, width in kind.columns
        ]
    columns = []
    for piece in text.split(","):
        name, _, width = piece.partition(":")
        if width and not width.isdigit():
            raise CommandError(f"Invalid format: {piece}")
        prop = _listed(session, name)
        key = header(session, prop) != prop.label
        label = f"{name.lower()} (key)" if key else name.lower()
        columns.append((prop, label, int(width or 0)))
    return columns


def _listed(session: Session, name: str) -> Property:
    """A property that some object of this mode has."""
    any_object = next((one for one in map(session.find, session.names()) if one), None)
    role: Object = {"type": "OpenStackNodeRole", "values": {}, "sub": {}}
    return session.property(name, any_object if any_object and session.level.mode != "roles" else role)


def _width(width: int, at: int, rows: list[list[str]]) -> int:
    return width or min(WIDEST, max(len(row[at]) for row in rows))


def _row(session: Session, name: str, props: list[Property]) -> list[str]:
    one = session.find(name)
    if one is None:
        raise session.unknown(session.level.kind.title, name)
    return [cell_of(session, name, one, prop) for prop in props]


def _inherited_roles(session: Session, columns: list[tuple[Property, str, int]]) -> list[list[str]]:
    """A node's list has its category's roles, which can't be used there."""
    with session.at(session.levels[:-1]):
        owner = session.current
        own = set(owner["sub"].get("roles", {}))
    category = str(owner["values"].get("category", ""))
    above = session.top("category", category) if session.levels[0].mode == "device" else None
    names = [name for name in (above["sub"].get("roles", {}) if above else ()) if name not in own]
    key = session.level.kind.key.lower()
    return [
        [f"[category:{category}] {name}" if prop.name == key else "" for prop, _, _ in columns]
        for name in names
    ]


def _format(session: Session, call: Call) -> None:
    found, rest = options(call, "", "r")
    mode = session.level.mode
    if "r" in found:
        session.formats.pop(mode, None)
    elif rest:
        text = ",".join(rest)
        _columns(session, text)
        session.formats[mode] = text
    else:
        columns = ",".join(f"{name}:{width}" for name, width in session.level.kind.columns)
        session.out.line(session.formats.get(mode, columns))


def subject(session: Session, words: list[str]) -> tuple[str, list[str]]:
    """The object that words are about: the one in use, or the one that the first of them names."""
    if session.level.name:
        prop = words[0].lower() if words else ""
        if len(session.levels) == 1 and prop not in session.level.kind.properties and len(words) > 1:
            name = session.alias(words[0])
            if session.find(name) is not None:
                return name, words[1:]
        return session.level.name, words
    if not words:
        raise CommandError("No object selected")
    name = session.alias(words[0])
    if session.find(name) is None:
        raise session.unknown(session.level.kind.title, words[0])
    return name, words[1:]


def _get(session: Session, call: Call) -> None:
    name, words = subject(session, call.words)
    word = only(call._replace(words=words))
    one = session.find(name)
    assert one is not None
    session.out.line(whole(session, name, one, session.property(word, one)))


def _show(session: Session, call: Call) -> None:
    words = call.words
    if session.level.name and len(words) == 1 and session.find(session.alias(words[0])):
        name = session.alias(words[0])
    else:
        name, words = subject(session, words)
        none(call._replace(words=words))
    one = session.find(name)
    assert one is not None
    rows = []
    for prop in session.level.kind.properties.values():
        label = prop.label
        if prop.name == "nextinstallmode" and session.switches.release == "old":
            label = "Next install method"
        elif prop.name == "configfilemodifications" and one["type"] != "OpenStackNodeRole":
            continue
        rows.append((label, cell_of(session, name, one, prop)))
    for mode in session.level.kind.submodes:
        if mode != SINGLE:
            rows.append((mode.capitalize(), f"<{len(one['sub'].get(mode, {}))} in submode>"))
        elif one["type"] == "VirtualNode":
            rows.append(("Virtual node settings", "<submode>"))
    parameters(session.out, rows)


def _status(session: Session, call: Call) -> None:
    if session.level.mode == "services":
        device = device_of(session)
        name = only(call) if call.words or not session.level.name else session.level.name
        if session.find(name) is None:
            raise session.unknown("Service", name)
        session.out.line(service_status(name, runs(session, device, name)))
        return
    if session.level.mode != "device":
        raise CommandError("status: not in this mode")
    found, rest = options(call, LETTERS)
    if rest:
        found["n"] = ",".join(rest)
    settle(session.store, session.switches, session.faults)
    here = session.level.name if not found else ""
    for name in [here] if here else selected(session, found):
        session.out.line(f"{f'{name} '.ljust(21, '.')} {status(session, name)}")


def device_of(session: Session) -> str:
    """The device whose services these are."""
    if session.levels[0].mode != "device":
        raise CommandError("Only the services of a device can be asked or told")
    return session.levels[0].name


def _usedby(session: Session, call: Call) -> None:
    if len(session.levels) != 1:
        raise CommandError("usedby: not in this mode")
    name = session.alias(only(call)) if call.words else session.level.name
    session.need(session.level.mode, name)
    rows = users(session, session.level.mode, name)
    if not rows:
        session.out.line("Not used by any other object")
        return
    table(session.out, [Column("Type", 20), Column("Name", 24), Column("Parameter", 24)], rows)


def users(session: Session, mode: str, name: str) -> list[tuple[str, str, str]]:
    """What refers to an object: the kind, name and property of each."""
    rows = []
    for of in MODES:
        refs = [prop for prop in KINDS[of].properties.values() if prop.to == mode]
        for user in session.top_names(of):
            one = session.top(of, user)
            if one is None:
                continue
            rows += [
                (KINDS[of].title, user, p.name)
                for p in refs
                if shown(p, one["values"].get(p.name, "")) == name
            ]
            if mode == "network":
                rows += [
                    (KINDS[of].title, user, f"interfaces {interface}")
                    for interface, below in one["sub"].get("interfaces", {}).items()
                    if below["values"].get("network") == name
                ]
    return rows


VERBS: Mapping[str, Verb] = {
    "list": _list,
    "format": _format,
    "get": _get,
    "show": _show,
    "status": _status,
    "usedby": _usedby,
}
