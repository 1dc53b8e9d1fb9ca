"""A cluster file being read: its tables as typed data with parameters put in, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from pipeline.cluster.nodesets import expanded
from pipeline.cluster.written import ClusterFile
from pipeline.recipe.documents import Document
from pipeline.recipe.findings import Findings, position
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.model import Parameter
from pipeline.recipe.names import file_name_fault
from pipeline.recipe.scopes import Scope
from pipeline.recipe.tables import dotted, fields_of
from pipeline.recipe.top import tables_of

Table = TypeVar("Table", bound=msgspec.Struct)

CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f\u2028\u2029]")
TEXT_CONTROL = re.compile(r"[\0-\x08\x0b-\x1f\x7f]")
"""In a whole file, which has lines and tabs."""

OPEN = "\ue000"
"""On both sides of the name of a parameter that only nodes have a value for (a private character)."""


class Reading:
    """One cluster file. ``scope`` holds its parameters, once they are known; ``node_parameters`` those of
    nodes that have other values."""

    def __init__(self, document: Document, findings: Findings) -> None:
        self.file = document.file
        self.findings = findings
        self.tables = tables_of(document, ClusterFile, findings)
        self.scope = Scope(document.file, findings)
        self.groups: dict[str, str] = {}
        self.node_parameters: dict[str, Mapping[str, Parameter]] = {}

    def say(self, at: KeyPath, message: str, hint: str | None = None) -> None:
        """Something is wrong at a key."""
        self.findings.add(self.file, at, message, hint)

    def place(self, at: KeyPath) -> str:
        """``file:line``, for messages that name a second place."""
        return position(self.file, at)

    def each(self, key: str, struct: type[Table]) -> Iterator[tuple[KeyPath, Table]]:
        """The tables ``[[key]]`` that are right, and where each is; what is wrong with others is told."""
        for index, raw in enumerate(self.tables.get(key, ())):
            table = self.table((key, index), raw, struct)
            if table is not None:
                yield (key, index), table

    def one(self, key: str, struct: type[Table]) -> Table | None:
        """The table ``[key]``; None when it isn't there or something is wrong with it, which is told."""
        return self.table((key,), self.tables[key], struct) if key in self.tables else None

    def table(
        self,
        at: KeyPath,
        raw: Mapping[str, Any],
        struct: type[Table],
        scope: Scope | None = None,
        *,
        open_: bool = False,
    ) -> Table | None:
        """``raw`` as ``struct``, with parameters of ``scope`` put in; None when something is wrong with it.

        With ``open_`` some values may be missing that only nodes have (see ``may_be_open``).
        """
        scope = scope or self.scope
        label = label_of(at, raw)
        forms = {key: scope.filled(value, (*at, key), label) for key, value in raw.items()}
        firsts = [((*at, key), form[0]) for key, form in forms.items() if form]
        for place, value in firsts:
            self._refuse_characters(place, value, label)
        told = self.findings.told
        for place, value in firsts:
            self._refuse_open(place, value, label, open_)

        def say(path: KeyPath, message: str) -> None:
            self.say((*at, *path), label + message)

        arguments = fields_of(raw, struct, say, forms=forms)
        if self.findings.told > told or not all(forms.values()):
            return None
        return struct(**arguments)

    def nodes(self, at: KeyPath, text: str, label: str = "") -> tuple[str, ...]:
        """The nodes of a node set; none when it is wrong, which is told."""
        found = expanded(text, self.groups)
        if found.fault:
            self.say(at, f"{label}{found.fault}")
        return found.names

    def name(self, at: KeyPath, name: str, label: str) -> None:
        """Tell if ``name`` is none that is safe everywhere; control characters have been told already."""
        fault = file_name_fault(name)
        if fault and not CONTROL.search(name):
            self.say(at, f'{label}the name "{name}" {fault.replace("safe file name", "safe name")}')

    def _refuse_characters(self, at: KeyPath, value: object, label: str) -> None:
        for path, text in _texts(value, at):
            pattern = TEXT_CONTROL if path[-1] == "content" else CONTROL
            wrong = pattern.search(text)
            if wrong:
                words = f"{label}{_key(path)} has the character {wrong[0]!r}"
                self.say(path, f"{words}, which no cluster manager can take")

    def _refuse_open(self, at: KeyPath, value: object, label: str, open_: bool) -> None:
        for path, text in _texts(value, at):
            if OPEN in text and not (open_ and may_be_open(path)):
                name = text.split(OPEN)[1]
                self.say(
                    path, f'{label}{_key(path)}: the parameter "{name}" has a value for single nodes only'
                )


def may_be_open(path: KeyPath) -> bool:
    """Whether each node may have its own value: how it reaches networks, and keys of its files."""
    return path[-1] in ("local_ip", "interface") or "set" in path


def _key(path: KeyPath) -> str:
    """How messages call a key, within its table."""
    return f'"{dotted(path[2:] if isinstance(path[1], int) else path[1:])}"'


def label_of(at: KeyPath, raw: Mapping[str, Any]) -> str:
    """``category 2 "compute": ``, or ``[neutron]: ``."""
    index = at[-1]
    if not isinstance(index, int):
        return f"[{index}]: "
    name = raw.get("name", raw.get("names"))
    told = f' "{name}"' if isinstance(name, str) else ""
    return f"{at[-2]} {index + 1}{told}: "


def _texts(value: object, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    """Every string in ``value``, keys of tables too."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield (*at, key), key
            yield from _texts(item, (*at, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*at, index))
