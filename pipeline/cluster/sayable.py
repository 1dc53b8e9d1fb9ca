"""What of a cluster a cluster file has words for; the rest is left out, by name and with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network

import msgspec

from pipeline.cluster.imaging import tree_fault
from pipeline.cluster.networks import read_cidr
from pipeline.cluster.nodesets import NODE
from pipeline.cluster.objects import HEAD, Kind, Properties, Ref, State, Value
from pipeline.cluster.owned import KEY, SECTION, path_fault
from pipeline.cluster.reading import CONTROL, OPEN
from pipeline.cluster.segments import read_range
from pipeline.kernel_words import is_parameter
from pipeline.recipe.names import file_name_fault

SETTING = re.compile(r"(?P<file>[^\[]+)\[(?P<section>[^\]]*)\](?P<key>.+)", re.DOTALL)

TEMPLATE = re.compile(r"\{\{|\{%|\{#")
"""What begins a template: a value can have it in another spelling, the name of a key can't."""

NAMED = ("image", "category", "network")
NETWORKS_OWN = ("domain", "openstack_type", "openstack_physical_network")
UNSAID = "cannot be said in a cluster file"


class Sayable(msgspec.Struct):
    """``state`` as far as a cluster file can say it, and ``left_out``: each with its name and why.

    ``recipes`` are kernel parameters of image recipes by name, ``unkept`` are kinds that nobody keeps here:
    they were read as names for other objects only.
    """

    state: State
    recipes: Mapping[str, tuple[str, ...]] = {}
    unkept: frozenset[Kind] = frozenset()
    left_out: list[str] = msgspec.field(default_factory=list)

    def kept(self) -> State:
        """What is left, with ``left_out`` filled."""
        found: dict[Ref, Properties] = {}
        gone: set[str] = set()
        for ref, properties in self.state.objects.items():
            why = f"it belongs to {ref.of}" if ref.of in gone else self._fault(ref, properties)
            if why:
                gone.add(str(ref))
                self.left_out.append(f"{ref}: {why}")
            else:
                found[ref] = self._properties(ref, properties)
        self._leave_out_overlaps(found)
        return State(self._without_partial_lists(found), self.state.notes)

    def _leave_out_overlaps(self, found: dict[Ref, Properties]) -> None:
        """Take out the address of each network that has some of another one's."""
        first: dict[str, IPv4Network] = {}
        for ref, properties in found.items():
            base, bits = properties.get("base_address"), properties.get("netmask_bits")
            network, _ = read_cidr(f"{base}/{bits}") if ref.kind == "network" else (None, None)
            if network is None or base == "0.0.0.0":
                continue
            other = next((name for name, one in first.items() if one.overlaps(network)), None)
            if other is None:
                first[ref.name] = network
            else:
                self.left_out.append(f"{ref}: its address: {network} overlaps that of {other}")
                found[ref] = _without_address(properties)

    def _fault(self, ref: Ref, properties: Properties) -> str:
        """Why the object as a whole can't be said; empty if it can."""
        if ref.kind in self.unkept:
            return f"no {ref.kind} can be kept here"
        if ref.kind == "setting":
            return _setting_fault(ref.name, properties)
        if ref.kind == "node":
            return "" if NODE.fullmatch(ref.name) else f"the name {UNSAID}"
        if ref != HEAD and file_name_fault(ref.name):
            return f"the name {UNSAID}"
        if ref.kind == "interface" and properties.get("type") != "physical":
            return f'its type is "{properties.get("type")}"; a cluster file has physical ones only'
        if ref.kind == "image":
            parameters = properties.get("kernel_parameters", ())
            assert isinstance(parameters, tuple)
            lacking = [one for one in self.recipes.get(ref.name, ()) if one not in parameters]
            if lacking:
                named = " ".join(lacking)
                return f"the recipe of this name has kernel parameters that it lacks, and would get: {named}"
        return ""

    def _properties(self, ref: Ref, properties: Properties) -> Properties:
        found = dict(properties)
        for name, value in properties.items():
            if isinstance(value, tuple):
                found[name] = tuple(one for one in value if self._takes_parameter(ref, one))
            elif value != "" and (why := _value_fault(ref.kind, name, value)):
                del found[name]
                self.left_out.append(f"{ref}: {name} {value!r}: {why}")
        if ref.kind == "network" and (why := _address_fault(found)):
            self.left_out.append(f"{ref}: its address: {why}")
            return _without_address(found)
        return found

    def _takes_parameter(self, ref: Ref, text: str) -> bool:
        if is_parameter(text) and OPEN not in text:
            return True
        self.left_out.append(f"{ref}: {text!r} is not one kernel parameter")
        return False

    def _without_partial_lists(self, found: dict[Ref, Properties]) -> dict[Ref, Properties]:
        """Without the settings of nodes that lack one of their category: in a file they have all of them."""
        names: dict[str, dict[str, None]] = {}
        for ref in found:
            if ref.kind == "setting":
                names.setdefault(ref.of, {})[ref.name] = None
        partial: set[str] = set()
        for of, mine in names.items():
            kind, _, name = of.partition("/")
            category = found.get(Ref("node", name), {}).get("category") if kind == "node" else None
            lacking = [one for one in names.get(f"category/{category}", ()) if one not in mine]
            if lacking:
                partial.add(of)
                told = f"its category has {lacking[0]}, which it has not; a file would give it that"
                self.left_out.append(f"{of}: the settings of its own: {told}")
        return {ref: value for ref, value in found.items() if ref.kind != "setting" or ref.of not in partial}


def _without_address(properties: Properties) -> Properties:
    return {name: value for name, value in properties.items() if name not in ("base_address", "netmask_bits")}


def _setting_fault(name: str, properties: Properties) -> str:
    match = SETTING.fullmatch(name)
    if match is None:
        return f"no FILE[SECTION]KEY, and {UNSAID}"
    if "value" not in properties:
        return "only takes out what the file had"
    value = str(properties["value"])
    if "\n" in value:
        return f"the key has several values ({', '.join(value.splitlines())}); a cluster file gives it one"
    if value != value.strip():
        return f"its value {value!r} has blanks at its ends"
    if CONTROL.search(name + value) or OPEN in name + value:
        return "has a character that no cluster manager can take"
    key = match["key"]
    fits = KEY.fullmatch(key) and SECTION.fullmatch(match["section"]) and not path_fault(match["file"])
    if not fits or TEMPLATE.search(key + match["section"]):
        return f"the name of its file, section or key {UNSAID}"
    return ""


def _value_fault(kind: Kind, name: str, value: Value) -> str:
    """Why a property's value can't be said; empty if it can."""
    text = str(value)
    if CONTROL.search(text) or OPEN in text:
        return "has a character that no cluster manager can take"
    if kind == "image" and name == "path" and (fault := tree_fault(text)):
        return fault
    refers = name in NAMED and kind in ("category", "node", "interface")
    if (refers or (kind == "network" and name in NETWORKS_OWN)) and file_name_fault(text):
        return f"the name {UNSAID}"
    if name == "openstack_vlan_range" and read_range(text)[1]:
        return "no range of VLANs"
    return ""


def _address_fault(found: Properties) -> str:
    """Why the address of a network can't be said as a CIDR; empty if it can, or when it has none."""
    base, bits = found.get("base_address"), found.get("netmask_bits")
    if not base or not bits or base == "0.0.0.0":
        return ""
    network, fault = read_cidr(f"{base}/{bits}")
    if network is None:
        return str(fault)
    broadcast = found.get("broadcast_address", str(network.broadcast_address))
    if broadcast != str(network.broadcast_address):
        return f"{network} has the broadcast address {network.broadcast_address}, not {broadcast}"
    return ""
