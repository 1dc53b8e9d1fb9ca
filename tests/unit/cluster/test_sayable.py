"""What of a cluster an import leaves out of its file, and networks of the cloud as tables."""

from __future__ import annotations

import tomllib

import pytest

from pipeline.cluster.cloudtables import cloud_tables
from pipeline.cluster.importing import told_once
from pipeline.cluster.objects import Properties, Ref, State
from pipeline.cluster.sayable import Sayable
from pipeline.cluster.tomltext import comment

IMAGE = Ref("image", "i")
NETWORK = Ref("network", "n")
CATEGORY = Ref("category", "c")
ADDRESS: Properties = {"base_address": "10.1.0.0", "netmask_bits": 16, "broadcast_address": "10.1.255.255"}


def setting(name: str) -> Ref:
    return Ref("setting", name, "category/c")


LEFT_OUT: dict[str, tuple[Ref, Properties, str]] = {
    "control": (IMAGE, {"kernel_parameters": ("a=\x07", "b=1")}, "'a=\\x07' is not one kernel parameter"),
    "blank": (IMAGE, {"kernel_parameters": ("a b",)}, "'a b' is not one"),
    "path": (IMAGE, {"path": "/cm/../etc"}, "has to be an absolute path"),
    "recipe": (Ref("image", "r"), {"kernel_parameters": ("iommu=pt",)}, "would get: intel_iommu=on"),
    "name": (Ref("category", "c d"), {}, "the name cannot be said"),
    "broadcast": (NETWORK, {**ADDRESS, "broadcast_address": "0.0.0.0"}, "10.1.255.255, not 0.0.0.0"),
    "host": (NETWORK, {**ADDRESS, "base_address": "10.1.0.1"}, "host bits set"),
    "range": (NETWORK, {"openstack_vlan_range": "0:9999"}, "no range of VLANs"),
    "domain": (NETWORK, {"domain": "a b"}, "the name cannot be said"),
    "removes": (setting("/f[s]k"), {"replaces": True}, "only takes out"),
    "twice": (setting("/f[s]k"), {"value": "1\n2", "replaces": False}, "several values (1, 2)"),
    "ends": (setting("/f[s]k"), {"value": " 1", "replaces": False}, "blanks at its ends"),
    "colon": (setting("/f[s]k:l"), {"value": "1", "replaces": False}, "its file, section or key"),
    "template": (setting("/f[{{s}}]k"), {"value": "1", "replaces": False}, "its file, section or key"),
    "bell": (setting("/f[s]k"), {"value": "\x07", "replaces": False}, "no cluster manager can take"),
    "bond": (Ref("interface", "b0", "node/n1"), {"type": "bond"}, 'its type is "bond"'),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_there_are_no_words_for_is_named_with_the_reason(what: str) -> None:
    ref, properties, why = LEFT_OUT[what]
    sayable = Sayable(State({ref: properties}), {"r": ("intel_iommu=on", "iommu=pt")})
    kept = sayable.kept()
    [said] = sayable.left_out
    assert said.startswith(f"{ref}: ")
    assert why in said
    assert kept.objects.get(ref) != properties
    assert Sayable(kept, sayable.recipes).kept() == kept


def test_what_can_be_said_stays_as_it_is() -> None:
    objects: dict[Ref, Properties] = {
        IMAGE: {"path": "/cm/images/i", "kernel_parameters": ('a="b c"', "quiet")},
        Ref("image", "r"): {"kernel_parameters": ("iommu=pt", "intel_iommu=on")},
        CATEGORY: {"image": "i"},
        Ref("node", "n_1"): {"category": "c"},
        NETWORK: {**ADDRESS, "domain": "", "openstack_vlan_range": "1:10"},
        setting("/f[s]k"): {"value": "{{ x }}", "replaces": False},
    }
    sayable = Sayable(State(objects), {"r": ("intel_iommu=on", "iommu=pt")})
    assert (sayable.kept().objects, sayable.left_out) == (objects, [])


def test_what_belongs_to_something_left_out_is_too() -> None:
    sayable = Sayable(State({Ref("category", "c d"): {}, Ref("service", "s", "category/c d"): {}}))
    assert sayable.kept().objects == {}
    assert len(sayable.left_out) == 2


def test_networks_of_the_cloud_lie_on_the_ranges_that_the_head_node_has() -> None:
    of = "os-network/a"
    vlan: Properties = {"type": "vlan", "physical_network": "p", "shared": True, "external": False}
    value = "p:1:10,q:11:20"
    ranges = Ref("setting", "/ml2_conf.ini[ml2_type_vlan]network_vlan_ranges", "head/master")
    found = cloud_tables(
        State(
            {
                ranges: {"value": value, "replaces": True},
                Ref("os-network", "a"): {**vlan, "segment": 3},
                Ref("os-subnet", "s", of): {"cidr": "10.0.0.0/24"},
                Ref("os-subnet", "six", of): {"cidr": "fd00::/64"},
                Ref("os-network", "far"): {**vlan, "segment": 40},
                Ref("os-network", "flat"): {"type": "flat", "physical_network": "f", "external": True},
                Ref("os-network", "tenant"): {"type": "vxlan", "segment": 3},
            }
        )
    )
    tables = tomllib.loads(found.text)
    providers = {one["name"]: one.get("range") for one in tables["neutron"]["provider"]}
    assert providers == {"p": ["1:10", "40:40"], "q": ["11:20"], "f": None}
    networks = {one["name"]: one for one in tables["openstack"]["network"]}
    assert networks.keys() == {"a", "far", "flat"}
    assert networks["a"]["subnet"] == [{"name": "s", "cidr": "10.0.0.0/24"}]
    assert (networks["a"]["segment"], networks["a"]["shared"], networks["flat"]["external"]) == (
        3,
        True,
        True,
    )
    assert [each.partition(":")[0] for each in found.left_out] == [
        "os-network/tenant",
        "os-network/a/os-subnet/six",
    ]


def test_a_comment_is_one_line_whatever_is_in_it() -> None:
    assert comment("a\nb\x1b[31m") == "# a\\nb\\x1b[31m\n"


def test_networks_that_overlap_are_said_without_the_second_ones_address() -> None:
    def network(base: str, bits: int) -> dict[str, object]:
        return {"base_address": base, "netmask_bits": bits, "domain": "d"}

    there = {
        Ref("network", "a"): network("10.1.0.0", 16),
        Ref("network", "b"): network("10.1.4.0", 24),
        Ref("network", "c"): network("10.2.0.0", 24),
        Ref("network", "point"): network("10.3.0.0", 31),
    }
    sayable = Sayable(State(there))  # type: ignore[arg-type]
    kept = sayable.kept().objects
    assert [ref.name for ref, found in kept.items() if "base_address" in found] == ["a", "c"]
    assert sayable.left_out[-1] == "network/b: its address: 10.1.4.0/24 overlaps that of a"
    assert "network/point: its address: " in sayable.left_out[0]


@pytest.mark.parametrize("path", ["/", "/etc/x", "images/x", "/cm/images/../x"])
def test_a_directory_that_no_image_can_have_is_left_out(path: str) -> None:
    sayable = Sayable(State({Ref("image", "i"): {"path": path, "kernel_parameters": ()}}))
    assert "path" not in sayable.kept().objects[Ref("image", "i")]
    assert sayable.left_out


def test_what_the_cloud_has_and_no_file_can_say_is_named_once() -> None:
    flat = {"type": "flat", "physical_network": "p"}
    network, six = Ref("os-network", "a b"), Ref("os-subnet", "six", "os-network/good")
    state = State(
        {network: flat, Ref("os-network", "good"): flat, six: {"cidr": "fd00::/64"}},
    )
    sayable = Sayable(state)
    sayable.kept()
    assert told_once(sayable.left_out, cloud_tables(state).left_out) == (
        "os-network/a b: the name cannot be said in a cluster file",
        f'{six}: "fd00::/64" is no IPv4 network: there are no others in a cluster file',
    )
