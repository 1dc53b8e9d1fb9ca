"""How wwctl prints: tables with two spaces between columns, and JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.lab.warewulf.registry import Registry

GO = {
    "image name": "ImageName",
    "cluster name": "ClusterName",
    "ipxe template": "Ipxe",
    "runtime overlay": "RuntimeOverlay",
    "system overlay": "SystemOverlay",
    "network devices": "NetDevs",
    "primary network": "PrimaryNetDev",
    "onboot": "OnBoot",
}
EMPTY = ("Comment", "ImageName", "Kernel", "NetDevs", "Profiles", "Tags", "Disks", "FileSystems")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: header, a line of hyphens, rows; an empty cell is ``--``."""
    lines = [list(header), ["-" * len(cell) for cell in header], *([c or "--" for c in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def images(found: Registry, long: bool) -> str:
    """``image list``."""
    if not long:
        return table(["IMAGE NAME"], [[name] for name in found.images()])
    header = ["IMAGE NAME", "NODES", "KERNEL VERSION", "CREATION TIME", "MODIFICATION TIME", "SIZE"]
    used = [merged(found, name).get("image name") for name in found.nodes]
    return table(header, [_image(found, name, used.count(name)) for name in found.images()])


def _image(found: Registry, name: str, nodes: int) -> list[str]:
    tree, file = found.tree(name), found.built(name)
    kernels = sorted(path.name.removeprefix("vmlinuz-") for path in tree.glob("boot/vmlinuz-*"))
    made = time.strftime("%d %b %y %H:%M UTC", time.gmtime(tree.stat().st_mtime))
    built = file.stat().st_mtime if file.exists() else 0
    changed = time.strftime("%d %b %y %H:%M UTC", time.gmtime(built))
    size = f"{file.stat().st_size} B" if file.exists() else "0 B"
    return [name, str(nodes), kernels[-1] if kernels else "", made, changed, size]


def merged(found: Registry, name: str) -> dict[str, Any]:
    """A node with its profiles below it; the profiles it names are its own."""
    node: dict[str, Any] = {}
    for profile in _nested(found, found.nodes[name].get("profiles", ()), set()):
        _merge(node, found.profiles.get(profile, {}))
    _merge(node, found.nodes[name])
    node["profiles"] = found.nodes[name].get("profiles", [])
    return {key: value for key, value in node.items() if value}


def _nested(found: Registry, names: Sequence[str], seen: set[str]) -> list[str]:
    order: list[str] = []
    for name in names:
        if name.startswith("~"):
            order = [other for other in order if other != name[1:]]
        elif name not in seen:
            seen.add(name)
            order += [*_nested(found, found.profiles.get(name, {}).get("profiles", ()), seen), name]
    return order


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict):
            into[key] = dict(into.get(key, {}))
            _merge(into[key], value)
        elif isinstance(value, list):
            into[key] = [*into.get(key, ()), *(member for member in value if member not in into.get(key, ()))]
        else:
            into[key] = value


def as_json(found: Registry, objects: Mapping[str, Mapping[str, Any]]) -> str:
    """``list --json`` of this release."""
    if found.switches["keys"] == "go":
        told = {name: dict.fromkeys(EMPTY) | _go(value) for name, value in objects.items()}
    else:
        told = {name: _spaced(value) for name, value in objects.items()}
    if found.switches["release"] == "4.5":
        return json.dumps(list(told.values()), indent=2)
    return json.dumps(told, indent=2, sort_keys=True)


def _spaced(value: Mapping[str, Any]) -> dict[str, Any]:
    """The keys as they are, but for the one that has been misspelt."""
    found: dict[str, Any] = dict(value)
    if "network devices" in found:
        devices = found["network devices"].items()
        found["network devices"] = {
            name: {("onbot" if key == "onboot" else key): text for key, text in dev.items()}
            for name, dev in devices
        }
    return found


def _go(value: Any, named: bool = False) -> Any:
    """Keys as Go's fields; names of devices and tags stay."""
    if not isinstance(value, dict):
        return value
    return {
        key if named else GO.get(key, key.title().replace(" ", "")): _go(
            inner, named=not named and key in ("network devices", "tags")
        )
        for key, inner in value.items()
    }
