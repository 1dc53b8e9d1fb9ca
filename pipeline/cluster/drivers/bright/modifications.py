"""A role's file modifications: ``-FILE[SECTION]KEY`` takes out, ``+FILE[SECTION]KEY=VALUE`` puts in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

import msgspec

from pipeline.cluster.objects import Change, Value

ENTRY = re.compile(r"(?P<sign>[+-])(?P<name>/[^\[\]]+\[[^\[\]]*\][^=]+)(?:=(?P<value>.*))?\Z", re.DOTALL)
NAME = re.compile(r"(?P<file>/[^\[\]]+)\[(?P<section>[^\[\]]*)\](?P<key>[^=\s][^=]*)\Z")


class Setting(msgspec.Struct, frozen=True):
    """What the entries of one ``FILE[SECTION]KEY`` amount to. ``value`` is None where a ``-`` comes last.

    Several ``+`` of one key give its values, each in a line.
    """

    name: str
    value: str | None
    replaces: bool

    def properties(self) -> dict[str, Value]:
        """As an object of the kind ``setting``."""
        own: dict[str, Value] = {"replaces": self.replaces}
        return own if self.value is None else {"value": self.value, **own}

    def entries(self) -> list[str]:
        """As the entries of the list."""
        out = [f"-{self.name}"] if self.replaces else []
        values = [] if self.value is None else self.value.split("\n")
        return [*out, *(f"+{self.name}={value}" for value in values)]

    def changed(self, change: Change) -> Setting:
        """This one once ``change`` is made."""
        if change.action == "remove":
            return Setting(self.name, None, False)
        new = {**self.properties(), **{entry.name: entry.new for entry in change.assignments}}
        value = str(new["value"]) if "value" in new else None
        return Setting(self.name, value, bool(new.get("replaces")))


def settings(entries: Iterable[str]) -> list[Setting]:
    """What a list amounts to, carried out in its order; others' entries in it are left out."""
    found: dict[str, Setting] = {}
    for entry in entries:
        match = ENTRY.match(entry)
        if match is None:
            continue
        name = match["name"]
        was = found.get(name, Setting(name, None, False))
        if match["sign"] == "-":
            # It takes out what was put in before it as well.
            found[name] = Setting(name, None, True)
        else:
            value = match["value"] or ""
            found[name] = Setting(name, value if was.value is None else f"{was.value}\n{value}", was.replaces)
    return list(found.values())


def of_names(entries: Iterable[str], names: Collection[str]) -> list[str]:
    """Those of ``entries`` that are about one of ``names``, each once."""
    found = dict.fromkeys(entries)
    return [entry for entry in found if (match := ENTRY.match(entry)) and match["name"] in names]


def merged(entries: Sequence[str], wanted: Sequence[Setting]) -> list[str]:
    """The list with ``wanted`` in the places of their entries, or at its end; all others are kept."""
    waiting = {setting.name: setting for setting in wanted}
    placed: set[str] = set()
    result: list[str] = []
    for entry in entries:
        match = ENTRY.match(entry)
        name = match["name"] if match else ""
        if name not in waiting:
            result.append(entry)
        elif name not in placed:
            placed.add(name)
            result += waiting[name].entries()
    for setting in wanted:
        if setting.name not in placed:
            result += setting.entries()
    return result
