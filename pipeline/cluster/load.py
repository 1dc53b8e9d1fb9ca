"""Cluster files as plain data, or everything that is wrong with them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pipeline.cluster import parameters, providers
from pipeline.cluster.agreement import check_agreement
from pipeline.cluster.imaging import images_of
from pipeline.cluster.members import members_of
from pipeline.cluster.model import Cluster, Firmware
from pipeline.cluster.networks import read_networks
from pipeline.cluster.neutron import Neutron
from pipeline.cluster.nodesets import expanded
from pipeline.cluster.objects import HEAD, Ref, Wanted
from pipeline.cluster.owned import (
    check_files,
    check_services,
    restarts_of,
    settings_of,
    wanted_files,
    wanted_services,
    wanted_settings,
)
from pipeline.cluster.reading import Reading
from pipeline.cluster.rolling_reading import rollout_of
from pipeline.cluster.written import ClusterTable, FirmwareTable, HeadTable
from pipeline.errors import Problem, UsageError
from pipeline.nearest import nearest
from pipeline.recipe.documents import read_document
from pipeline.recipe.findings import Findings
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.load import load_recipes, recipe_names
from pipeline.recipe.model import Recipe, Site
from pipeline.recipe.names import file_name_fault

FOLDER = "clusters"


def cluster_names(site: Site) -> tuple[str, ...]:
    """The cluster files that there are, sorted."""
    return tuple(sorted(file.stem for file in (site.recipes / FOLDER).glob("*.toml")))


def only_cluster(site: Site) -> str:
    """The name of the only cluster file. Raises ``UsageError`` when there is none, or several."""
    names = cluster_names(site)
    if len(names) == 1:
        return names[0]
    raise UsageError(
        f"which cluster? There are: {', '.join(names)}" if names else f"no file in {site.recipes / FOLDER}",
        hint="name it" if names else "write recipes/clusters/NAME.toml, or let an import write it",
        command=None if names else "pipeline cluster import NAME",
    )


def load_cluster(name: str, site: Site) -> Cluster:
    """The cluster ``name`` of ``site``, from ``recipes/clusters/NAME.toml``.

    Raises ``UsageError`` with every problem of the file, of the recipes that it refers to, and of what has to
    agree between them. Nothing is run, and no cluster is asked.
    """
    return load_file(name, cluster_file(name, site), site)


def usual_file(name: str, site: Site) -> Path:
    """Where the file of the cluster ``name`` is, if there is one."""
    return site.recipes / FOLDER / f"{name}.toml"


def cluster_file(name: str, site: Site) -> Path:
    """The file of the cluster ``name``. Raises ``UsageError`` when there is none, or can be none."""
    file, fault = usual_file(name, site), file_name_fault(name)
    if fault or not file.exists():
        known = cluster_names(site)
        told = f'the name "{name}" {fault}' if fault else f'no cluster "{name}"'
        raise UsageError(
            f"{told}{nearest(name, known) or there_are(known)}", where=str(site.recipes / FOLDER)
        )
    return file


def load_file(name: str, file: Path, site: Site) -> Cluster:
    """As ``load_cluster``, from a ``file`` that may lie elsewhere."""
    findings = Findings()
    document = read_document(file, findings)
    problems: tuple[Problem, ...] = ()
    cluster = None
    if document is not None:
        loading = _Loading(Reading(document, findings), site)
        cluster = loading.cluster(name)
        problems = loading.recipe_problems
    try:
        findings.raise_if_any()
    except UsageError as error:
        raise UsageError((*problems, *error.problems)) from None
    if problems:
        raise UsageError(problems)
    assert cluster is not None  # everything that makes it None has been told
    return cluster


class _Loading(msgspec.Struct):
    """One file. ``recipe_problems`` are those of the recipes that it refers to."""

    reading: Reading
    site: Site
    recipe_problems: tuple[Problem, ...] = ()
    wanted: list[Wanted] = msgspec.field(default_factory=list)
    restarts: dict[Ref, tuple[Ref, ...]] = msgspec.field(default_factory=dict)

    def cluster(self, name: str) -> Cluster | None:
        reading = self.reading
        table = self._table(name)
        recipes = self._recipes(table)
        parameters.fill_scope(reading, self._of(table, recipes))
        self._groups()
        neutron = providers.understood(reading)
        images = images_of(reading, self.site, recipes)
        self.wanted += images.wanted
        self.wanted += members_of(reading, neutron)
        self._head(neutron)
        networks = read_networks(reading, neutron)
        self.wanted += networks.wanted
        firmware = self._firmware()
        rollout = rollout_of(reading, self._categories())
        self._need(firmware)
        self._refuse_twice()
        agreeing = {recipe.name: recipe for recipe in self._of(table, recipes)}
        named = [item.ref.name for item in images.wanted]
        agreeing |= {name: recipes[name] for name in named if name in recipes}
        check_agreement(reading, neutron, networks, self.wanted, tuple(agreeing.values()))
        parameters.finish_scope(reading, self._of(table, recipes))
        if table is None:
            return None
        return Cluster(
            name=name,
            summary=table.summary,
            file=reading.file,
            parameters=reading.scope.parameters,
            wanted=tuple(self.wanted),
            restarts=self.restarts,
            firmware=firmware,
            rollout=rollout,
            groups=reading.groups,
            node_parameters=reading.node_parameters,
            notes=providers.notes(neutron) if neutron else (),
            files=(reading.file, *dict.fromkeys(file for one in agreeing.values() for file in one.files)),
            appended=images.appended,
            head=(self.site.head.address or self.site.head.root) if self.site.head else "",
            role=self.site.head.role if self.site.head else "",
        )

    def _table(self, name: str) -> ClusterTable | None:
        # Its values stand before there are parameters.
        table = self.reading.one("cluster", ClusterTable)
        if table is not None and table.name != name:
            message = f'[cluster]: the name "{table.name}" is not that of the file, "{name}"'
            self.reading.say(("cluster", "name"), message)
        return table

    def _recipes(self, table: ClusterTable | None) -> dict[str, Recipe]:
        """The recipes whose parameters are known here, and those of the images."""
        known = recipe_names(self.site)
        for index, name in enumerate(table.parameters_of if table else ()):
            if name not in known:
                near = nearest(name, known) or there_are(known)
                message = f'[cluster]: no recipe "{name}"{near}'
                self.reading.say(("cluster", "parameters_of", index), message)
                self.reading.scope.blind = self.reading.scope.partial = True
        asked = [*(table.parameters_of if table else ())]
        images = [raw.get("name") for raw in self.reading.tables.get("image", ())]
        asked += [name for name in images if isinstance(name, str)]
        names = [name for name in dict.fromkeys(asked) if name in known]
        try:
            return {recipe.name: recipe for recipe in load_recipes(names, self.site)}
        except UsageError as error:
            self.recipe_problems = error.problems
            self.reading.scope.blind = self.reading.scope.partial = True
            return {}

    def _of(self, table: ClusterTable | None, recipes: dict[str, Recipe]) -> list[Recipe]:
        return [recipes[name] for name in (table.parameters_of if table else ()) if name in recipes]

    def _groups(self) -> None:
        reading = self.reading
        for name, text in reading.tables.get("groups", {}).items():
            if not isinstance(text, str):
                reading.say(("groups", name), f'[groups]: "{name}" is no node set')
                continue
            filled = reading.scope.filled(text, ("groups", name), "[groups]: ")
            if filled:
                reading.groups[name] = filled[1]
                reading.nodes(("groups", name), filled[1], f'[groups]: "{name}": ')

    def _head(self, neutron: Neutron | None) -> None:
        table = self.reading.one("head", HeadTable)
        if table is None:
            return
        at = ("head",)
        check_files(self.reading, at, table.file, "head", neutron)
        check_services(self.reading, at, table.service, [file.path for file in table.file])
        settings = settings_of(at, table.file, neutron)
        for one in settings:
            if (name := parameters.missing_in(one.value)) is not None:
                message = f'{one.name}: the parameter "{name}" has a value for single nodes only'
                self.reading.say(one.at, message)
        objects = [
            *wanted_settings(HEAD, settings),
            *wanted_files(HEAD, at, table.file, neutron),
        ]
        self.wanted += [*objects, *wanted_services(HEAD, at, table.service)]
        self.restarts |= restarts_of(HEAD, table.service, objects)

    def _firmware(self) -> Firmware | None:
        table = self.reading.one("firmware", FirmwareTable)
        if table is None:
            return None
        for index, name in enumerate(table.categories):
            self.reading.name(("firmware", "categories", index), name, "[firmware]: ")
        if table.nodes:
            self.reading.nodes(("firmware", "nodes"), table.nodes, "[firmware]: ")
        if not table.directory.startswith("/"):
            self.reading.say(("firmware", "directory"), '[firmware]: "directory" has to be an absolute path')
        return Firmware(
            table.categories,
            table.nodes,
            table.head,
            table.directory,
            table.remove,
            table.options,
            table.vfs,
        )

    def _categories(self) -> tuple[str, ...]:
        return tuple(item.ref.name for item in self.wanted if item.ref.kind == "category")

    def _need(self, firmware: Firmware | None) -> None:
        """Want categories and nodes of the firmware step to be there, so that a plan tells which are not."""
        # Whose belongings are wanted has to be there anyway.
        known = {str(item.ref) for item in self.wanted} | {item.ref.of for item in self.wanted}
        needed: list[tuple[Ref, KeyPath]] = []
        if firmware is not None:
            names = enumerate(firmware.categories)
            needed += [(Ref("category", name), ("firmware", "categories", index)) for index, name in names]
            found = expanded(firmware.nodes, self.reading.groups).names if firmware.nodes else ()
            nodes = [Ref("node", name) for name in found if name != HEAD.name]
            needed += [(ref, ("firmware", "nodes")) for ref in nodes]
        for ref, at in needed:
            if str(ref) not in known:
                known.add(str(ref))
                self.wanted.append(Wanted(ref, make=False, at=at))

    def _refuse_twice(self) -> None:
        """Tell of objects that are said twice: once for each two places, however many nodes it is on."""
        first: dict[Ref, Wanted] = {}
        twice: dict[tuple[object, object], list[Wanted]] = {}
        for item in self.wanted:
            known = first.setdefault(item.ref, item)
            if known is not item:
                twice.setdefault((known.at, item.at), []).append(item)
        for items in twice.values():
            more = f" (and {len(items) - 1} more)" if len(items) > 1 else ""
            where = self.reading.place(first[items[0].ref].at)
            self.reading.say(items[0].at, f"{items[0].ref}{more} is said already at {where}")
