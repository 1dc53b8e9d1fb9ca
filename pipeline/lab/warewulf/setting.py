"""``set`` and ``add`` of nodes and profiles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pipeline.lab.warewulf.flags import UNSET, RefusedError, parse
from pipeline.lab.warewulf.registry import Registry

PLAIN = {
    "comment": "comment",
    "cluster": "cluster name",
    "image": "image name",
    "ipxe": "ipxe template",
    "init": "init",
    "root": "root",
    "primarynet": "primary network",
}
LISTS = {"profile": "profiles", "runtime-overlays": "runtime overlay", "system-overlays": "system overlay"}
KERNEL = {"kernelversion": ("version", "str"), "kernelargs": ("args", "list")}
DEVICE = {
    "netdev": ("device", "str"),
    "type": ("type", "str"),
    "hwaddr": ("hwaddr", "str"),
    "mtu": ("mtu", "str"),
    "onboot": ("onboot", "wwbool"),
    "ipaddr": ("ipaddr", "ip"),
    "netmask": ("netmask", "ip"),
    "gateway": ("gateway", "ip"),
}
OPTIONS = {
    **dict.fromkeys(PLAIN, "str"),
    **dict.fromkeys(LISTS, "list"),
    **{name: kind for name, (_, kind) in (KERNEL | DEVICE).items()},
    "netname": "str",
    "netdel": "str",
    "tagadd": "map",
    "yes": "bool",
}


def expanded(patterns: Sequence[str]) -> list[str]:
    """Node names of node sets: commas outside brackets part them, ``[01-03,05]`` within a name."""
    todo = [part for pattern in patterns for part in re.split(r",(?![^\[]*\])", pattern)]
    found: list[str] = []
    while todo:
        part = todo.pop(0)
        match = re.match(r"([^\[]*)\[([^\]]*)\](.*)", part)
        if match is None:
            found.append(part)
            continue
        numbers = [_numbers(text) for text in match[2].split(",")]
        if not all(numbers):  # hostlist gives up, and the name stays as it is: nobody has it
            found.append(part)
        else:
            todo = [f"{match[1]}{number}{match[3]}" for run in numbers for number in run] + todo
    return found


def _numbers(text: str) -> list[str]:
    first, _, last = text.partition("-")
    last = last or first
    if not (first.isdigit() and last.isdigit()):
        return []
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]


def options_of(
    found: Registry, what: str, verb: str, argv: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """The options and names of one call."""
    known = dict(OPTIONS)
    if what == "profile" and verb == "add" and not found.switches["add_yes"]:
        del known["yes"]
    options, names = parse(argv, known)
    if not names:
        raise RefusedError("requires at least 1 arg(s), only received 0")
    return options, names


def apply(found: Registry, what: str, options: dict[str, Any], names: Sequence[str]) -> list[str]:
    """Set, and persist if anything was. Returns warnings: unknown names are no error."""
    kept = found.nodes if what == "node" else found.profiles
    names = expanded(names) if what == "node" else names
    known = [name for name in names if name in kept]
    for name in known:
        _set(kept[name], options)
    if known:
        found.save()
    return [f"invalid {what}: {name}" for name in names if name not in kept]


def _set(one: dict[str, Any], options: dict[str, Any]) -> None:
    for name, key in {**PLAIN, **LISTS}.items():
        if name in options:
            _keep(one, key, options[name])
    if KERNEL.keys() & options.keys():
        kernel = one.setdefault("kernel", {})
        for name, (key, _) in KERNEL.items():
            if name in options:
                _keep(kernel, key, options[name])
    if "netdel" in options:
        if options["netdel"] not in one.get("network devices", {}):
            raise RefusedError(f"network device name doesn't exist: {options['netdel']}")
        del one["network devices"][options["netdel"]]
    if DEVICE.keys() & options.keys():
        device = one.setdefault("network devices", {}).setdefault(options.get("netname", "default"), {})
        for name, (key, _) in DEVICE.items():
            if name in options:
                _keep(device, key, options[name])
    if "tagadd" in options:
        one["tags"] = {**one.get("tags", {}), **options["tagadd"]}


def _keep(where: dict[str, Any], key: str, value: Any) -> None:
    """Replace what is there. An empty list replaces nothing, and a word that unsets takes the value away."""
    if isinstance(value, list):
        if any(member.lower() in UNSET for member in value):
            where.pop(key, None)
        elif value:
            where[key] = value
    elif value.lower() in UNSET:
        where.pop(key, None)
    elif value:
        where[key] = value
