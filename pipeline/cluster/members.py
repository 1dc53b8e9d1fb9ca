"""Categories, their nodes, and what is different on some of these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from pipeline.cluster.cloning import in_order
from pipeline.cluster.neutron import Neutron
from pipeline.cluster.nodesets import folded
from pipeline.cluster.objects import Ref, Wanted
from pipeline.cluster.owned import (
    Setting,
    check_files,
    check_services,
    settings_of,
    wanted_services,
    wanted_settings,
)
from pipeline.cluster.parameters import missing_in, overridden
from pipeline.cluster.providers import of_node
from pipeline.cluster.reading import Reading, label_of
from pipeline.cluster.written import CategoryTable, FileTable, NodeTable
from pipeline.nearest import nearest
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.model import Parameter
from pipeline.recipe.scopes import frozen, value_fault

ADDRESS = "[vxlan]local_ip"
"""How the setting ends that each node needs its own value for."""


class Category(msgspec.Struct, frozen=True):
    """A category as it was read; ``settings`` are those of its nodes that have no parameters of their own."""

    at: KeyPath
    table: CategoryTable
    nodes: tuple[str, ...]
    settings: tuple[Setting, ...]

    @property
    def ref(self) -> Ref:
        return Ref("category", self.table.name)


class Own(msgspec.Struct):
    """What one node has of its own: other values of parameters and where each is said, and its tables."""

    parameters: dict[str, Parameter] = msgspec.field(default_factory=dict)
    ats: dict[str, KeyPath] = msgspec.field(default_factory=dict)
    tables: list[tuple[KeyPath, NodeTable]] = msgspec.field(default_factory=list)


def members_of(reading: Reading, neutron: Neutron | None) -> tuple[Wanted, ...]:
    """``[[category]]`` and ``[[node]]``: categories, then nodes, then what both have of their own.

    What is wrong with them is told.
    """
    categories = _categories(reading, neutron)
    category_of = _category_of(reading, categories)
    made = _Nodes(reading, neutron, category_of)
    own = made.owns()
    reading.node_parameters = {
        node: overridden(reading, one.parameters).parameters for node, one in own.items() if one.parameters
    }
    wanted = [_category(each) for each in categories]
    wanted += [
        Wanted(Ref("node", node), {"category": each.table.name}, make=False, at=(*each.at, "nodes"))
        for each in categories
        for node in each.nodes
        if category_of[node] is each
    ]
    special = {node: made.settings(node, one) for node, one in own.items()}
    for each in categories:
        settings = wanted_settings(each.ref, each.settings)
        wanted += [*settings, *wanted_services(each.ref, each.at, each.table.service)]
    for node, one in own.items():
        ref = Ref("node", node)
        wanted += special[node]
        for at, table in one.tables:
            wanted += wanted_services(ref, at, table.service)
    _refuse_missing(reading, categories, own)
    _refuse_same_address(reading, categories, special)
    return tuple(wanted)


def _category(each: Category) -> Wanted:
    table = each.table
    return Wanted(
        each.ref,
        {"image": table.image} if table.image else {},
        source=table.clone,
        make=bool(table.clone),
        at=each.at,
        ats={"image": (*each.at, "image")} if table.image else {},
    )


def _categories(reading: Reading, neutron: Neutron | None) -> list[Category]:
    found: list[Category] = []
    for index, raw in enumerate(reading.tables.get("category", ())):
        at: KeyPath = ("category", index)
        table = reading.table(at, raw, CategoryTable, open_=True)
        if table is None:
            continue
        label = label_of(at, raw)
        for key in ("name", "clone", "image"):
            if (value := getattr(table, key)) or key == "name":
                reading.name((*at, key), value, label)
        if table.clone == table.name:
            reading.say((*at, "clone"), f"{label}it cannot be cloned from itself")
        check_files(reading, at, table.file, "category", neutron)
        check_services(reading, at, table.service)
        nodes = reading.nodes((*at, "nodes"), table.nodes, label) if table.nodes else ()
        found.append(Category(at, table, nodes, settings_of(at, table.file, neutron)))
    return in_order(reading, found, lambda each: (each.table.name, each.table.clone, each.at))


def _category_of(reading: Reading, categories: Iterable[Category]) -> dict[str, Category]:
    """The category of each node; a node in two is told with both places."""
    found: dict[str, Category] = {}
    for each in categories:
        twice: dict[KeyPath, list[str]] = {}
        for node in each.nodes:
            first = found.setdefault(node, each)
            if first is not each:
                twice.setdefault(first.at, []).append(node)
        for at, nodes in twice.items():
            where = reading.place((*at, "nodes"))
            other = found[nodes[0]].table.name
            message = f'category "{each.table.name}": {folded(nodes)} is in "{other}" already ({where})'
            reading.say((*each.at, "nodes"), message)
    return found


class _Nodes(msgspec.Struct):
    """``[[node]]`` tables being read. ``made`` are the settings so far, of equal parameters and category."""

    reading: Reading
    neutron: Neutron | None
    category_of: Mapping[str, Category]
    made: dict[object, tuple[Setting, ...]] = msgspec.field(default_factory=dict)

    def owns(self) -> dict[str, Own]:
        """What each node has of its own, in the order of the file."""
        found: dict[str, Own] = {}
        for index, raw in enumerate(self.reading.tables.get("node", ())):
            at: KeyPath = ("node", index)
            label = label_of(at, raw)
            given = self._parameters(at, raw.get("parameters", {}), label)
            scope = overridden(self.reading, given) if given else None
            table = self.reading.table(at, raw, NodeTable, scope)
            if table is None:
                continue
            names = self.reading.nodes((*at, "names"), table.names, label)
            check_files(self.reading, at, table.file, "node", self.neutron)
            check_services(self.reading, at, table.service)
            homeless = [name for name in names if name not in self.category_of] if given else []
            if homeless and not table.file:
                message = f"{label}{folded(homeless)} is in no category of this file: nothing uses parameters"
                self.reading.say((*at, "parameters"), message)
            for name in names:
                self._add(found.setdefault(name, Own()), name, at, table, given)
        return found

    def settings(self, node: str, own: Own) -> list[Wanted]:
        """All settings of a node that has some of its own or whose parameters make a difference.

        A list on a node stands instead of its category's, so that it has to have all of it.
        """
        category = self.category_of.get(node)
        files = [(at, table.file) for at, table in own.tables if table.file]
        key = (
            category.at if category else None,
            tuple(sorted((name, repr(value)) for name, value in own.parameters.items())),
            tuple(at for at, _ in files),
        )
        if key not in self.made:
            self.made[key] = self._settings(category, own, files)
        return wanted_settings(Ref("node", node), self.made[key])

    def _settings(
        self, category: Category | None, own: Own, files: Sequence[tuple[KeyPath, tuple[FileTable, ...]]]
    ) -> tuple[Setting, ...]:
        base = category.settings if category else ()
        neutron, common = self.neutron, base
        if own.parameters:
            at = next(iter(own.ats.values()))
            scope = overridden(self.reading, own.parameters)
            if neutron is not None:
                label = f"{label_of(at[:2], self.reading.tables['node'][at[1]])}"
                neutron = of_node(self.reading, scope, neutron, at, label)
            if category is not None:
                raw = self.reading.tables["category"][category.at[1]]
                table = self.reading.table(category.at, raw, CategoryTable, scope, open_=True)
                common = settings_of(category.at, table.file, neutron) if table else ()
        mine = [one for at, tables in files for one in settings_of(at, tables, neutron)]
        first: dict[str, KeyPath] = {}
        for one in mine:
            if first.setdefault(one.name, one.at) != one.at:
                where = self.reading.place(first[one.name])
                self.reading.say(one.at, f"{one.name} is said already at {where}")
        if not mine and [(one.name, one.value) for one in common] == [(one.name, one.value) for one in base]:
            return ()
        merged = {one.name: one for one in common}
        return tuple((merged | {one.name: one for one in mine}).values())

    def _parameters(self, at: KeyPath, raw: object, label: str) -> dict[str, Parameter]:
        """The parameters that are right; the others are told, or will be with the table's types."""
        if not isinstance(raw, dict):
            return {}
        scope, found = self.reading.scope, {}
        for name, value in raw.items():
            place = (*at, "parameters", name)
            fault = value_fault(value)
            if name not in scope.known() and scope.partial:
                continue
            if name not in scope.known():
                near = nearest(name, scope.known()) or there_are(scope.known())
                self.reading.say(place, f'{label}undefined parameter "{name}"{near}')
            elif fault is None and (filled := scope.filled(value, place, label)):
                found[name] = frozen(filled[0])
        return found

    def _add(
        self, own: Own, node: str, at: KeyPath, table: NodeTable, given: Mapping[str, Parameter]
    ) -> None:
        own.tables.append((at, table))
        for name, value in given.items():
            place = (*at, "parameters", name)
            if name in own.ats:
                where = self.reading.place(own.ats[name])
                message = f'node "{node}": the parameter "{name}" is given already at {where}'
                self.reading.say(place, message)
            own.ats.setdefault(name, place)
            own.parameters.setdefault(name, value)


def _refuse_missing(reading: Reading, categories: Iterable[Category], own: Mapping[str, Own]) -> None:
    """Tell of nodes that lack a parameter which each node of their category needs."""
    for each in categories:
        names = {name: one for one in each.settings if (name := missing_in(one.value)) is not None}
        for name, setting in names.items():
            if not each.nodes:
                message = f'"nodes" is missing: each of them needs a value for the parameter "{name}"'
                reading.say(setting.at, f'category "{each.table.name}": {message}')
            lacking = [node for node in each.nodes if node not in own or name not in own[node].parameters]
            if lacking:
                reading.say(
                    setting.at,
                    f'category "{each.table.name}": {folded(lacking)} has no value for the parameter '
                    f'"{name}", which each node needs',
                    f'[[node]] names = "{lacking[0]}", parameters = {{ {name} = … }}',
                )


def _refuse_same_address(
    reading: Reading, categories: Iterable[Category], special: Mapping[str, list[Wanted]]
) -> None:
    """Tell of nodes that have the same address on the network under VXLAN."""
    nodes: dict[str, dict[str, KeyPath]] = {}
    for node, items in special.items():
        for item in items:
            if item.ref.name.endswith(ADDRESS):
                nodes.setdefault(str(item.exact["value"]), {})[node] = item.at
    for each in categories:
        for one in each.settings:
            if one.name.endswith(ADDRESS) and missing_in(one.value) is None:
                alike = [node for node in each.nodes if not special.get(node)]
                nodes.setdefault(one.value, {}).update(dict.fromkeys(alike, one.at))
    for address, places in nodes.items():
        if len(places) > 1:
            message = f"{folded(places)} have the same local_ip, {address}"
            reading.say(("neutron", "local_ip"), message, "each node has its own, from a parameter")
