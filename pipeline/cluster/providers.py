"""``[neutron]`` as it is written, understood and checked."""

from __future__ import annotations

import ipaddress
from itertools import combinations

from pipeline.cluster import neutron
from pipeline.cluster.neutron import VXLAN, Neutron, Provider
from pipeline.cluster.reading import OPEN, Reading
from pipeline.cluster.segments import VLANS, VNIS, Range, overlap, read_range, spelled
from pipeline.cluster.written import NeutronTable, ProviderTable
from pipeline.nearest import nearest
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.scopes import Scope

AT: KeyPath = ("neutron",)


def understood(reading: Reading) -> Neutron | None:
    """``[neutron]`` of the file; None when it isn't there or something is wrong with it, which is told."""
    if "neutron" not in reading.tables:
        return None
    told = reading.findings.told
    table = reading.table(AT, reading.tables["neutron"], NeutronTable, open_=True)
    if table is None:
        return None
    found = _neutron(reading, table)
    if reading.findings.told == told:
        _check(reading, table, found)
    if reading.findings.told == told:
        _check_default(reading, found)
    return found if reading.findings.told == told else None


def of_node(reading: Reading, scope: Scope, base: Neutron, at: KeyPath, label: str) -> Neutron | None:
    """``[neutron]`` with the parameters of a node, said at ``at``; only ways to networks may differ."""
    table = reading.table(AT, reading.tables["neutron"], NeutronTable, scope, open_=True)
    if table is None:
        return None
    found = _neutron(reading, table)
    if common(found) != common(base):
        reading.say(
            at,
            f"{label}these parameters change more of [neutron] than interfaces and local_ip "
            f"({reading.place(AT)})",
            "names, types and ranges are the same on all nodes",
        )
        return None
    _check_address(reading, at, f"{label}local_ip", found)
    for one, other in combinations(found.providers, 2):
        both = overlap(one.ranges, other.ranges)
        if both and one.interface and one.interface == other.interface:
            reading.say(
                at,
                f'{label}the ranges of "{one.name}" and "{other.name}" overlap on {one.interface}: '
                f"{spelled([both])} is in both",
            )
    return found


def common(found: Neutron) -> tuple[object, ...]:
    """What all nodes have in common."""
    providers = tuple((one.name, one.type, one.infiniband, one.ranges) for one in found.providers)
    return (
        found.vxlan,
        found.default,
        found.mechanism_drivers,
        found.vnic_type,
        found.vni_range,
        found.vxlan_group,
        providers,
    )


def notes(found: Neutron) -> tuple[str, ...]:
    """What follows from ``[neutron]`` without being said there, for the administrator."""
    told = [_default_note(found)]
    if found.vxlan and found.infiniband:
        ranges = neutron.vlan_ranges(found.infiniband)
        told.append(f"network_vlan_ranges keeps {ranges} with VXLAN too: InfiniBand's segments are VLAN IDs")
    for one, other in combinations(found.providers, 2):
        both = overlap(one.ranges, other.ranges)
        if both:
            what = f'the ranges of "{one.name}" and "{other.name}" overlap ({spelled([both])})'
            told.append(f"{what}: on other interfaces, a VLAN ID is another network")
    return tuple(note for note in told if note)


def _default_note(found: Neutron) -> str | None:
    name = neutron.chosen(found)
    if name is None:
        return None
    types = ",".join(neutron.tenant_types(found))
    if name == VXLAN:
        return f'a network whose maker chooses no provider is VXLAN: tenant_network_types is "{types}"'
    others = [provider.name for provider in neutron.in_order(found.vlans)[1:]]
    before = f", and in alphabetical order it comes before {', '.join(others)}" if others else ""
    return (
        f'a network whose maker chooses no provider lies on {name}: tenant_network_types is "{types}"{before}'
    )


def provider_at(index: int) -> KeyPath:
    return (*AT, "provider", index)


def _neutron(reading: Reading, table: NeutronTable) -> Neutron:
    return Neutron(
        vxlan=table.isolation == "vxlan",
        default=table.default_provider,
        mechanism_drivers=table.mechanism_drivers,
        vnic_type=table.vnic_type,
        vni_range=table.vni_range,
        vxlan_group=table.vxlan_group,
        local_ip=table.local_ip,
        providers=tuple(
            Provider(
                one.name,
                one.type,
                one.fabric == "infiniband",
                _ranges(reading, provider_at(index), one),
                one.interface,
            )
            for index, one in enumerate(table.provider)
        ),
    )


def _ranges(reading: Reading, at: KeyPath, table: ProviderTable) -> tuple[Range, ...]:
    texts = (table.range,) if isinstance(table.range, str) else table.range
    ranges = []
    for text in texts:
        found, fault = read_range(text, VLANS)
        if fault:
            reading.say((*at, "range"), f'provider "{table.name}": {fault}')
        elif found:
            ranges.append(found)
    return tuple(ranges)


def _check(reading: Reading, table: NeutronTable, found: Neutron) -> None:
    if not found.providers and not found.vxlan:
        reading.say(AT, "[neutron]: there is no [[neutron.provider]]")
    for index, one in enumerate(found.providers):
        _check_provider(reading, provider_at(index), one, table.provider[index].fabric)
    for (i, one), (j, other) in combinations(enumerate(found.providers), 2):
        _check_pair(reading, provider_at(j), one, other, reading.place((*provider_at(i), "range")))
    if not found.mechanism_drivers:
        message = '[neutron]: "mechanism_drivers" names none: no network could be used'
        reading.say((*AT, "mechanism_drivers"), message)
    for index, driver in enumerate(found.mechanism_drivers):
        reading.name((*AT, "mechanism_drivers", index), driver, "[neutron]: mechanism driver: ")
    if found.vxlan:
        _check_vxlan(reading, found)
    elif found.local_ip:
        reading.say((*AT, "local_ip"), '[neutron]: "local_ip" is for isolation = "vxlan" only')


def _check_provider(reading: Reading, at: KeyPath, one: Provider, fabric: str) -> None:
    label = f'provider "{one.name}": '
    reading.name((*at, "name"), one.name, label)
    if one.name == VXLAN:
        reading.say((*at, "name"), f"{label}vxlan is no physical network")
    if one.type == "flat" and one.ranges:
        reading.say((*at, "range"), f"{label}a flat network has no segments, so no range")
    if one.type == "flat" and one.infiniband:
        reading.say((*at, "fabric"), f"{label}InfiniBand has segments: its type is vlan")
    if one.type == "vlan" and not one.ranges:
        reading.say(at, f'{label}"range" is missing: the VLAN IDs, FIRST:LAST')
    if one.interface and OPEN not in one.interface:
        reading.name((*at, "interface"), one.interface, f"{label}interface: ")
    for first, second in combinations(one.ranges, 2):
        both = overlap([first], [second])
        if both:
            told = f"{spelled([first])} and {spelled([second])}"
            reading.say((*at, "range"), f"{label}the ranges {told} overlap: {spelled([both])} is in both")


def _check_pair(reading: Reading, at: KeyPath, one: Provider, other: Provider, where: str) -> None:
    label = f'provider "{other.name}": '
    if one.name == other.name:
        reading.say((*at, "name"), f"{label}there is one of this name already ({where})")
    both = overlap(one.ranges, other.ranges)
    if not both:
        return
    if one.infiniband and other.infiniband:
        reading.say(
            (*at, "range"),
            f'{label}the range overlaps that of "{one.name}" ({where}): {spelled([both])} is in both',
            "both are InfiniBand, where a segment is a partition of the whole fabric",
        )
    elif one.interface and one.interface == other.interface:
        reading.say(
            (*at, "range"),
            f'{label}the range overlaps that of "{one.name}" ({where}): {spelled([both])} is in both',
            f"both are on {one.interface}, where a VLAN ID is the same network",
        )


def _check_vxlan(reading: Reading, found: Neutron) -> None:
    _, fault = read_range(found.vni_range, VNIS)
    if fault:
        reading.say((*AT, "vni_range"), f"[neutron]: {fault}")
    group = _address(found.vxlan_group)
    if group is None or not group.is_multicast:
        message = f'[neutron]: "vxlan_group" has to be an IPv4 multicast address, got {found.vxlan_group!r}'
        reading.say((*AT, "vxlan_group"), message)
    _check_address(reading, (*AT, "local_ip"), "[neutron]: local_ip", found)


def _check_address(reading: Reading, at: KeyPath, label: str, found: Neutron) -> None:
    address = _address(found.local_ip)
    wrong = address is None or address.is_multicast or address.is_unspecified or address.is_loopback
    if found.vxlan and OPEN not in found.local_ip and (wrong or found.local_ip == "255.255.255.255"):
        reading.say(
            at,
            f"{label} has to be the node's IPv4 address on the network under VXLAN, got {found.local_ip!r}",
            'local_ip = "{{ vxlan_ip }}", [parameters] vxlan_ip = { required = true }, '
            '[[node]] names = "node002", parameters = { vxlan_ip = "10.161.0.2" }',
        )


def _address(text: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None


def _check_default(reading: Reading, found: Neutron) -> None:
    """Neutron chooses by order: tell when it isn't what is wanted, with a name that would be first."""
    wanted, at = found.default, (*AT, "default_provider")
    if not wanted:
        return
    names = [provider.name for provider in found.vlans] + ([VXLAN] if found.vxlan else [])
    if wanted not in names:
        flat = any(provider.name == wanted for provider in found.providers)
        why = "is flat, and Neutron makes no networks of tenants on flat ones" if flat else "is no provider"
        near = "" if flat else nearest(wanted, names)
        hint = 'isolation = "vxlan" makes it one' if wanted == VXLAN else None
        reading.say(at, f'[neutron]: the default provider "{wanted}" {why}{near or there_are(names)}', hint)
        return
    if any(one.name == wanted and not neutron.is_bridged(one, found) for one in found.vlans):
        reading.say(
            at,
            f'[neutron]: the default provider "{wanted}" is reached from no node: with isolation = "vxlan" '
            "Ethernet networks of type vlan are not bridged",
            'default_provider = "vxlan", or an InfiniBand network',
        )
        return
    first = neutron.chosen(found)
    if wanted == first:
        return
    others = [provider.name for provider in found.vlans if provider.name != wanted]
    better = neutron.first_name(wanted, others)
    index = next(index for index, provider in enumerate(found.providers) if provider.name == first)
    reading.say(
        at,
        f'[neutron]: the default provider would be "{first}" ({reading.place(provider_at(index))}), '
        f'not "{wanted}": of several VLAN networks Neutron takes the first in alphabetical order',
        f'name it "{better}" instead, everywhere' if better else f'name "{first}" so that it comes later',
    )
