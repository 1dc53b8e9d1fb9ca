"""Our words for properties and Bright's, and values as cmsh writes and prints them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from pipeline.cluster.objects import Kind, Value
from pipeline.kernel_words import parameters_in

MODES: Mapping[Kind, str] = {
    "image": "softwareimage",
    "category": "category",
    "node": "device",
    "head": "device",
    "network": "network",
}
"""The mode of cmsh in which objects of a kind are."""

PROPERTIES: Mapping[Kind, Mapping[str, str]] = {
    "image": {"path": "path", "kernel_parameters": "kernelparameters"},
    "category": {"image": "softwareimage"},
    "node": {"category": "category"},
    "network": {
        "base_address": "baseaddress",
        "broadcast_address": "broadcastaddress",
        "domain": "domainname",
        "netmask_bits": "netmaskbits",
        "openstack_type": "openstacknetworktype",
        "openstack_vlan_range": "openstackvlanrange",
        "openstack_physical_network": "openstackphysicalnetworkname",
        "openstack_shared": "openstacknetworkisshared",
    },
    "interface": {"type": "type", "dhcp": "dhcp", "network": "network"},
    "service": {"autostart": "autostart", "monitored": "monitored"},
}
"""Kind → our word → the property of cmsh (Administrator Manual; the seed shows all of them in use)."""

KEYS: Mapping[str, str] = {
    "device": "hostname",
    "services": "service",
    "interfaces": "networkdevicename",
}
"""The property that names an object, by mode, where it isn't ``name``."""

BOOLEANS = frozenset({"dhcp", "autostart", "monitored", "openstack_shared"})
NUMBERS = frozenset({"netmask_bits"})
TUPLES = frozenset({"kernel_parameters"})
LOWER = frozenset({"openstack_type", "type"})
"""Choices: ``set`` takes ``other``, ``show`` prints ``Other``."""

TRUE = frozenset({"yes", "1", "true", "on"})

WIDTHS: Mapping[str, int] = {"kernelparameters": 2048, "path": 512, "domainname": 256, "status": 512}
"""How wide a column is asked for, where 64 characters may be too few."""


ROLE = "openstacknode"
"""The role that holds file modifications, unless the site says otherwise."""


class Names(msgspec.Struct, frozen=True):
    """What a site may call otherwise: the role that holds file modifications, and the property in it."""

    role: str = ROLE
    modifications: str = "configfilemodifications"


def key(mode: str) -> str:
    """The property that names an object of ``mode``."""
    return KEYS.get(mode, "name")


def written(value: Value) -> str:
    """A value as ``set`` takes it, without quotes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, tuple) else str(value)


def understood(name: str, text: str) -> Value:
    """The value of our property ``name`` that cmsh prints as ``text``."""
    if name in BOOLEANS:
        return text.lower() in TRUE
    if name in NUMBERS and text.isdigit():
        return int(text)
    if name in TUPLES:
        return parameters_in(text)
    return text.lower() if name in LOWER else text


def ours(kind: Kind, property_: str) -> str:
    """Our word for cmsh's property or for the label that it prints for it; else what it prints."""
    wanted = label(property_)
    known = PROPERTIES.get(kind, {})
    return next((word for word, theirs in known.items() if theirs == wanted), property_)


def label(text: str) -> str:
    """A header such as ``Kernel parameters`` or ``hostname (key)`` as the property that it stands for."""
    return text.removesuffix(" (key)").replace(" ", "").replace("_", "").lower()
