"""What the head node's state has for a node that boots: services, changes of files, addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from pipeline.lab.head.files import modifications, modified
from pipeline.lab.head.objects import Object
from pipeline.lab.head.state import State

OF_ROLES = {
    "openstacknode": ("neutron-linuxbridge-agent",),
    "openstackcompute": ("openstack-nova-compute",),
    "openstacknetwork": ("neutron-dhcp-agent", "neutron-l3-agent", "neutron-metadata-agent"),
}
"""The services that the daemon starts on nodes with a role, after those that somebody has added."""

AGENTS = (
    "neutron-mlnx-agent",
    "neutron-linuxbridge-agent",
    "neutron-dhcp-agent",
    "neutron-l3-agent",
    "neutron-metadata-agent",
)
"""The services of which Neutron's server knows whether they live."""


def known(state: State) -> tuple[str, ...]:
    """Every node but the head node, in the head node's order."""
    devices = state["objects"]["device"]
    return tuple(name for name, one in devices.items() if one["type"] != "HeadNode")


def is_virtual(state: State, node: str) -> bool:
    """Whether it is an instance of the cloud."""
    return state["objects"]["device"][node]["type"] == "VirtualNode"


def services(state: State, node: str) -> tuple[str, ...]:
    """What is to be started on ``node``, in order: its category's services, its own, its roles'."""
    found: dict[str, None] = {}
    for one in _levels(state, node):
        for name, service in one["sub"].get("services", {}).items():
            if service["values"].get("autostart"):
                found[name] = None
            else:
                found.pop(name, None)
    found |= dict.fromkeys(service for role in _roles(state, node) for service in OF_ROLES.get(role, ()))
    return tuple(found)


def write_files(state: State, node: str, root: Path, *, knows_underscores: bool) -> None:
    """Change the files below ``root`` as the roles of the node's category, then its own, say."""
    for one in _levels(state, node):
        for path, entries in modifications(one, knows_underscores).items():
            file = root / path.lstrip("/")
            try:
                text = before = file.read_text() if file.exists() else ""
                for entry in entries:
                    text = modified(text, entry)
                if text != before:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text)
            except (OSError, UnicodeDecodeError):
                continue  # of an image without that file's folder: there is nothing to be changed


def ib0(state: State, node: str) -> str:
    """The address on InfiniBand that the node's interface ib0 gets, with its prefix; "" without one."""
    interface = state["objects"]["device"][node]["sub"].get("interfaces", {}).get("ib0")
    network = state["objects"]["network"].get(str(interface["values"].get("network"))) if interface else None
    if interface is None or network is None:
        return ""
    values = network["values"]
    net = ipaddress.ip_network(f"{values.get('baseaddress')}/{values.get('netmaskbits', 16)}", strict=False)
    fixed = str(interface["values"].get("ip", "0.0.0.0"))
    if fixed == "0.0.0.0":
        if not interface["values"].get("dhcp"):
            return ""
        fixed = str(net[10 + known(state).index(node)])
    return f"{fixed}/{net.prefixlen}"


def _levels(state: State, node: str) -> Iterator[Object]:
    """The node's category, then the node."""
    own = state["objects"]["device"][node]
    category = state["objects"]["category"].get(str(own["values"].get("category", "")))
    if category is not None:
        yield category
    yield own


def _roles(state: State, node: str) -> list[str]:
    return [role for one in _levels(state, node) for role in one["sub"].get("roles", {})]
