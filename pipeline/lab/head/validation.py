"""What the daemon checks at commit: rows of the table Code, Field, Message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.lab.head.kinds import KINDS
from pipeline.lab.head.objects import Object
from pipeline.lab.head.session import Session

VLAN_RANGE = re.compile(r"(\d{1,5}):(\d{1,5})")
LAST_VLAN = 4094
MODIFICATION = re.compile(r"-/[^\[\]]+\[[^\[\]]+\][^=]+|\+/[^\[\]]+\[[^\[\]]+\][^=]+=.*", re.DOTALL)


class Wrong(NamedTuple):
    code: int
    field: str
    message: str


def wrong_with(session: Session, mode: str, name: str, one: Object) -> list[Wrong]:
    """Everything that keeps ``one`` from being committed."""
    found = [*_references(session, mode, one), *CHECKS[mode](session, name, one)]
    for below, objects in one["sub"].items():
        kind = KINDS[mode].submodes[below]
        for item in objects.values():
            found += _references(session, kind, item)
            if below == "interfaces":
                found += _interface(item)
            elif below == "roles":
                found += _role(item)
    return found


def _references(session: Session, kind: str, one: Object) -> Iterator[Wrong]:
    for prop in KINDS[kind].properties.values():
        value = one["values"].get(prop.name, "")
        if prop.to and value and session.top(prop.to, str(value)) is None:
            yield Wrong(3, prop.name, f"The {prop.label.lower()} {value} does not exist")


def _device(session: Session, name: str, one: Object) -> Iterator[Wrong]:
    if one["type"] != "HeadNode" and not one["values"].get("category"):
        yield Wrong(1, "category", "The category should be set")


def _category(session: Session, name: str, one: Object) -> Iterator[Wrong]:
    if not one["values"].get("softwareimage"):
        yield Wrong(1, "softwareImage", "The software image should be set")


def _image(session: Session, name: str, one: Object) -> Iterator[Wrong]:
    path = one["values"].get("path", "")
    if not path:
        yield Wrong(1, "path", "The path should be set")
        return
    for other in session.top_names("softwareimage"):
        there = session.top("softwareimage", other)
        if other != name and there and there["values"].get("path") == path:
            yield Wrong(2, "path", f"The path {path} is used by image {other}")


def _network(session: Session, name: str, one: Object) -> Iterator[Wrong]:
    values = one["values"]
    base, bits = str(values.get("baseaddress", "0.0.0.0")), int(str(values.get("netmaskbits", 16)))
    if base == "0.0.0.0":
        yield Wrong(1, "baseAddress", "The base address should be set")
    elif not 1 <= bits <= 32:
        yield Wrong(2, "netmaskBits", "The netmask bits should be between 1 and 32")
    elif _number(base) & (2 ** (32 - bits) - 1):
        yield Wrong(2, "baseAddress", "The base address does not match the netmask bits")
    else:
        broadcast = str(values.get("broadcastaddress", "0.0.0.0"))
        if broadcast != "0.0.0.0" and _number(broadcast) != _number(base) | (2 ** (32 - bits) - 1):
            yield Wrong(2, "broadcastAddress", "The broadcast address does not match the network")
    if not values.get("domainname"):
        yield Wrong(1, "domainName", "The domain name should be set")
    yield from _vlans(str(values.get("openstackvlanrange", "")))


def _vlans(text: str) -> Iterator[Wrong]:
    found = VLAN_RANGE.fullmatch(text)
    if text and (found is None or not 1 <= int(found[1]) <= int(found[2]) <= LAST_VLAN):
        yield Wrong(2, "openstackVlanRange", "The VLAN range should be first:last, between 1 and 4094")


def _number(address: str) -> int:
    parts = [int(part) for part in address.split(".")]
    return sum(part << shift for part, shift in zip(parts, (24, 16, 8, 0), strict=True))


def _interface(one: Object) -> Iterator[Wrong]:
    if not one["values"].get("network"):
        yield Wrong(1, "network", "The network should be set")


def _role(one: Object) -> Iterator[Wrong]:
    entries = one["values"].get("configfilemodifications", [])
    for entry in entries if isinstance(entries, list) else ():
        if not MODIFICATION.fullmatch(entry):
            yield Wrong(
                2, "configFileModifications", f"Not -/file[section]key nor +/file[section]key=value: {entry}"
            )


def _nothing(session: Session, name: str, one: Object) -> Iterator[Wrong]:
    return iter(())


CHECKS = {
    "device": _device,
    "category": _category,
    "softwareimage": _image,
    "network": _network,
    "partition": _nothing,
}
