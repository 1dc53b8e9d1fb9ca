"""Networks of the cluster manager, nodes' interfaces to them, and networks of the cloud."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

import msgspec

from pipeline.cluster.neutron import Neutron, Provider
from pipeline.cluster.objects import Ref, Value, Wanted
from pipeline.cluster.reading import Reading
from pipeline.cluster.segments import read_range, spelled
from pipeline.cluster.written import (
    InterfaceTable,
    NetworkTable,
    OpenstackNetworkTable,
    OpenstackTable,
    SubnetTable,
)
from pipeline.nearest import nearest
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath

PREFIX = re.compile(r"/[0-9]{1,2}\Z")
"""Python takes masks as well, and those of routers that say the opposite."""

PREFIXES = range(1, 31)
"""Longer ones leave no address for a machine beside the network's and broadcasts."""


UNUSABLE = tuple(map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3")))
"""This host, this host again, multicast with what is reserved: no address of another machine."""


class Networks(msgspec.Struct, frozen=True):
    """What the tables come to, and the tables with their places."""

    wanted: tuple[Wanted, ...]
    objects: tuple[tuple[KeyPath, NetworkTable], ...]
    cloud: tuple[tuple[KeyPath, OpenstackNetworkTable], ...]


def read_networks(reading: Reading, neutron: Neutron | None) -> Networks:
    """``[[network]]``, ``[[interface]]`` and ``[[openstack.network]]``; what is wrong with them is told."""
    objects = tuple(reading.each("network", NetworkTable))
    wanted = [_network(reading, at, table) for at, table in objects]
    _refuse_overlaps(reading, "network", objects)
    for at, interface in reading.each("interface", InterfaceTable):
        wanted += _interfaces(reading, at, interface)
    openstack = reading.one("openstack", OpenstackTable)
    cloud: list[tuple[KeyPath, OpenstackNetworkTable]] = []
    segments: dict[tuple[str, int | None], KeyPath] = {}
    for index, table in enumerate(openstack.network if openstack else ()):
        at = ("openstack", "network", index)
        cloud.append((at, table))
        wanted += _cloud_network(reading, at, table, neutron)
        first = segments.setdefault((table.provider, table.segment), at)
        if first != at and table.segment is not None:
            told = f'segment {table.segment} of "{table.provider}" is taken ({reading.place(first)})'
            reading.say((*at, "segment"), f'network "{table.name}" of the cloud: {told}')
    return Networks(tuple(wanted), objects, tuple(cloud))


def _refuse_overlaps(
    reading: Reading, what: str, objects: Sequence[tuple[KeyPath, NetworkTable | SubnetTable]]
) -> None:
    """Tell of network objects that have addresses of another one, which the cluster manager would give to
    machines on both; or of subnets of one network, which Neutron refuses."""
    first: list[tuple[ipaddress.IPv4Network, str, KeyPath]] = []
    for at, table in objects:
        network, _ = read_cidr(table.cidr) if table.cidr else (None, None)
        if network is None:
            continue
        for other, name, place in first:
            if network.overlaps(other) and name != table.name:
                where = reading.place((*place, "cidr"))
                message = f'{network} overlaps {other} of "{name}" ({where})'
                reading.say((*at, "cidr"), f'{what} "{table.name}": {message}')
        first.append((network, table.name, at))


def read_cidr(text: str) -> tuple[ipaddress.IPv4Network | None, str | None]:
    """The IPv4 network that ``text`` says, or why it is none."""
    if not PREFIX.search(text):
        return None, f'"{text}" has no prefix length, such as /24'
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        if ":" in text:
            return None, f'"{text}" is no IPv4 network: there are no others in a cluster file'
        return None, f'"{text}" is no network in CIDR form, such as 192.168.80.0/24: {error}'
    if network.prefixlen not in PREFIXES:
        why = f"prefix lengths are {PREFIXES.start} to {PREFIXES.stop - 1}"
    else:
        taken = next((other for other in UNUSABLE if other.overlaps(network)), None)
        if taken is None:
            return network, None
        why = f"it has addresses of {taken}"
    return None, f'"{text}" is no network that machines can be in: {why}'


def _network(reading: Reading, at: KeyPath, table: NetworkTable) -> Wanted:
    label = f'network "{table.name}": '
    exact: dict[str, Value] = {}
    ats: dict[str, KeyPath] = {}
    for key in ("name", "clone", "domain", "openstack_type", "openstack_physical_network"):
        if (value := getattr(table, key)) or key == "name":
            reading.name((*at, key), value, f"{label}{key}: " if key != "name" else label)
    if table.cidr:
        network, fault = read_cidr(table.cidr)
        if fault or network is None:
            reading.say((*at, "cidr"), f"{label}{fault}")
        else:
            exact |= {
                "base_address": str(network.network_address),
                "netmask_bits": network.prefixlen,
                "broadcast_address": str(network.broadcast_address),
            }
            ats |= dict.fromkeys(exact, (*at, "cidr"))
    if table.openstack_vlan_range:
        _, fault = read_range(table.openstack_vlan_range)
        if fault:
            reading.say((*at, "openstack_vlan_range"), f"{label}{fault}")
    names = (
        "openstack_type",
        "openstack_vlan_range",
        "openstack_shared",
        "openstack_physical_network",
        "domain",
    )
    said = {key: value for key in names if (value := getattr(table, key)) not in ("", None)}
    ats |= {key: (*at, key) for key in said}
    return Wanted(Ref("network", table.name), {**said, **exact}, source=table.clone, at=at, ats=ats)


def _interfaces(reading: Reading, at: KeyPath, table: InterfaceTable) -> list[Wanted]:
    label = f'interface "{table.name}": '
    reading.name((*at, "name"), table.name, label)
    if table.network:
        reading.name((*at, "network"), table.network, f"{label}network: ")
    exact: dict[str, Value] = {"type": table.type}
    if table.dhcp is not None:
        exact["dhcp"] = table.dhcp
    if table.network:
        exact["network"] = table.network
    ats: dict[str, KeyPath] = {key: (*at, key) for key in ("dhcp", "network") if key in exact}
    return [
        Wanted(Ref("interface", table.name, f"node/{node}"), exact, at=at, ats=ats)
        for node in reading.nodes((*at, "nodes"), table.nodes, label)
    ]


def _cloud_network(
    reading: Reading, at: KeyPath, table: OpenstackNetworkTable, neutron: Neutron | None
) -> list[Wanted]:
    label = f'network "{table.name}" of the cloud: '
    reading.name((*at, "name"), table.name, label)
    provider = _provider(reading, at, table, neutron, label)
    exact: dict[str, Value] = {"physical_network": table.provider}
    if provider is not None:
        exact = {"type": provider.type, **exact}
        _check_segment(reading, at, table, provider, label)
    if table.segment is not None:
        exact["segment"] = table.segment
    exact |= {"shared": table.shared, "external": table.external}
    ref = Ref("os-network", table.name)
    ats = {"physical_network": (*at, "provider"), "segment": (*at, "segment")}
    found = [Wanted(ref, exact, at=at, ats={key: place for key, place in ats.items() if key in exact})]
    for index, subnet in enumerate(table.subnet):
        place = (*at, "subnet", index)
        reading.name((*place, "name"), subnet.name, f'subnet "{subnet.name}": ')
        _, fault = read_cidr(subnet.cidr)
        if fault:
            reading.say((*place, "cidr"), f'subnet "{subnet.name}": {fault}')
        ats = {"cidr": (*place, "cidr")}
        found.append(
            Wanted(Ref("os-subnet", subnet.name, str(ref)), {"cidr": subnet.cidr}, at=place, ats=ats)
        )
    subnets = [((*at, "subnet", index), subnet) for index, subnet in enumerate(table.subnet)]
    _refuse_overlaps(reading, "subnet", subnets)
    return found


def _provider(
    reading: Reading, at: KeyPath, table: OpenstackNetworkTable, neutron: Neutron | None, label: str
) -> Provider | None:
    if neutron is None:
        if "neutron" not in reading.tables:
            reading.say((*at, "provider"), f"{label}its provider stands in [neutron], which is missing")
        return None
    names = {provider.name: provider for provider in neutron.providers}
    if table.provider not in names:
        near = nearest(table.provider, names) or there_are(names)
        reading.say((*at, "provider"), f'{label}unknown provider "{table.provider}"{near}')
    return names.get(table.provider)


def _check_segment(
    reading: Reading, at: KeyPath, table: OpenstackNetworkTable, provider: Provider, label: str
) -> None:
    if provider.type == "flat":
        if table.segment is not None:
            reading.say((*at, "segment"), f'{label}"{provider.name}" is flat and has no segments')
        return
    if table.segment is None:
        reading.say(at, f'{label}"segment" is missing: which one of {spelled(provider.ranges)}')
    elif not any(first <= table.segment <= last for first, last in provider.ranges):
        where = reading.place(path_of_range(reading, provider.name))
        reading.say(
            (*at, "segment"),
            f"{label}segment {table.segment} is not within {spelled(provider.ranges)}, the range of "
            f'"{provider.name}" ({where})',
        )


def path_of_range(reading: Reading, name: str) -> KeyPath:
    """Where ``[neutron]`` says the range of a provider; ``[neutron]`` itself when there is none."""
    for index, raw in enumerate(reading.tables["neutron"].get("provider", ())):
        filled = reading.scope.filled(raw["name"], (), "")
        if filled and filled[1] == name:
            return ("neutron", "provider", index, "range")
    return ("neutron",)
