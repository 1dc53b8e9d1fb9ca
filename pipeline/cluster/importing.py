"""Writing a first cluster file from what a cluster manager has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.cluster.nodesets import folded
from pipeline.cluster.objects import HEAD, Kind, Properties, Ref, State, Value
from pipeline.cluster.opening import driver
from pipeline.errors import UsageError
from pipeline.recipe.model import Site
from pipeline.recipe.names import file_name_fault
from pipeline.store.filesystem import told, write_whole

HEADER = """#:schema ../schema/cluster.json

# Written from what the cluster manager had. Take out what shall not be kept by this file: what it does not
# name is left alone. Numbers that stand in several places are better said once, in [parameters].

[cluster]
name = {name}
summary = "As the cluster manager had it"
"""

SETTING = re.compile(r"(?P<file>[^\[]+)\[(?P<section>[^\]]*)\](?P<key>.+)", re.DOTALL)

BARE = re.compile(r"[A-Za-z0-9_-]+")


def import_cluster(name: str, site: Site, file: Path | None) -> str:
    """The text of a cluster file called ``name`` of the site's cluster; written to ``file`` if there is one.

    A file that is there already is never overwritten.
    """
    fault = file_name_fault(name)
    if fault:
        raise UsageError(f'the name "{name}" {fault}')
    if file is not None and file.exists():
        raise UsageError(
            "there is such a file already",
            where=str(file),
            hint="--out FILE writes another one, --out - prints it",
        )
    text = as_text(name, driver(site).survey())
    if file is not None:
        with told("the cluster file cannot be written", file):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, text.encode())
    return text


def as_text(name: str, state: State) -> str:
    """A cluster file that has ``state`` as it is: planning it finds nothing to do."""
    owned = _owned(state)
    parts = [HEADER.format(name=_text(name))]
    parts += _head(owned)
    for ref, found in _of_kind(state, "image"):
        keys = {
            "name": ref.name,
            "path": found.get("path"),
            "append_kernel_parameters": found.get("kernel_parameters"),
        }
        parts.append(_table("image", keys))
    members = _members(state)
    for ref, found in _of_kind(state, "category"):
        nodes = members.get(ref.name, ())
        keys = {"name": ref.name, "image": found.get("image"), "nodes": folded(nodes) if nodes else None}
        parts.append(_table("category", keys))
        parts += _belongings("category", owned.get(str(ref), {}))
    parts += _nodes(state, owned)
    parts += [_table("network", _network(ref, found)) for ref, found in _of_kind(state, "network")]
    parts += _interfaces(state)
    return "\n".join(part for part in parts if part)


def _of_kind(state: State, kind: Kind) -> list[tuple[Ref, Properties]]:
    return sorted((ref, found) for ref, found in state.objects.items() if ref.kind == kind and not ref.of)


def _owned(state: State) -> dict[str, dict[Ref, Properties]]:
    """What belongs to each owner, in the order in which it was read."""
    owned: dict[str, dict[Ref, Properties]] = {}
    for ref, found in state.objects.items():
        if ref.of:
            owned.setdefault(ref.of, {})[ref] = found
    return owned


def _members(state: State) -> dict[str, list[str]]:
    members: dict[str, list[str]] = {}
    for ref, found in state.objects.items():
        if ref.kind == "node" and found.get("category"):
            members.setdefault(str(found["category"]), []).append(ref.name)
    return members


def _head(owned: Mapping[str, Mapping[Ref, Properties]]) -> list[str]:
    return _belongings("head", owned.get(str(HEAD), {}))


def _nodes(state: State, owned: Mapping[str, Mapping[Ref, Properties]]) -> list[str]:
    """``[[node]]``s; those with the same belongings share one."""
    alike: dict[str, list[str]] = {}
    for ref, _ in _of_kind(state, "node"):
        text = "\n".join(_belongings("node", owned.get(str(ref), {})))
        if text:
            alike.setdefault(text, []).append(ref.name)
    return [
        part for text, names in alike.items() for part in (_table("node", {"names": folded(names)}), text)
    ]


def _belongings(owner: str, found: Mapping[Ref, Properties]) -> list[str]:
    """The services and the settings of one owner."""
    parts = [
        _table(f"{owner}.service", {"name": ref.name, **properties})
        for ref, properties in found.items()
        if ref.kind == "service"
    ]
    files: dict[str, list[str]] = {}
    for ref, properties in found.items():
        match = SETTING.fullmatch(ref.name) if ref.kind == "setting" else None
        if match:
            how = "set" if properties.get("replaces", True) else "add"
            key = ".".join(_key(part) for part in (how, match["section"], match["key"]))
            files.setdefault(match["file"], []).append(f"{key} = {_value(properties.get('value', ''))}\n")
    for path, lines in files.items():
        parts.append(_table(f"{owner}.file", {"path": path}) + "".join(lines))
    return parts


def _network(ref: Ref, found: Properties) -> dict[str, Value | None]:
    """An address and its mask become ``cidr``; what the manager has as nothing is left out."""
    from ipaddress import ip_network

    keys: dict[str, Value | None] = {"name": ref.name}
    base, bits = found.get("base_address"), found.get("netmask_bits")
    if base and bits and base != "0.0.0.0":
        keys["cidr"] = str(ip_network(f"{base}/{bits}", strict=False))
    names = (
        "domain",
        "openstack_type",
        "openstack_vlan_range",
        "openstack_physical_network",
        "openstack_shared",
    )
    return {**keys, **{name: found[name] for name in names if found.get(name)}}


def _interfaces(state: State) -> list[str]:
    alike: dict[tuple[str, tuple[tuple[str, Value], ...]], list[str]] = {}
    for ref, found in state.objects.items():
        if ref.kind == "interface":
            alike.setdefault((ref.name, tuple(found.items())), []).append(ref.of.partition("/")[2])
    return [
        _table("interface", {"nodes": folded(nodes), "name": name, **dict(found)})
        for (name, found), nodes in alike.items()
    ]


def _table(header: str, keys: Mapping[str, Value | Sequence[str] | None]) -> str:
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in keys.items() if value not in (None, "", ())]
    return f"[[{header}]]\n" + "".join(lines)


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _text(key)


def _value(value: Value | Sequence[str] | None) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _text(value)
    return f"[{', '.join(_text(member) for member in _strings(value))}]"


def _strings(value: Iterable[str] | None) -> Iterable[str]:
    return value or ()


def _text(text: str) -> str:
    """A TOML string; what would be a template is one that gives the text itself."""
    escaped = re.sub(r"\{\{|\{%|\{#", lambda match: "{{ '" + match[0] + "' }}", text)
    return json.dumps(escaped, ensure_ascii=False).replace("\x7f", "\\u007f")
