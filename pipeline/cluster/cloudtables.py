"""Networks of the cloud as tables of a cluster file, and the ``[neutron]`` that these refer to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from pipeline.cluster import tomltext
from pipeline.cluster.networks import read_cidr
from pipeline.cluster.objects import Properties, Ref, State
from pipeline.recipe.names import file_name_fault

RANGES = "[ml2_type_vlan]network_vlan_ranges"
TYPES = ("flat", "vlan")


class Provider(msgspec.Struct):
    """A physical network: its type, and the ranges of its segments as they are written."""

    type: str
    ranges: list[str]


class CloudTables(msgspec.Struct, frozen=True):
    """``text`` is ``[neutron]`` and ``[[openstack.network]]``; empty without networks."""

    text: str
    left_out: tuple[str, ...]


def cloud_tables(state: State) -> CloudTables:
    """The tables of all networks and subnets that can be said."""
    left_out: list[str] = []
    networks: dict[Ref, Properties] = {}
    providers = _of_settings(state)
    for ref, found in state.objects.items():
        if ref.kind != "os-network":
            continue
        why = _fault(ref, found, providers)
        if why:
            left_out.append(f"{ref}: {why}")
        else:
            networks[ref] = found
            _provide(providers, found)
    subnets: dict[str, list[tuple[Ref, str]]] = {}
    for ref, found in state.objects.items():
        if ref.kind == "os-subnet":
            cidr = str(found.get("cidr", ""))
            why = "the name cannot be said in a cluster file" if file_name_fault(ref.name) else ""
            why = read_cidr(cidr)[1] or why
            if why or ref.of not in map(str, networks):
                left_out.append(f"{ref}: {why or f'it belongs to {ref.of}'}")
            else:
                subnets.setdefault(ref.of, []).append((ref, cidr))
    text = "\n".join((*_neutron(providers), *_networks(networks, subnets))) if networks else ""
    return CloudTables(text, tuple(left_out))


def _of_settings(state: State) -> dict[str, Provider]:
    """The physical networks that the head node's settings name, ``ibhostnet:1:10,phyvlanhostnet:11:20``."""
    found: dict[str, Provider] = {}
    for ref, properties in state.objects.items():
        if ref.kind == "setting" and ref.of.startswith("head/") and ref.name.endswith(RANGES):
            for entry in str(properties.get("value", "")).split(","):
                name, _, segments = entry.strip().partition(":")
                if name and segments:
                    found.setdefault(name, Provider("vlan", [])).ranges.append(segments)
    return found


def _fault(ref: Ref, found: Properties, providers: Mapping[str, Provider]) -> str:
    """Why a network can't be said; empty if it can."""
    kind, lies_on = found.get("type"), str(found.get("physical_network", ""))
    if file_name_fault(ref.name) or (lies_on and file_name_fault(lies_on)):
        return "the name cannot be said in a cluster file"
    if kind not in TYPES or not lies_on:
        return f'its type is "{kind}"; a cluster file has {" and ".join(TYPES)} networks only'
    if lies_on in providers and providers[lies_on].type != kind:
        return f"{lies_on} has networks of type {providers[lies_on].type} already"
    return ""


def _provide(providers: dict[str, Provider], found: Properties) -> None:
    """Have a provider for the network, with its segment in one of the ranges."""
    one = providers.setdefault(str(found["physical_network"]), Provider(str(found["type"]), []))
    segment = found.get("segment")
    if isinstance(segment, int) and one.type == "vlan" and not _within(segment, one.ranges):
        one.ranges.append(f"{segment}:{segment}")


def _within(segment: int, ranges: Iterable[str]) -> bool:
    for each in ranges:
        first, _, last = each.partition(":")
        if first.isdecimal() and last.isdecimal() and int(first) <= segment <= int(last):
            return True
    return False


def _neutron(providers: Mapping[str, Provider]) -> list[str]:
    parts = ["[neutron]\n"]
    for name, one in providers.items():
        keys = {"name": name, "type": one.type, "range": tuple(one.ranges)}
        parts.append(tomltext.table("neutron.provider", keys))
    return parts


def _networks(
    networks: Mapping[Ref, Properties], subnets: Mapping[str, list[tuple[Ref, str]]]
) -> Iterable[str]:
    for ref, found in networks.items():
        keys = {
            "name": ref.name,
            "provider": found["physical_network"],
            "segment": found.get("segment"),
            "shared": found.get("shared", False),
            "external": found.get("external", False),
        }
        yield tomltext.table("openstack.network", keys)
        for subnet, cidr in subnets.get(str(ref), ()):
            yield tomltext.table("openstack.network.subnet", {"name": subnet.name, "cidr": cidr})
