"""mlnx_conf.ini and eswitchd.conf: of the agent and of the daemon that it asks, which are on one node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pipeline.cluster.networks import path_of_range
from pipeline.cluster.neutron import Neutron
from pipeline.cluster.reading import Reading
from pipeline.cluster.said import INFINIBAND_FILES, Said, say

FABRICS, INTERFACES = "fabrics", "physical_interface_mappings"
PORT, ENDPOINT = "socket_os_port", "daemon_endpoint"
TYPE, TYPES = "physical_network_type", "physical_network_type_mappings"

KEYS = (FABRICS, PORT, ENDPOINT, TYPE)
"""Those that are looked at in these two files only."""

INFINIBAND = "ib"
"""The type of an InfiniBand network in mlnx_conf.ini."""

FOUND_BY_DAEMON = re.compile(r"auto(ib|eth)?", re.ASCII)
"""What ``fabrics`` may have instead of an interface: the daemon takes what is there."""

AT_PORT = re.compile(r":([0-9]+)/?\Z")


def check(reading: Reading, neutron: Neutron, every: Iterable[Said]) -> None:
    """Tell of what doesn't agree, with both places."""
    those = [said for said in every if said.file.endswith(INFINIBAND_FILES)]
    for said in those:
        _check_type(reading, neutron, said)
    for one, other in _pairs(those, FABRICS, INTERFACES):
        devices = _mapped(other.value)
        for name, device in _mapped(one.value).items():
            theirs = devices.get(name, device)
            if theirs != device and not FOUND_BY_DAEMON.fullmatch(device):
                _disagree(reading, one, other, f"the interface of {name}", (device, theirs), name)
    for one, other in _pairs(those, PORT, ENDPOINT):
        port = AT_PORT.search(_unquoted(other.value))
        if port and port[1] != _unquoted(one.value):
            _disagree(reading, one, other, "the port", (_unquoted(one.value), port[1]), "")


def _check_type(reading: Reading, neutron: Neutron, said: Said) -> None:
    infiniband = [provider.name for provider in neutron.infiniband]
    types: dict[str, str] = {}
    if said.key == TYPES:
        types = _mapped(said.value)
    elif said.key == TYPE and infiniband:
        types = dict.fromkeys(infiniband[:1], _unquoted(said.value))
    for name, kind in types.items():
        if name in infiniband and kind != INFINIBAND:
            say(
                reading, said, name, f'"{kind}" is not "{INFINIBAND}", but "{name}" has fabric = "infiniband"'
            )


def _pairs(those: Iterable[Said], key: str, counterpart: str) -> Iterator[tuple[Said, Said]]:
    """What meets on a node: keys of one recipe, or of the cluster file, which stands above recipes."""
    here = [said for said in those if said.key in (key, counterpart)]
    above = {(said.file, said.key) for said in here if not said.recipe}
    here = [said for said in here if not said.recipe or (said.file, said.key) not in above]
    for one in here:
        for other in here:
            met = one.recipe == other.recipe or not (one.recipe and other.recipe)
            if met and one.key == key and other.key == counterpart and one.file != other.file:
                yield one, other


def _disagree(
    reading: Reading, one: Said, other: Said, what: str, values: tuple[str, str], provider: str
) -> None:
    first, second = (
        f"{value} by {said.key} of {said.file}" for value, said in zip(values, (one, other), strict=True)
    )
    if one.at:
        reading.say(one.at, f"{what} is {first}, but {second} ({_place(reading, other)})")
    elif other.at:
        reading.say(other.at, f"{what} is {second}, but {first} ({_place(reading, one)})")
    else:
        at = path_of_range(reading, provider)
        reading.say(
            at, f"{what} is {first} ({_place(reading, one)}), but {second} ({_place(reading, other)})"
        )


def _place(reading: Reading, said: Said) -> str:
    return reading.place(said.at) if said.at else said.where


def _mapped(value: str) -> dict[str, str]:
    """NAME:SOMETHING,…"""
    entries = (entry.strip().partition(":") for entry in _unquoted(value).split(","))
    return {name: what for name, _, what in entries if what}


def _unquoted(value: str) -> str:
    return value.strip().strip("'\"")
