"""What is said in several places has to agree: VLAN ranges, physical networks, subnets; in recipes too."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from pipeline.cluster import daemons
from pipeline.cluster.networks import Networks, path_of_range
from pipeline.cluster.neutron import Neutron, Provider
from pipeline.cluster.objects import Wanted
from pipeline.cluster.opensm import LONGEST_LINE
from pipeline.cluster.reading import Reading
from pipeline.cluster.said import INFINIBAND_FILES, Said, say
from pipeline.cluster.segments import Range, read_range, spelled
from pipeline.cluster.written import NetworkTable, OpenstackNetworkTable
from pipeline.nearest import nearest
from pipeline.recipe.findings import position
from pipeline.recipe.kinds import there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.model import Recipe

RANGES = "network_vlan_ranges"
MAPPINGS = ("physical_interface_mappings", "physical_network_type_mappings", "fabrics")
"""Keys whose values are NAME:SOMETHING,…, of linuxbridge_conf.ini, mlnx_conf.ini and eswitchd.conf."""

FLAT = "flat_networks"

CHECKED = (RANGES, FLAT, *MAPPINGS, "vnic_type", *daemons.KEYS)

KNOWN_FILES = ("ml2_conf.ini", "plugin.ini", "linuxbridge_conf.ini", "mlnx_conf.ini", "eswitchd.conf")
"""Files in whose whole ``content`` these keys are looked for."""

LINE = re.compile(r"([A-Za-z_]+)\s*[=:](.*)")

LONGEST_NUMBER = 10
"""Digits; longer ones overflow."""

PARTITION = re.compile(r"(?m)^[^#=:\n]*=\s*(0x[0-9a-fA-F]+|[0-9]+)[^:\n]*:")


def check_agreement(
    reading: Reading,
    neutron: Neutron | None,
    networks: Networks,
    wanted: Iterable[Wanted],
    recipes: Sequence[Recipe],
) -> None:
    """Tell of everything that doesn't agree, with both places."""
    for at, table in networks.objects:
        cloud = _of_cloud(table, networks)
        if cloud is not None:
            _check_subnet(reading, at, table, *cloud)
        if neutron is not None:
            _check_network(reading, at, table, neutron, cloud[1].provider if cloud else "")
            _check_physical(reading, at, table, neutron, networks)
    if neutron is None:
        return
    wanted = tuple(wanted)
    all_said = (*_in_file(wanted), *_in_recipes(recipes))
    for said in all_said:
        if said.key in daemons.KEYS and not said.file.endswith(INFINIBAND_FILES):
            continue
        if said.key == RANGES:
            _check_ranges(reading, said, neutron)
        elif said.key == FLAT:
            _check_flat(reading, said, neutron)
        elif said.key in MAPPINGS:
            _check_names(reading, said, neutron)
        elif said.key == "vnic_type" and said.value != neutron.vnic_type:
            say(reading, said, "", f'"{said.value}" is not the vnic_type of [neutron], "{neutron.vnic_type}"')
    daemons.check(reading, neutron, all_said)
    for item in wanted:
        if item.ref.kind == "file" and item.ref.name.endswith("/partitions.conf"):
            _check_partitions(reading, item, neutron)


def _of_cloud(table: NetworkTable, networks: Networks) -> tuple[KeyPath, OpenstackNetworkTable] | None:
    """The network of the cloud that a network object stands for: it has the same name."""
    names = {table.name, table.openstack_physical_network}
    return next(((at, one) for at, one in networks.cloud if one.name in names), None)


def _check_network(reading: Reading, at: KeyPath, table: NetworkTable, neutron: Neutron, cloud: str) -> None:
    provider = next(
        (one for one in neutron.providers if one.name in (table.openstack_physical_network, cloud)), None
    )
    if not table.openstack_vlan_range:
        return
    own, _ = read_range(table.openstack_vlan_range)
    if own is None:
        return
    if provider is None:
        ranges = [range_ for one in neutron.vlans for range_ in one.ranges]
        if not any(first <= own[0] and own[1] <= last for first, last in ranges):
            told = ", ".join(spelled(one.ranges, one.name) for one in neutron.vlans) or "there are none"
            reading.say(
                (*at, "openstack_vlan_range"),
                f'network "{table.name}": the VLAN range {spelled([own])} is within that of no provider: '
                f"{told}",
            )
    elif (own,) != provider.ranges:
        where = reading.place(path_of_range(reading, provider.name))
        reading.say(
            (*at, "openstack_vlan_range"),
            f'network "{table.name}": the VLAN range {spelled([own])} is not that of the provider '
            f'"{provider.name}", {spelled(provider.ranges)} ({where})',
        )


def _check_physical(
    reading: Reading, at: KeyPath, table: NetworkTable, neutron: Neutron, networks: Networks
) -> None:
    """The network of the cloud, as the hand procedure has it, or the provider: both are understood."""
    name, providers = table.openstack_physical_network, [one.name for one in neutron.providers]
    if name and name not in (table.name, *providers, *(cloud.name for _, cloud in networks.cloud)):
        near = nearest(name, [table.name, *providers]) or there_are([table.name, *providers])
        reading.say(
            (*at, "openstack_physical_network"),
            f'network "{table.name}": "{name}" is no provider, nor the name of the network{near}',
        )


def _check_subnet(
    reading: Reading, at: KeyPath, table: NetworkTable, cloud_at: KeyPath, cloud: OpenstackNetworkTable
) -> None:
    label = f'network "{table.name}": '
    cidrs = [subnet.cidr for subnet in cloud.subnet]
    if table.cidr and cidrs and table.cidr not in cidrs:
        where = reading.place((*cloud_at, "subnet", 0, "cidr"))
        message = (
            f"{label}{table.cidr} is not the subnet of the cloud's network, {', '.join(cidrs)} ({where})"
        )
        reading.say((*at, "cidr"), message)
    if table.openstack_shared is not None and table.openstack_shared != cloud.shared:
        where = reading.place((*cloud_at, "shared"))
        own, other = (
            "shared" if shared else "not shared" for shared in (table.openstack_shared, cloud.shared)
        )
        reading.say(
            (*at, "openstack_shared"), f"{label}it is {own}, but the cloud's network is {other} ({where})"
        )


def _in_file(wanted: Iterable[Wanted]) -> Iterator[Said]:
    """What ``set`` and ``add`` tables and whole files say; what is generated agrees by itself."""
    for item in wanted:
        if item.ref.kind == "file" and item.ref.name.endswith(KNOWN_FILES):
            at = (*item.at, "content")
            yield from (
                Said(item.ref.name, key, value, at=at)
                for key, value in _keys_in(str(item.exact.get("content", "")))
            )
        elif item.ref.kind == "setting" and item.at[-3] in ("set", "add"):
            file, _, rest = item.ref.name.partition("[")
            key = rest.partition("]")[2]
            if key in CHECKED:
                yield Said(file, key, str(item.exact["value"]), at=item.at)


def _keys_in(content: str) -> Iterator[tuple[str, str]]:
    """The checked keys of an INI file; a line that begins with a blank goes on with the value before it."""
    for line in re.sub(r"\n[ \t]+(?=\S)", "", content).splitlines():
        found = LINE.fullmatch(line)
        if found and found[1] in CHECKED:
            yield found[1], found[2].strip().strip("'\"")


def _in_recipes(recipes: Iterable[Recipe]) -> Iterator[Said]:
    for recipe in recipes:
        for placed in recipe.stages:
            stage = msgspec.to_builtins(placed.stage)
            if stage["type"] != "settings":
                continue
            at: KeyPath = ("stage", placed.place.number - 1, "set")
            for section, keys in stage.get("set", {}).items():
                for key in CHECKED:
                    if key in keys:
                        value = keys[key]
                        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
                        where = position(placed.place.file, (*at, section, key))
                        yield Said(stage["file"], key, text.strip("'\""), where=where, recipe=recipe.name)


def _check_ranges(reading: Reading, said: Said, neutron: Neutron) -> None:
    found: dict[str, list[Range]] = {}
    faults = []
    for entry in said.value.split(","):
        name, _, text = entry.strip().partition(":")
        one, fault = read_range(text) if text else (None, None)
        found.setdefault(name, []).extend([one] if one else [])
        if fault:
            faults.append(name)
            say(reading, said, name, fault)
    known = {provider.name: provider for provider in _about(said, neutron, neutron.vlans)}
    for name, ranges in found.items():
        if name not in known:
            _unknown(reading, said, name, known)
        elif tuple(ranges) != known[name].ranges and name not in faults:
            own = spelled(ranges, name) if ranges else f"{name} without a range"
            say(reading, said, name, f"{own} is not the range of the provider, {spelled(known[name].ranges)}")
    for name in sorted(known.keys() - found.keys()):
        say(reading, said, name, f"{spelled(known[name].ranges, name)} is missing")


def _check_names(reading: Reading, said: Said, neutron: Neutron) -> None:
    known = {provider.name for provider in _about(said, neutron, neutron.providers)}
    for entry in said.value.split(","):
        name = entry.strip().partition(":")[0]
        if name not in known:
            _unknown(reading, said, name, known)


def _check_flat(reading: Reading, said: Said, neutron: Neutron) -> None:
    known = [provider.name for provider in neutron.flat]
    names = [name.strip() for name in said.value.split(",")]
    if "*" in names:  # any name
        return
    for name in names:
        if name not in known:
            near = nearest(name, known) or there_are(known)
            say(reading, said, "", f'[neutron] has no flat provider "{name}"{near}')
    for name in known:
        if name not in names:
            say(reading, said, "", f"{name} is missing")


def _about(said: Said, neutron: Neutron, others: Sequence[Provider]) -> Sequence[Provider]:
    return neutron.infiniband if said.file.endswith(INFINIBAND_FILES) else others


def _unknown(reading: Reading, said: Said, name: str, known: Collection[str]) -> None:
    kind = "InfiniBand provider" if said.file.endswith(INFINIBAND_FILES) else "provider"
    say(reading, said, "", f'[neutron] has no {kind} "{name}"{nearest(name, known) or there_are(known)}')


def _check_partitions(reading: Reading, item: Wanted, neutron: Neutron) -> None:
    content = str(item.exact.get("content", ""))
    at = (*item.at, "content")
    long = [
        number for number, line in enumerate(content.splitlines(), 1) if len(line.encode()) > LONGEST_LINE
    ]
    if long:
        message = f'file "{item.ref.name}": line {long[0]} of it is longer than {LONGEST_LINE} bytes'
        reading.say(at, f"{message}, which breaks opensm's parser")
    texts = PARTITION.findall(content)
    octal = next((text for text in texts if _pkey(text) is None), None)
    if octal is not None:
        reading.say(
            at,
            f'file "{item.ref.name}": "{octal}" is no PKey; a number that begins with 0 is octal',
        )
        return
    keys = {_pkey(text) for text in texts}
    for provider in neutron.infiniband:
        missing = [
            number
            for first, last in provider.ranges
            for number in range(first, last + 1)
            if number not in keys
        ]
        if missing:
            reading.say(
                at,
                f'file "{item.ref.name}": no partition for segment {missing[0]} of "{provider.name}" '
                f"({reading.place(path_of_range(reading, provider.name))})",
                'generate = "partitions" makes one for each',
            )


def _pkey(text: str) -> int | None:
    """What opensm reads, with C's ``strtoul`` of base 0; the bit of full members is no part of the number."""
    if text.lower().startswith("0x"):
        return int(text, 16) & 0x7FFF
    if not text.startswith("0"):
        return int(text) & 0x7FFF if len(text) < LONGEST_NUMBER else None
    return None if re.search("[89]", text) else int(text, 8) & 0x7FFF
