"""The hand procedure, typed on the lab's head node, leads where its text says."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.lab.head import start, state

from . import seed

IMAGE, CATEGORY = "openstack-image-mellanox", "openstack-compute-hosts-mellanox"


def squeezed(text: str) -> str:
    return re.sub(r"\s", "", text)


def test_what_is_typed_differs_from_what_is_printed_by_the_repairs_only() -> None:
    repaired = dict.fromkeys(seed.REPAIRS, 0)
    for line in (line for step in seed.STEPS for line in step.lines if line.printed):
        printed = squeezed(line.printed)
        for repair in seed.REPAIRS:
            wrong, right, _ = repair
            repaired[repair] += printed.count(wrong)
            printed = printed.replace(wrong, right)
        assert printed == squeezed(line.typed)
    assert all(count == repair[2] for repair, count in repaired.items())


def test_the_procedure_reaches_the_state_that_it_describes(tmp_path: Path) -> None:
    start.make(tmp_path)
    before = state.snapshot(str(tmp_path))
    for sitting in seed.type_all(tmp_path):
        assert (sitting.returncode, sitting.stderr) == (0, ""), sitting
    state.wait(str(tmp_path))
    after = state.snapshot(str(tmp_path))
    objects = after["objects"]
    parameters = objects["softwareimage"][IMAGE]["kernelparameters"]
    assert parameters == f"{start.KERNEL_PARAMETERS} intel_iommu=on iommu=pt pci=realloc pci=nocrs"
    assert objects["softwareimage"][IMAGE]["path"] == f"/cm/images/{IMAGE}"
    assert objects["category"][CATEGORY]["softwareimage"] == IMAGE
    assert objects["category"]["openstack-network-nodes"]["softwareimage"] == IMAGE
    assert objects["category"]["openstack-compute-hosts"]["softwareimage"] == "openstack-image"
    services = objects["category"][CATEGORY]["services"]
    assert services == {
        name: {"type": "Service", "autostart": True, "monitored": True}
        for name in ("eswitchd", "neutron-mlnx-agent")
    }
    devices = objects["device"]
    categories = {name: device.get("category", "") for name, device in devices.items()}
    assert [categories[f"node00{number}"] for number in (1, 2, 3)] == [
        "openstack-network-nodes",
        CATEGORY,
        CATEGORY,
    ]
    for number in range(1, 13):
        interface = devices[f"vnode{number:03}"]["interfaces"]["ib0"]
        assert interface == {"type": "physical", "dhcp": True, "network": "ibnetwork"}
    assert objects["network"]["ibnetwork"] == {
        "type": "Network",
        "openstacknetworktype": "Other",
        "openstackvlanrange": "1:10",
        "openstacknetworkisshared": True,
        "openstackphysicalnetworkname": "ibnetwork",
        "domainname": "ibhostnet.cluster",
        "baseaddress": "192.168.80.0",
        "netmaskbits": 24,
        "broadcastaddress": "192.168.80.255",
    }
    roles = [
        devices["masterdoop"]["roles"]["openstacknode"],
        objects["category"][CATEGORY]["roles"]["openstacknode"],
        devices["node003"]["roles"]["openstacknode"],
    ]
    assert [len(role["configfilemodifications"]) for role in roles] == [10, 6, 6]
    assert "eth4" in roles[2]["configfilemodifications"][-1]
    assert (after["running"]["node001"]["opensm"], after["running"]["masterdoop"]["opensm"]) == (False, True)
    assert after["copying"] == {}
    assert {path for path in after["files"] if path not in before["files"]} == {
        "/etc/opensm/partitions.conf",
        *(
            path.replace("openstack-image", IMAGE)
            for path in before["files"]
            if path.startswith("/cm/images/openstack-image/")
        ),
    }


def test_the_daemon_writes_the_file_that_the_procedure_shows(tmp_path: Path) -> None:
    start.make(tmp_path)
    seed.type_all(tmp_path)
    assert (
        (tmp_path / f"root{seed.ML2}").read_text()
        == """\
[ml2]
type_drivers=flat,vlan
tenant_network_types=flat,vlan
mechanism_drivers=mlnx,linuxbridge,l2population

[ml2_type_flat]
flat_networks=phyflatnet

[ml2_type_vlan]
network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20

[ml2_type_gre]

[ml2_type_vxlan]

[securitygroup]
enable_security_group = True
firewall_driver=dummy_value_do_not_remove

[eswitch]
vnic_type=hostdev
apply_profile_patch=True
"""
    )


def test_show_has_what_the_procedure_prints_for_the_network(tmp_path: Path) -> None:
    start.make(tmp_path)
    printed = seed.type_all(tmp_path)[-1].stdout
    for label, value in {
        "OpenStack Physical network name": "ibnetwork",
        "OpenStack VLAN ID": "0",
        "OpenStack VLAN Range": "1:10",
        "OpenStack alloc pool end": "0.0.0.0",
        "OpenStack network is shared": "yes",
        "OpenStack network type": "Other",
        "Base address": "192.168.80.0",
        "Broadcast address": "192.168.80.255",
        "Domain Name": "ibhostnet.cluster",
        "MTU": "1500",
        "Netmask bits": "24",
        "Node booting": "no",
        "Notes": "<0 bytes>",
        "Type": "Internal",
        "name": "ibnetwork",
    }.items():
        assert f"{label:<32} {value}\n" in printed


def test_a_service_is_told_as_the_procedure_prints_it(tmp_path: Path) -> None:
    start.make(tmp_path)
    sitting = next(
        done
        for step, done in zip(seed.STEPS, seed.type_all(tmp_path), strict=True)
        if "opensm" in step.heading
    )
    assert sitting.stdout.splitlines()[:2] == ["opensm          [    UP    ]"] * 2
    assert re.search(
        r"^\w{3} \w{3} \d\d \d\d:\d\d:\d\d \d{4} \[notice\] node001: Service opensm was stopped$",
        sitting.stdout,
        re.MULTILINE,
    )
