"""``[neutron]`` understood, and the keys of Neutron's configuration files that follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from pipeline.cluster.segments import Range, spelled

VXLAN = "vxlan"

FLAT_OF_MANAGER = ("phyflatnet",)
"""``flat_networks`` as Bright 7.0 writes it: in the hand procedure's ml2_conf.ini, not in its commands."""


class Provider(msgspec.Struct, frozen=True):
    """A physical network. ``interface`` is how a compute host gets there; flat ones have no ``ranges``."""

    name: str
    type: str
    infiniband: bool
    ranges: tuple[Range, ...]
    interface: str


class Neutron(msgspec.Struct, frozen=True):
    """What the files are generated from. ``local_ip`` belongs to one node."""

    vxlan: bool
    default: str
    mechanism_drivers: tuple[str, ...]
    vnic_type: str
    vni_range: str
    vxlan_group: str
    local_ip: str
    providers: tuple[Provider, ...]

    @property
    def vlans(self) -> tuple[Provider, ...]:
        return tuple(provider for provider in self.providers if provider.type == "vlan")

    @property
    def flat(self) -> tuple[Provider, ...]:
        return tuple(provider for provider in self.providers if provider.type == "flat")

    @property
    def infiniband(self) -> tuple[Provider, ...]:
        return tuple(provider for provider in self.providers if provider.infiniband)


class Key(msgspec.Struct, frozen=True):
    """``[section] name = value``. ``replaces``: what the file had for it before is taken out first."""

    section: str
    name: str
    value: str
    replaces: bool = True


def ml2(neutron: Neutron) -> tuple[Key, ...]:
    """The keys of ``ml2_conf.ini`` on the head node, in the order of the hand procedure."""
    keys = [
        Key("ml2", "type_drivers", ",".join(_types(neutron))),
        Key("ml2", "tenant_network_types", ",".join(tenant_types(neutron))),
        Key("ml2", "mechanism_drivers", ",".join(neutron.mechanism_drivers)),
    ]
    flat = tuple(provider.name for provider in neutron.flat)
    if flat and flat != FLAT_OF_MANAGER:
        keys.append(Key("ml2_type_flat", "flat_networks", ",".join(flat)))
    if neutron.vlans:
        keys.append(Key("ml2_type_vlan", "network_vlan_ranges", vlan_ranges(neutron.vlans)))
    if neutron.vxlan:
        keys += [
            Key("ml2_type_vxlan", "vni_ranges", neutron.vni_range),
            Key("ml2_type_vxlan", "vxlan_group", neutron.vxlan_group),
        ]
    # The cluster manager writes no such section, so that there is nothing to take out.
    return (
        *keys,
        Key("eswitch", "vnic_type", neutron.vnic_type, replaces=False),
        Key("eswitch", "apply_profile_patch", "True", replaces=False),
    )


def linuxbridge(neutron: Neutron) -> tuple[Key, ...]:
    """The keys of ``linuxbridge_conf.ini`` on a compute host.

    With VXLAN the Ethernet networks of type vlan are no longer bridged, nor offered to tenants.
    """
    types = [kind for kind in _types(neutron) if kind == "flat" or (kind == "vlan" and not neutron.vxlan)]
    mapped = [provider for provider in neutron.providers if is_bridged(provider, neutron)]
    mappings = ",".join(f"{provider.name}:{provider.interface}" for provider in mapped)
    keys = [Key("vlans", "tenant_network_type", ",".join(types))]
    if neutron.vlans:
        keys.append(Key("vlans", "network_vlan_ranges", vlan_ranges(neutron.vlans)))
    keys.append(Key("linux_bridge", "physical_interface_mappings", mappings))
    if neutron.vxlan:
        keys += [
            Key("vxlan", "enable_vxlan", "True"),
            Key("vxlan", "local_ip", neutron.local_ip),
            Key("vxlan", "vxlan_group", neutron.vxlan_group),
            Key("vxlan", "l2_population", "True"),
        ]
    return tuple(keys)


def is_bridged(provider: Provider, neutron: Neutron) -> bool:
    """Whether compute hosts map the provider to an interface."""
    return provider.infiniband or provider.type == "flat" or not neutron.vxlan


def tenant_types(neutron: Neutron) -> tuple[str, ...]:
    """The types of tenants' networks; Neutron tries them in this order, and flat ones never fit."""
    types = _types(neutron)
    if neutron.default == VXLAN:
        types = tuple(sorted(types, key=["flat", VXLAN, "vlan"].index))
    return types


def vlan_ranges(providers: Iterable[Provider]) -> str:
    """As ``network_vlan_ranges`` has it: ``ibhostnet:1:10,phyvlanhostnet:11:20``."""
    return ",".join(spelled(provider.ranges, provider.name) for provider in providers)


def chosen(neutron: Neutron) -> str | None:
    """What Neutron puts a network on whose maker doesn't choose: a provider's name, or ``vxlan``.

    It takes the first tenant network type that allocates segments, and of several VLAN networks the one whose
    name is first in alphabetical order.
    """
    first = next((kind for kind in tenant_types(neutron) if kind != "flat"), None)
    return in_order(neutron.vlans)[0].name if first == "vlan" else first


def in_order(providers: Iterable[Provider]) -> list[Provider]:
    """As a data base sorts their names, which may not tell upper case from lower."""
    return sorted(providers, key=lambda provider: (provider.name.casefold(), provider.name))


def first_name(name: str, others: Sequence[str]) -> str | None:
    """A name like ``name`` that comes before all ``others``; None when it would have to be contrived."""
    least = min((other.casefold() for other in others), default="~")
    tries = (f"01_{name}", f"00_{name}", f"0_{name}", f"0000_{name}")
    return next((one for one in tries if one.casefold() < least), None)


def _types(neutron: Neutron) -> tuple[str, ...]:
    there = {provider.type for provider in neutron.providers} | ({VXLAN} if neutron.vxlan else set())
    return tuple(kind for kind in ("flat", "vlan", VXLAN) if kind in there)
