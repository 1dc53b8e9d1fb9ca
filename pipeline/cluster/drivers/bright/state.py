"""From what cmsh lists to objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from pipeline.cluster.drivers.bright.modifications import settings
from pipeline.cluster.drivers.bright.nodestates import inherited
from pipeline.cluster.drivers.bright.parse import STATUS, Answer, Row
from pipeline.cluster.drivers.bright.quote import argument, unsafe_name
from pipeline.cluster.drivers.bright.read import HEAD_NAME, List, Tables, ask, inside, lines_of, tables
from pipeline.cluster.drivers.bright.session import Session
from pipeline.cluster.drivers.bright.words import MODES, PROPERTIES, Names, key, label, understood
from pipeline.cluster.objects import Kind, Properties, Ref, State, Value

TOP: tuple[Kind, ...] = ("image", "category", "network")

ENTRY = re.compile(r"[+\-/]")
"""How an entry of a list of file modifications begins, and no name of an object does."""

UP = "UP"


class Owner(msgspec.Struct, frozen=True, order=True):
    """What a service, setting or interface belongs to, by its mode in cmsh."""

    mode: str
    name: str

    @classmethod
    def of(cls, text: str) -> Owner:
        """From the ``of`` of a `Ref`."""
        kind, name = text.split("/", 1)
        return cls("category" if kind == "category" else "device", HEAD_NAME if kind == "head" else name)

    def __str__(self) -> str:
        if self.mode == "category":
            return f"category/{self.name}"
        return f"head/{self.name}" if self.name == HEAD_NAME else f"node/{self.name}"


class Owners(msgspec.Struct, frozen=True):
    """Whose services, settings and interfaces are to be read."""

    services: frozenset[Owner] = frozenset()
    settings: frozenset[Owner] = frozenset()
    interfaces: frozenset[Owner] = frozenset()


def everything(top: Mapping[Ref, Properties]) -> Owners:
    """All that can own something."""
    owners = frozenset(Owner.of(str(ref)) for ref in top if ref.kind in ("category", "node"))
    nodes = frozenset(owner for owner in owners if owner.mode == "device")
    head = frozenset({Owner("device", HEAD_NAME)})
    return Owners(owners | head, owners | head, nodes)


def top(session: Session) -> State:
    """All images, categories, networks and nodes, and the images that nodes have themselves."""
    lists = [List(MODES[kind], ("name", *PROPERTIES[kind].values())) for kind in TOP]
    *found, devices = tables(
        session, [*lists, List("device", ("hostname", "category", "type", "softwareimage"))]
    )
    objects: dict[Ref, Properties] = {}
    for kind, table in zip(TOP, found, strict=True):
        for row in table[""]:
            objects[Ref(kind, _text(row["name"]))] = _properties(kind, row)
    own: dict[str, str] = {}
    for row in devices[""]:
        if label(_text(row["type"])) != "headnode":
            node, category = _text(row["hostname"]), _text(row["category"])
            objects[Ref("node", node)] = {"category": category} if category else {}
            image, is_inherited = inherited(_text(row["softwareimage"]))
            if image and not is_inherited:
                own[node] = image
    return State(objects, own=own)


def owned(session: Session, names: Names, owners: Owners, running: Callable[[Owner, str], bool]) -> State:
    """What belongs to ``owners``, which are all there. ``running`` says of which services it matters."""
    groups = [*_grouped("services", owners.services, ("service", "autostart", "monitored"))]
    roles = _grouped("roles", owners.settings, ("name",))
    interfaces = _grouped("interfaces", owners.interfaces, (key("interfaces"), "type", "dhcp", "network"))
    found = tables(session, [*groups, *roles, *interfaces])
    services = _owned("service", groups, found)
    holders = _holders(names, roles, found[len(groups) :])
    asked = [
        (owner, ref.name)
        for ref in services
        if (owner := Owner.of(ref.of)).mode == "device" and running(owner, ref.name)
    ]
    entries, statuses = details(session, names, holders, asked)
    for ref, properties in services.items():
        status = statuses.get((Owner.of(ref.of), ref.name))
        services[ref] = properties if status is None else {**properties, "running": status}
    objects = {**services, **_owned("interface", interfaces, found[len(groups) + len(roles) :])}
    for owner in sorted(entries):
        for setting in settings(entries[owner]):
            objects[Ref("setting", setting.name, str(owner))] = setting.properties()
    lists = {str(owner): tuple(lines) for owner, lines in entries.items()}
    return State(objects, lists=frozenset(lists), entries=lists)


def modifications(session: Session, names: Names, owners: Iterable[Owner]) -> dict[Owner, list[str]]:
    """The list of file modifications of each of ``owners`` that has the role, in its order."""
    roles = _grouped("roles", owners, ("name",))
    return details(session, names, _holders(names, roles, tables(session, roles)), ())[0]


def statuses(session: Session, asked: Iterable[tuple[Owner, str]]) -> dict[tuple[Owner, str], bool]:
    """Whether services run, by their owners and names; in one call."""
    return details(session, Names(), (), tuple(asked))[1]


def details(
    session: Session, names: Names, holders: Sequence[Owner], services: Sequence[tuple[Owner, str]]
) -> tuple[dict[Owner, list[str]], dict[tuple[Owner, str], bool]]:
    """Lists of file modifications, and whether services run; both in one call."""
    sections: list[tuple[str, tuple[str, ...], str]] = []
    sections += [(mode, group, "") for mode, group in _parted(holders)]
    for service in dict.fromkeys(name for _, name in services):
        who = [owner for owner, name in services if name == service]
        sections += [(mode, group, service) for mode, group in _parted(who)]
    if not sections:
        return {}, {}
    commands: list[str] = []
    for mode, group, service in sections:
        block = ["roles", f"use {names.role}", f"get {names.modifications}"]
        if service:
            block = ["services", f"status {argument(service)}"]
        named = [f"get {key(mode)}"] if group == (HEAD_NAME,) else []
        commands += inside(mode, group, [*named, *block])

    def taken(answer: Answer) -> list[dict[str, list[str]]]:
        return [lines_of(answer, group, STATUS if service else ENTRY) for _, group, service in sections]

    entries: dict[Owner, list[str]] = {}
    statuses: dict[tuple[Owner, str], bool] = {}
    answers = ask(session, commands, taken, as_json=False)
    for (mode, _, service), answer in zip(sections, answers, strict=True):
        for name, lines in answer.items():
            if service:
                statuses[Owner(mode, name), service] = _runs(lines)
            else:
                entries[Owner(mode, name)] = lines
    return entries, statuses


def _runs(lines: Sequence[str]) -> bool:
    """Whether the last status is UP."""
    match = STATUS.match(lines[-1]) if lines else None
    return match is not None and match["status"] == UP


def _parted(owners: Iterable[Owner]) -> list[tuple[str, tuple[str, ...]]]:
    """Owners that one loop can go over: categories, nodes; and the head node by itself."""
    parts: dict[tuple[str, bool], list[str]] = {}
    for owner in sorted(set(owners)):
        parts.setdefault((owner.mode, owner.name == HEAD_NAME), []).append(owner.name)
    return [(mode, tuple(group)) for (mode, _), group in parts.items()]


def _grouped(submode: str, owners: Iterable[Owner], columns: tuple[str, ...]) -> list[List]:
    return [List(mode, columns, submode, group) for mode, group in _parted(owners)]


def _holders(names: Names, lists: Sequence[List], found: Sequence[Tables]) -> list[Owner]:
    """The owners to which the role is assigned."""
    return [
        Owner(one.mode, owner)
        for one, table in zip(lists, found, strict=False)
        for owner, rows in table.items()
        if any(_text(row["name"]) == names.role for row in rows)
    ]


def _owned(kind: Kind, lists: Sequence[List], found: Sequence[Tables]) -> dict[Ref, Properties]:
    return {
        Ref(kind, name, str(Owner(one.mode, owner))): _properties(kind, row)
        for one, table in zip(lists, found, strict=False)
        for owner, rows in table.items()
        for row in rows
        # A name with more to it (``[category:default] boot``) is that of something inherited.
        if not unsafe_name(name := _text(row[one.columns[0]]))
    }


def _properties(kind: Kind, row: Row) -> dict[str, Value]:
    return {word: understood(word, _text(row[theirs])) for word, theirs in PROPERTIES[kind].items()}


def _text(value: object) -> str:
    """A cell as text, whatever JSON made of it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return "" if value is None else str(value)
