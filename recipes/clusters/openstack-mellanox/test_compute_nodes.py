"""What OpenStack's nodes with ConnectX-3 have to be after a rollout; run on each of them, over ssh."""

import re
from functools import cache

import pytest

pytestmark = pytest.mark.only(virtual=False)
compute = pytest.mark.only(category="*compute*")

MELLANOX_CARDS = """\
for card in /sys/bus/pci/devices/*; do
    if [ "$(cat $card/vendor)" = 0x15b3 ] && [ ! -e $card/physfn ]; then echo ${card##*/}; fi
done"""

FIRMWARE = f"""\
flint=$(command -v mstflint || command -v flint) || exit
for card in $({MELLANOX_CARDS}); do $flint -d $card dc || exit; done"""

DRIVERS = "for device in $(ls /sys/class/net); do echo device: $device; ethtool -i $device 2>/dev/null; done"

AGENTS = "[ ! -r {openrc} ] || . {openrc}; neutron agent-list"


# Kernel and hardware


def test_it_runs_the_kernel_of_the_version(host, node):
    if node.kernel is None:
        pytest.skip("the version has no kernel of its own")
    assert host.check_output("uname -r") == node.kernel


def test_its_kernel_was_given_the_parameters_of_the_version(host, node):
    given = host.check_output("cat /proc/cmdline").split()
    assert [parameter for parameter in node.kernel_parameters if parameter not in given] == []


def test_iommu_is_on(host):
    """VT-d is switched on in the BIOS, and used."""
    assert host.run("dmesg | grep -e DMAR -e IOMMU").stdout, "VT-d is off in this node's BIOS"


def test_every_card_has_its_virtual_functions(host, parameters):
    cards = host.check_output(MELLANOX_CARDS).split()
    assert cards, "no Mellanox card"
    # By number: 15b3 is Mellanox, 1004 a virtual function of ConnectX-3; not every lspci knows the names.
    functions = host.check_output("lspci -n -d 15b3:1004").splitlines()
    assert len(functions) == parameters["vfs"] * len(cards)


def test_the_firmware_allows_them(host, parameters):
    said = host.check_output(FIRMWARE)
    assert set(re.findall(r"^\s*sriov_en\s*=\s*(\w+)", said, re.MULTILINE)) == {"true"}
    assert set(re.findall(r"^\s*total_vfs\s*=\s*(\d+)", said, re.MULTILINE)) == {str(parameters["vfs"])}


# The Ethernet device that stands for InfiniBand


def test_the_ethernet_device_over_infiniband_is_the_one_that_is_configured(host, parameters, report):
    found = ipoib_devices(host.run(DRIVERS).stdout)
    assert parameters["ib_device"] in found, f"eth_ipoib made no device of {parameters['ib_device']}"
    name = found[parameters["ib_device"]]
    report("ib_interface", name)
    assert name == parameters["ib_interface"], (
        f'the cluster file needs for this node: parameters = {{ ib_interface = "{name}" }}'
    )


def ipoib_devices(said):
    """InfiniBand device → Ethernet device that eth_ipoib made of it, from what ethtool says of all."""
    parts = (
        dict(re.findall(r"^([\w-]+): *(.*)$", part, re.MULTILINE)) for part in said.split("device: ")[1:]
    )
    names = re.findall(r"^device: (\S+)", said, re.MULTILINE)
    return {
        part["bus-info"]: name
        for name, part in zip(names, parts, strict=True)
        if part.get("driver") == "eth_ipoib"
    }


# Services and agents


@compute
@pytest.mark.parametrize("name", ["eswitchd", "neutron-mlnx-agent"])
def test_service_is_running(host, name):
    assert host.service(name).is_running


@compute
def test_the_mellanox_agent_is_alive(head, node, parameters):
    assert agents_of(head, node, parameters).get("Mellanox plugin agent") is True, (
        "its log is /var/log/neutron/mlnx-agent.log, eswitchd's is /var/log/eswitchd.log"
    )


def test_every_agent_of_the_node_is_alive(head, node, parameters):
    found = agents_of(head, node, parameters)
    assert [kind for kind, is_alive in found.items() if not is_alive] == []


def agents_of(head, node, parameters):
    """Kind of agent → whether it is alive, as Neutron's server sees this node's."""
    openrc = parameters.get("openrc", "/root/openrc")
    return agents(head.check_output(AGENTS.format(openrc=openrc))).get(node.name, {})


@cache
def agents(table):
    """Host, without its domain → kind of agent → whether it is alive."""
    lines = [line.strip() for line in table.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    names, found = rows[0], {}
    for row in rows[1:]:
        one = dict(zip(names, row, strict=True))
        alive = one["alive"].replace(" ", "") == ":-)"
        found.setdefault(one["host"].split(".")[0], {})[one["agent_type"]] = alive
    return found


@compute
def test_guests_with_a_virtual_function_are_bound_to_their_segment(host, parameters):
    log = host.run("cat /var/log/neutron/mlnx-agent.log").stdout
    updated = set(re.findall(r"Port (\S+) updated", log))
    if not updated:
        pytest.skip("no guest with a virtual function has been here since the node booted")
    bound = dict(
        reversed(pair)
        for pair in re.findall(r"Binding Segmentation ID (\d+)\s*to eSwitch for vNIC mac_address (\S+)", log)
    )
    assert updated - set(bound) == set()
    first, last = map(int, parameters["ib_vlan_range"].split(":"))
    assert all(first <= int(segment) <= last for segment in bound.values())
