"""``[rollout]`` of a cluster file being read; what is wrong with it is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from pipeline.cluster.nodesets import folded
from pipeline.cluster.reading import Reading
from pipeline.cluster.rolling import RACK, Rollout, Share
from pipeline.cluster.rollout_written import CephTable, HookTables, NovaTable, SlurmTable, VirtualTable
from pipeline.cluster.written import RolloutTable
from pipeline.nearest import nearest
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.tables import dotted

OSD_HOSTS = "osd-hosts"
"""A label that is no file's to give: nodes with OSDs are taken one at a time."""

LABEL = "[rollout]: "
PERCENT = re.compile(r"(\d{1,3})\s*%")
NUMBER = re.compile(r"\d{1,6}")
MOST_NODES = 999_999
WHOLE = re.compile(r"-?\d+")
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*(s|min|m|h|d|)")
SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
MOST_SECONDS = 30 * 86400
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
HOOKS = ("ceph", "nova", "slurm", "virtual")
"""Those that every site can have, by their tables."""


def rollout_of(reading: Reading, categories: Iterable[str]) -> Rollout:
    """What the file says of rollouts; ``categories`` are those that it has. Without a table the usual."""
    named = reading.file.with_suffix("")
    usual = tuple(sorted(named.glob("test_*.py"))) if named.is_dir() else ()
    table = reading.one("rollout", RolloutTable)
    if table is None:
        return Rollout(tests=usual)
    known = tuple(categories)
    taken = _Taken(reading)
    labels = taken.labels(table)
    return Rollout(
        canary=taken.positive(("canary",), table.canary),
        max_unavailable=taken.share(("max_unavailable",), table.max_unavailable),
        failure_budget=taken.budget(("failure_budget",), table.failure_budget),
        on_failure=table.on_failure,
        install=table.install,
        skip_down=table.skip_down,
        domains=taken.domains(table, labels),
        labels=labels,
        waits=taken.waits(table),
        tests=usual if table.tests is None else taken.files(("tests",), table.tests),
        tests_of=taken.tests_of(table, known),
        ignore=taken.ignore(table),
        hooks=taken.hooks(table),
        tables=taken.tables(table, known),
    )


class _Taken(msgspec.Struct):
    """Values of the table, each checked by itself."""

    reading: Reading

    def say(self, at: KeyPath, message: str, hint: str | None = None) -> None:
        self.reading.say(("rollout", *at), f"{LABEL}{message}", hint)

    def positive(self, at: KeyPath, number: int) -> int:
        if number < 1:
            self.say(at, f'"{at[-1]}" is at least 1, got {number}')
        return number

    def share(self, at: KeyPath, written: int | str, least: int = 1) -> Share:
        """A number of nodes or a percentage, neither of which is below ``least``."""
        text = str(written).strip()
        percent = PERCENT.fullmatch(text)
        if percent is None and not NUMBER.fullmatch(text):
            what = f'no number of nodes: "{text}"'
            if WHOLE.fullmatch(text):
                limit = f"at least {least}" if text.startswith("-") else f"at most {MOST_NODES}"
                what = f"{limit}, got {text}"
            self.say(at, f'"{dotted(at)}" is {what}', 'write 4, or "10%" of the nodes of a rollout')
            return Share(1)
        found = Share(int(percent[1] if percent else text), percent is not None)
        if found.number < least:
            self.say(at, f'"{dotted(at)}" is at least {least}, got {found}')
        elif found.is_percent and found.number > 100:
            self.say(at, f'"{dotted(at)}" is at most 100%, got {found}')
        return found

    def budget(self, at: KeyPath, written: int | str) -> Share:
        """As ``share``, and not all of the nodes: nothing could exceed it."""
        found = self.share(at, written, least=0)
        if found == Share(100, is_percent=True):
            self.say(at, f'"{dotted(at)}" is at most 99%, got {found}: all nodes could fail')
        return found

    def waits(self, table: RolloutTable) -> Mapping[str, float]:
        written = {
            key: value for key, value in msgspec.structs.asdict(table.waits).items() if value is not None
        }
        found = {key: self._seconds(("waits", key), value) for key, value in written.items()}
        return {key: seconds for key, seconds in found.items() if seconds is not None}

    def _seconds(self, at: KeyPath, written: float | str) -> float | None:
        match = DURATION.fullmatch(str(written).strip())
        seconds = float(match[1]) * SECONDS[match[2]] if match else 0.0
        if match is None:
            self.say(at, f'"{dotted(at)}" is no time: {written}', 'write seconds, or "90s", "45m", "3h"')
        elif not 0 < seconds <= MOST_SECONDS:
            self.say(at, f'"{dotted(at)}" is more than 0 s and at most 30 days, got {written}')
        else:
            return seconds
        return None

    def labels(self, table: RolloutTable) -> dict[str, dict[str, str]]:
        """The labels of each node; one that is given twice is told."""
        found: dict[str, dict[str, str]] = {}
        for index, each in enumerate(table.label):
            at: KeyPath = ("label", index)
            label = f"label {index + 1}: "
            given = {key: value for key, value in each.items() if key != "nodes"}
            if "nodes" not in each:
                self.say(at, f'{label}the key "nodes" is missing')
                continue
            if not given:
                self.say(at, f"{label}it gives no label", f'{RACK} = "r1"')
            for key, value in given.items():
                self._name((*at, key), label, key, value)
            names = self.reading.nodes(("rollout", *at, "nodes"), each["nodes"], f"{LABEL}{label}")
            for key, value in given.items():
                twice = [name for name in names if found.get(name, {}).get(key, value) != value]
                if twice:
                    self.say((*at, key), f'{label}{folded(twice)} has another "{key}" already')
                for name in names:
                    found.setdefault(name, {}).setdefault(key, value)
        return found

    def _name(self, at: KeyPath, label: str, key: str, value: str) -> None:
        if key == OSD_HOSTS:
            self.say(at, f'{label}"{key}" is the label of the nodes with OSDs, and given to them anyway')
        for text in (key, value):
            if not NAME.fullmatch(text):
                self.say(at, f'{label}"{text}" is no name: letters, digits and . _ - only')

    def domains(self, table: RolloutTable, labels: Mapping[str, Mapping[str, str]]) -> dict[str, Share]:
        """The limits; a label that no node has, or that has no limit, is told."""
        known = {RACK, *(key for given in labels.values() for key in given)}
        found: dict[str, Share] = {}
        for name, written in table.domains.items():
            at: KeyPath = ("domains", name)
            if name == OSD_HOSTS:
                self.say(at, f'"{name}" has a limit of one, which is no file\'s to change')
            elif name not in known:
                near = nearest(name, known) or there_are(known)
                self.say(at, f'"domains": no [[rollout.label]] gives "{name}" to a node{near}')
            else:
                found[name] = self.share(at, written)
        for index, each in enumerate(table.label):
            for key in each.keys() - {"nodes", OSD_HOSTS}:
                if key not in table.domains:
                    hint = f"[rollout.domains]: {key} = 1"
                    self.say(("label", index, key), f'the label "{key}" has no limit in "domains"', hint)
        return found

    def files(self, at: KeyPath, names: Iterable[str]) -> tuple[Path, ...]:
        """Files beside the cluster file; one that isn't there is told."""
        found = []
        for index, name in enumerate(names):
            file = self.reading.file.parent / name
            if not name or name.startswith("/") or ".." in Path(name).parts:
                self.say((*at, index), f'"{name}" is no path beside the cluster file')
            elif not file.is_file():
                self.say((*at, index), f'there is no file "{name}" beside the cluster file')
            elif not file.name.endswith(".py"):
                self.say((*at, index), f'"{name}" is no file of tests: its name ends in .py')
            else:
                found.append(file)
        return tuple(found)

    def tests_of(self, table: RolloutTable, categories: tuple[str, ...]) -> dict[str, tuple[Path, ...]]:
        found = {}
        for name, files in table.tests_of.items():
            if name not in categories:
                near = nearest(name, categories) or there_are(categories)
                self.say(("tests_of", name), f'"tests_of": the file has no category "{name}"{near}')
            found[name] = self.files(("tests_of", name), files)
        return found

    def ignore(self, table: RolloutTable) -> tuple[str, ...]:
        for index, path in enumerate(table.ignore):
            if not path.startswith("/") or path == "/" or ".." in path.split("/"):
                self.say(("ignore", index), f'"ignore": "{path}" is no absolute path of a part of the image')
        return table.ignore

    def hooks(self, table: RolloutTable) -> tuple[str, ...]:
        """Their names; an unknown one is told, and a table that none of them uses."""
        own = [command.name for command in table.command]
        for index, name in enumerate(own):
            at: KeyPath = ("command", index)
            if name in (*HOOKS, *own[:index]) or not NAME.fullmatch(name):
                self.say((*at, "name"), f'command {index + 1}: "{name}" is no name that is free')
            command = table.command[index]
            if not (command.before or command.after or command.find):
                self.say(at, f'command "{name}": one of "before", "after" and "find" is needed')
        known = (*HOOKS, *own)
        for index, name in enumerate(table.hooks):
            if name not in known:
                near = nearest(name, known) or there_are(known)
                self.say(("hooks", index), f'"hooks": unknown hook "{name}"{near}')
            elif name in table.hooks[:index]:
                self.say(("hooks", index), f'"hooks": "{name}" is said twice')
        for name in HOOKS:
            if getattr(table, name) is not None and name not in table.hooks:
                self.say((name,), f'"{name}" is not among "hooks": nothing uses this table')
        for index, name in enumerate(own):
            if name not in table.hooks:
                self.say(("command", index), f'command "{name}" is not among "hooks": nothing runs it')
        return table.hooks

    def tables(self, table: RolloutTable, categories: tuple[str, ...]) -> HookTables:
        """What is said of each hook; node sets and categories that are not there are told."""
        for at, each in (
            (("nova",), table.nova),
            (("slurm",), table.slurm),
            *((("command", index), command) for index, command in enumerate(table.command)),
        ):
            if each is None:
                continue
            if each.nodes:
                self.reading.nodes(("rollout", *at, "nodes"), each.nodes, f"{LABEL}{dotted(at)}: ")
            for index, name in enumerate(each.categories):
                if name not in categories:
                    near = nearest(name, categories) or there_are(categories)
                    what = f'"{dotted(at)}.categories": the file has no category "{name}"{near}'
                    self.say((*at, "categories", index), what)
        return HookTables(
            table.ceph or CephTable(),
            table.nova or NovaTable(),
            table.slurm or SlurmTable(),
            table.virtual or VirtualTable(),
            table.command,
            dict(self.reading.groups),
        )
