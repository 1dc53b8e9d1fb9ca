"""``file`` and ``service`` tables of the head node, a category or a node, as objects that are wanted."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from pipeline.cluster import neutron as generators
from pipeline.cluster.neutron import Neutron
from pipeline.cluster.objects import Ref, Value, Wanted
from pipeline.cluster.opensm import partitions
from pipeline.cluster.reading import OPEN, Reading
from pipeline.cluster.written import FileTable, HeadServiceTable, ServiceTable
from pipeline.nearest import nearest
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath

Owner: TypeAlias = Literal["head", "category", "node"]

SOURCES = ("generate", "content", "words", "set", "add")

SECTION = re.compile(r"[^\[\]\s]([^\[\]]*[^\[\]\s])?")
KEY = re.compile(r"[^#;\[\]=:\s\"]([^\[\]=:\"]*[^\[\]=:\s\"])?")
WORD = re.compile(r"[^\s#]+")
MODE = re.compile(r"0?[0-7]{3,4}")
OWNER = re.compile(r"(?![0-9]+:)[A-Za-z0-9_][\w.-]*:(?![0-9]+\Z)[A-Za-z0-9_][\w.-]*", re.ASCII)


class Setting(msgspec.Struct, frozen=True):
    """A key of an INI file, before it is known whose. ``name`` is FILE[SECTION]KEY."""

    name: str
    file: str
    value: str
    replaces: bool
    at: KeyPath


def check_files(
    reading: Reading, at: KeyPath, files: Sequence[FileTable], owner: Owner, neutron: Neutron | None
) -> None:
    """Tell what is wrong with the ``file`` tables at ``at``, whoever has them."""
    seen: dict[str, int] = {}
    for index, file in enumerate(files):
        place = (*at, "file", index)
        label = f'file "{file.path}": '
        first = seen.setdefault(file.path, index)
        if first != index and (_is_whole(file) or _is_whole(files[first])):
            where = reading.place((*at, "file", first))
            reading.say(place, f"{label}what is in it is said already at {where}")
        _check_path(reading, place, file, label)
        _check_form(reading, place, file, label, owner, neutron)
        for how in ("set", "add"):
            sections = getattr(file, how)
            if sections is not None:
                _check_set(reading, (*place, how), sections, label)
        if file.words == {}:
            reading.say((*place, "words"), f"{label}words names no line")
        for key, value in (file.words or {}).items():
            if not WORD.fullmatch(key) or not value or value != value.strip():
                reading.say((*place, "words", key), f'{label}"{key} {value}" is no line of KEY VALUE')


def check_services(
    reading: Reading, at: KeyPath, services: Iterable[ServiceTable], paths: Iterable[str] = ()
) -> None:
    """Tell what is wrong with the ``service`` tables at ``at``; ``paths`` are the files of the head node."""
    known = tuple(paths)
    for index, service in enumerate(services):
        place = (*at, "service", index)
        label = f'service "{service.name}": '
        reading.name((*place, "name"), service.name, label)
        after = service.restart_after if isinstance(service, HeadServiceTable) else ()
        for number, path in enumerate(after):
            if path not in known:
                near = nearest(path, known) or there_are(known)
                reading.say((*place, "restart_after", number), f'{label}no file "{path}" here{near}')


def settings_of(at: KeyPath, files: Iterable[FileTable], neutron: Neutron | None) -> tuple[Setting, ...]:
    """The keys that ``file`` tables set or generate, in order. Those that only nodes have a value for too."""
    found: list[Setting] = []
    for index, file in enumerate(files):
        place = (*at, "file", index)
        if file.generate in ("ml2", "linuxbridge") and neutron is not None:
            make = generators.ml2 if file.generate == "ml2" else generators.linuxbridge
            found += [
                Setting(f"{file.path}[{key.section}]{key.name}", file.path, key.value, key.replaces, place)
                for key in make(neutron)
            ]
        for how, sections in (("set", file.set), ("add", file.add)):
            found += [
                Setting(
                    f"{file.path}[{section}]{key}",
                    file.path,
                    str(value),
                    how == "set",
                    (*place, how, section, key),
                )
                for section, keys in (sections or {}).items()
                for key, value in keys.items()
            ]
    return tuple(found)


def wanted_settings(owner: Ref, settings: Iterable[Setting]) -> list[Wanted]:
    """The settings of one owner."""
    of = str(owner)
    return [
        Wanted(Ref("setting", one.name, of), {"value": one.value, "replaces": one.replaces}, at=one.at)
        for one in settings
        if OPEN not in one.value
    ]


def wanted_files(
    owner: Ref, at: KeyPath, files: Iterable[FileTable], neutron: Neutron | None
) -> list[Wanted]:
    """The whole files of one owner, and those of which some lines are wanted."""
    found: list[Wanted] = []
    for index, file in enumerate(files):
        exact: dict[str, Value] = {}
        words: Mapping[str, tuple[str, ...]] = {}
        if file.content is not None:
            exact["content"] = file.content
        elif file.generate == "partitions" and neutron is not None:
            ranges = [part for provider in neutron.infiniband for part in provider.ranges]
            exact["content"] = partitions(ranges)
        elif file.words is not None:
            words = {"words": tuple(f"{key} {value}" for key, value in file.words.items())}
        else:
            continue
        exact |= _access(file)
        found.append(Wanted(Ref("file", file.path, str(owner)), exact, append=words, at=(*at, "file", index)))
    return found


def _access(file: FileTable) -> dict[str, Value]:
    """Mode and owner as they are read back: four octal digits, and names."""
    found: dict[str, Value] = {}
    if file.mode is not None and MODE.fullmatch(file.mode):
        found["mode"] = f"{int(file.mode, 8):04o}"
    if file.owner is not None:
        found["owner"] = file.owner
    return found


def wanted_services(owner: Ref, at: KeyPath, services: Iterable[ServiceTable]) -> list[Wanted]:
    """The services of one owner."""
    of = str(owner)
    found = []
    for index, service in enumerate(services):
        place = (*at, "service", index)
        said = {key: getattr(service, key, None) for key in ("autostart", "monitored", "running")}
        exact = {key: value for key, value in said.items() if value is not None}
        ats = {key: (*place, key) for key in exact}
        found.append(Wanted(Ref("service", service.name, of), exact, at=place, ats=ats))
    return found


def restarts_of(
    owner: Ref, services: Iterable[HeadServiceTable], objects: Iterable[Wanted]
) -> dict[Ref, tuple[Ref, ...]]:
    """The services of ``owner`` that are restarted, and after a change of which of ``objects``."""
    after: dict[str, list[Ref]] = {}
    for item in objects:
        path = item.ref.name.partition("[")[0] if item.ref.kind == "setting" else item.ref.name
        after.setdefault(path, []).append(item.ref)
    return {
        Ref("service", service.name, str(owner)): tuple(
            ref for path in service.restart_after for ref in after.get(path, ())
        )
        for service in services
        if service.restart_after
    }


def _is_whole(file: FileTable) -> bool:
    """Whether more than keys of the file are said."""
    return file.generate == "partitions" or file.content is not None or file.words is not None


def path_fault(path: str) -> str:
    """Why ``path`` can't be that of a configuration file; empty if it can."""
    if not path.startswith("/") or posixpath.normpath(path) != path or path == "/":
        return "has to be an absolute path, without . and .. and double slashes"
    if re.search(r"[\[\]=\"'\\]", path):
        return "no path of a configuration file has such a character"
    return ""


def _check_path(reading: Reading, at: KeyPath, file: FileTable, label: str) -> None:
    fault = path_fault(file.path)
    if fault:
        reading.say((*at, "path"), f"{label}{fault}")


def _check_form(
    reading: Reading, at: KeyPath, file: FileTable, label: str, owner: Owner, neutron: Neutron | None
) -> None:
    given = [name for name in SOURCES if getattr(file, name) is not None]
    if given != ["set", "add"] and len(given) != 1:
        told = "given: " + ", ".join(given) if given else "none is given"
        reading.say(at, f"{label}one of {', '.join(SOURCES)} says what is in it; {told}")
    whole = _is_whole(file)
    if whole and owner != "head":
        reading.say(
            at,
            f"{label}only keys of a file can be set on a {owner}",
            "whole files of nodes belong in the recipe of their image",
        )
    if file.generate and "neutron" not in reading.tables:
        reading.say((*at, "generate"), f"{label}it is generated from [neutron], which is missing")
    if file.generate == "partitions" and neutron is not None and not neutron.infiniband:
        reading.say((*at, "generate"), f'{label}no provider has fabric = "infiniband"')
    if file.generate == "linuxbridge" and neutron is not None:
        _check_interfaces(reading, at, file.path, neutron)
    by_names = (
        "the user's and the group's name, as they are read back: a number would never be found to be there"
    )
    for key, form, example, hint in (("mode", MODE, "0644", None), ("owner", OWNER, "root:root", by_names)):
        value = getattr(file, key)
        if value is not None and not whole:
            reading.say((*at, key), f'{label}"{key}" is for whole files only')
        elif value is not None and not form.fullmatch(value):
            reading.say((*at, key), f'{label}"{key}" is written like "{example}", got {value!r}', hint)


def _check_interfaces(reading: Reading, at: KeyPath, path: str, neutron: Neutron) -> None:
    for index, provider in enumerate(neutron.providers):
        if not provider.interface and generators.is_bridged(provider, neutron):
            where = reading.place((*at, "generate"))
            reading.say(
                ("neutron", "provider", index),
                f'provider "{provider.name}": "interface" is missing, which {path} needs ({where})',
            )


def _check_set(
    reading: Reading, at: KeyPath, sections: Mapping[str, Mapping[str, object]], label: str
) -> None:
    if not any(sections.values()):
        reading.say(at, f"{label}{at[-1]} names no key")
    for section, keys in sections.items():
        if not SECTION.fullmatch(section):
            reading.say((*at, section), f"{label}{section!r} cannot be the name of a section")
        for key, value in keys.items():
            if not KEY.fullmatch(key):
                reading.say((*at, section, key), f"{label}{key!r} cannot be the name of a key")
            if isinstance(value, float) and not math.isfinite(value):
                what = f"{label}[{section}]{key}: {value} is no number that a file can have"
                reading.say((*at, section, key), what, "as text it can stand there: in quotes")
            if isinstance(value, str) and value != value.strip():
                what = f"{label}[{section}]{key}: {value!r} has blanks at its ends, which nobody would read"
                reading.say((*at, section, key), what)
