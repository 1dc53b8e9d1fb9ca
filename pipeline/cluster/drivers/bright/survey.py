"""Everything about nodes that a rollout wants to know, in a few calls; and what it asks again and again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import tzinfo

import msgspec

from pipeline.cluster.drivers.bright import nodestates
from pipeline.cluster.drivers.bright.moments import zone_of
from pipeline.cluster.drivers.bright.parse import Answer, Row, UnexpectedError
from pipeline.cluster.drivers.bright.quote import unsafe_name
from pipeline.cluster.drivers.bright.read import END, CutError, List, ask, inside, over, tables
from pipeline.cluster.drivers.bright.session import Session
from pipeline.cluster.drivers.bright.words import TRUE, key, label
from pipeline.cluster.drivers.nodes import CategoryFacts, ImageFacts, NodeFacts, NodeStatus, Survey, Sync
from pipeline.errors import MachineError, PipelineError

NEXT = ("nextinstallmode", "nextinstallmethod")
"""The property of a node's next install mode: the documented one, and that of old releases (the seed)."""

PROVISIONING = "provisioning"
"""The role of whoever serves images."""

HEAD_NODE = "headnode"
VIRTUAL = "virtualnode"

LOCKED = re.compile(r"(?i)(?P<name>\S+)\s.*?\b(?P<locked>yes|no|locked|unlocked|true|false|[01])\s*\Z")


class Reader:
    """What was found out about a head node's cmsh: how it calls the next install mode, and whether its
    ``syncinfo`` speaks JSON."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._next = ""
        self._sync_json: bool | None = None
        self._zone: tzinfo | None = None

    def devices(self, columns: Sequence[str], others: Sequence[List] = ()) -> list[Sequence[Row]]:
        """Rows of all devices with these columns and ``next``, then those of other lists; one call."""
        last: PipelineError | None = None
        for name in (self._next,) if self._next else NEXT:
            wanted = List("device", ("hostname", *columns, name))
            try:
                first, *rest = tables(self.session, [wanted, *others])
            except PipelineError as error:
                if isinstance(error, MachineError) and not isinstance(error, CutError):
                    raise
                last = error  # of an error in words that nobody knows it isn't seen that it is one
                continue
            self._next = name
            rows = [{**row, "next": row[name]} for row in first[""]]
            return [rows, *(table[""] for table in rest)]
        assert last is not None
        self._refuse_release(last)
        raise last

    def _refuse_release(self, error: PipelineError) -> None:
        """Raise something better when it is only the next install mode that isn't known."""
        try:
            tables(self.session, [List("device", ("hostname",))])
        except MachineError:
            raise
        except PipelineError:
            return
        raise PipelineError(
            f"CMDaemon knows neither {' nor '.join(NEXT)} of a node: {error.problems[0].message}",
            where=self.session.head.label,
            hint="a rollout sets the next install mode, which this release doesn't have; nothing was changed",
        )

    @property
    def next(self) -> str:
        """The property of the next install mode; known after ``devices``."""
        return self._next or NEXT[0]

    def statuses(self, nodes: Sequence[str]) -> dict[str, NodeStatus]:
        """How these nodes are; one call, whatever their number."""

        def taken(answer: Answer) -> dict[str, NodeStatus]:
            return nodestates.statuses(answer.until_last(END).splitlines(), nodes)

        found = ask(self.session, ["home", "device", "status"], taken, as_json=False)
        unknown = NodeStatus("unknown", "the manager doesn't tell of it")
        return {node: found.get(node, unknown) for node in nodes}

    def synced(self, nodes: Sequence[str]) -> dict[str, Sync]:
        """The last provisionings of those of which they are known; one call, but for the first time."""
        found: dict[str, Sync] | None = None
        if self._sync_json is not False:
            try:
                found = ask(self.session, ["home", "device", "syncinfo -d {}"], self._listed, as_json=True)
                self._sync_json = True
            except MachineError:
                raise
            except PipelineError:
                if self._sync_json:
                    raise
        if found is None:
            found = ask(self.session, ["home", "device", "syncinfo"], self._printed, as_json=False)
            self._sync_json = False
        return {node: found[node] for node in nodes if node in found}

    def _listed(self, answer: Answer) -> dict[str, Sync]:
        return nodestates.syncs(answer.array(), self._clock)

    def _printed(self, answer: Answer) -> dict[str, Sync]:
        """A padded table, blocks of lines, or nothing for nobody was ever provisioned."""
        text = answer.until_last(END)
        if not text.strip():
            return {}
        within = Answer(text, as_json=False)
        rows: Sequence[Row]
        try:
            rows = within.any_table()
        except UnexpectedError:
            rows = nodestates.blocks(text)
        return nodestates.syncs(rows, self._clock)

    def _clock(self) -> tzinfo:
        if self._zone is None:
            self._zone = zone_of(self.session.head)
        return self._zone

    def instances(self, nodes: Sequence[str]) -> dict[str, str]:
        """The ids of virtual nodes' instances."""
        if not nodes:
            return {}

        def taken(answer: Answer) -> dict[str, str]:
            waiting, found = set(nodes), dict.fromkeys(nodes, "")
            while waiting:
                name = answer.name(waiting)
                waiting.discard(name)
                line = answer.line()
                if line is not None and line not in waiting and re.fullmatch(r"\S+", line):
                    found[name] = answer.take_line()
            return found

        commands = inside("device", nodes, ("virtualnodesettings", "get instanceid"))
        return ask(self.session, commands, taken, as_json=False)

    def survey(self) -> Survey:
        """All nodes, images and categories; five calls."""
        devices, images, categories = self.devices(
            ("type", "category", "status", "softwareimage", "installmode", "datanode", "rack"),
            (
                List("softwareimage", ("name", "path")),
                List("category", ("name", "softwareimage", "installmode", "datanode")),
            ),
        )
        names = [_text(row["name"]) for row in categories]
        of_category = {_text(row["name"]): row for row in categories}
        nodes = [row for row in devices if _type(row).endswith("node") and _type(row) != HEAD_NODE]
        roles, above = self._roles([_text(row["hostname"]) for row in nodes], names)
        layouts, locked = self._disk_setups("category", names), self._locked()
        own = self._own_layouts([_text(row["hostname"]) for row in nodes])
        facts = {
            node.name: msgspec.structs.replace(node, disk_setup=_own(own, node.name, layouts, node.category))
            for node in (_node(row, of_category, roles, above) for row in nodes)
        }
        return Survey(
            facts,
            {
                name: ImageFacts(name, _text(row["path"]), name in locked)
                for row in images
                if (name := _text(row["name"]))
            },
            {
                name: CategoryFacts(name, _text(row["softwareimage"]), layouts.get(name, ""))
                for name, row in of_category.items()
            },
            tuple(name for name, node in facts.items() if PROVISIONING in map(str.lower, node.roles)),
        )

    def _roles(
        self, nodes: Sequence[str], categories: Sequence[str]
    ) -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]]:
        lists = [
            List("device", ("name",), "roles", tuple(nodes)),
            List("category", ("name",), "roles", tuple(categories)),
        ]
        # A name with more to it (``[category:default] boot``) is that of something inherited.
        own, above = (
            {
                owner: tuple(name for row in rows if not unsafe_name(name := _text(row["name"])))
                for owner, rows in table.items()
            }
            for table in tables(self.session, lists)
        )
        return own, above

    def _disk_setups(self, mode: str, names: Sequence[str]) -> dict[str, str]:
        """The layout's text of each of these; a node's may be its category's."""
        if not names:
            return {}
        block = (f"get {key(mode)}", "get disksetup", f"get {key(mode)}")

        def taken(answer: Answer) -> dict[str, str]:
            waiting, found = set(names), {}
            while waiting:
                name = answer.name(waiting)
                waiting.discard(name)
                found[name] = answer.between(name).strip()
            return found

        return ask(self.session, ["home", mode, over(mode, names, block)], taken, as_json=False)

    def _own_layouts(self, nodes: Sequence[str]) -> dict[str, str]:
        """Layouts of nodes; none where cmsh has them for categories only."""
        try:
            return self._disk_setups("device", nodes)
        except PipelineError as error:
            if isinstance(error, MachineError) and not isinstance(error, CutError):
                raise
            return {}

    def _locked(self) -> frozenset[str]:
        """Images that are locked; none where cmsh doesn't tell: a lock only makes installs wait."""
        ran = self.session.run("softwareimage\nislocked\n", seconds=self.session.head.answer_seconds)
        found = (LOCKED.match(line) for line in ran.out.splitlines())
        return frozenset(
            match["name"] for match in found if match and match["locked"].lower() in (*TRUE, "locked")
        )


def _node(
    row: Row,
    categories: Mapping[str, Row],
    roles: Mapping[str, tuple[str, ...]],
    above: Mapping[str, tuple[str, ...]],
) -> NodeFacts:
    name, category = _text(row["hostname"]), _text(row["category"])
    of_category = categories.get(category, {})
    image, is_inherited = nodestates.inherited(_text(row["softwareimage"]))
    mode, _ = nodestates.inherited(_text(row["installmode"]))
    return NodeFacts(
        name=name,
        status=nodestates.status(_text(row["status"])),
        category=category,
        image=image or _text(of_category.get("softwareimage")),
        own_image="" if is_inherited else image,
        install_mode=mode or _text(of_category.get("installmode")) or "AUTO",
        next_install_mode=_text(row["next"]),
        is_data_node=_is(row["datanode"]) or _is(of_category.get("datanode")),
        is_virtual=_type(row) == VIRTUAL,
        rack=_text(row["rack"]),
        roles=tuple(dict.fromkeys((*roles.get(name, ()), *above.get(category, ())))),
    )


def _own(own: Mapping[str, str], node: str, above: Mapping[str, str], category: str) -> str:
    """A node's layout, where it isn't its category's: with that one's text, or said to be so behind it."""
    text = own.get(node, "")
    is_layout = text.startswith("<") and text.endswith(">") and "disksetup" in text.lower()
    return text if is_layout and text != above.get(category) else ""


def _type(row: Row) -> str:
    return label(_text(row["type"]))


def _is(value: object) -> bool:
    return nodestates.inherited(_text(value))[0].lower() in TRUE


def _text(value: object) -> str:
    """A cell as text, whatever JSON made of it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
