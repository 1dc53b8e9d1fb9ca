"""The tests of nodes that come with the cluster file, on nodes that run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pipeline.cluster.fanout import Target as Reached
from pipeline.cluster.fanout import Way
from pipeline.lab.nodes import running
from pipeline.rollout.model import Node, Target, Verdict
from pipeline.rollout.verifying import NodeVerifier
from pipeline.store.store import Store
from tests.lab.nodes.small_lab import Lab, wait
from tests.small_store import add_version

pytestmark = pytest.mark.xdist_group("rollout")

REPOSITORY = Path(__file__).parents[3]
TESTS = sorted((REPOSITORY / "recipes/clusters/openstack-mellanox").glob("test_*.py"))
FLINT = REPOSITORY / "pipeline/lab/vendor/ofed/payload/mft/usr/bin/flint"
CATEGORY = "openstack-compute-hosts"
NAMES = ("node001", "node002", "node003")
VIRTUAL = ("vnode001", "vnode002")

PARAMETERS = {
    "vfs": 4,
    "ib_device": "ib0",
    "ib_interface": "eth6",
    "ib_vlan_range": "1:10",
    "subnet": "192.168.80.0/24",
}


def verify(
    lab: Lab, nodes: Sequence[Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, Verdict]:
    monkeypatch.setenv("PATH", f"{lab.head / 'bin'}:{Path('/usr/sbin')}:/usr/bin:/sbin:/bin")
    store = Store.open(tmp_path / "store")
    add_version(store, [], kernel="2.6.32-431.el6.x86_64", kernel_parameters=("intel_iommu=on",))
    verifier = NodeVerifier(
        store,
        TESTS,
        way=Way(configuration=lab.place / "ssh_config"),
        head=Reached("head", local=True),
        parameters={node.name: PARAMETERS for node in nodes},
    )
    assert verifier.find(()) == []
    return verifier.verify(nodes, Target("web-1", "web", 1), tmp_path / "logs")


def failed(verdict: Verdict) -> dict[str, str]:
    """Tests of the files that did not pass: name → why."""
    return {
        check.name.split("::")[1]: check.why
        for check in verdict.checks
        if "::" in check.name and check.outcome in ("failed", "error")
    }


def test_each_check_fails_on_the_node_that_lacks_what_it_looks_for_and_on_no_other(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, image in zip(NAMES, ("hasty-2", "patient-1", "hasty-2"), strict=True):
        lab.device(name, softwareimage=image)
        lab.flash(name, sriov=True, vfs=4)
    lab.flash("node003", sriov=False, vfs=0)
    lab.reboot(*NAMES)
    for name in NAMES:
        lab.run(name, f"cat >/usr/bin/flint <<'EOF'\n{FLINT.read_text()}EOF\nchmod 755 /usr/bin/flint")
    verdicts = verify(lab, [Node(name, CATEGORY) for name in NAMES], tmp_path, monkeypatch)
    by_name = {name: failed(verdict) for name, verdict in verdicts.items()}
    # node002's image sleeps before the agent starts, and has intel_iommu=on; that of the others does neither.
    assert by_name["node002"] == {}
    assert set(by_name["node001"]) == {
        "test_its_kernel_was_given_the_parameters_of_the_version",
        "test_iommu_is_on",
        "test_service_is_running[neutron-mlnx-agent]",
        "test_the_mellanox_agent_is_alive",
        "test_every_agent_of_the_node_is_alive",
    }
    assert set(by_name["node003"]) == {
        *by_name["node001"],
        "test_every_card_has_its_virtual_functions",
        "test_the_firmware_allows_them",
        "test_the_ethernet_device_over_infiniband_is_the_one_that_is_configured",
    }
    assert {name: verdict.facts["ib_interface"] for name, verdict in verdicts.items()} == {
        "node001": "eth6",
        "node002": "eth6",
        "node003": "eth4",
    }
    assert (
        'the cluster file needs for this node: parameters = { ib_interface = "eth4" }'
        in (by_name["node003"]["test_the_ethernet_device_over_infiniband_is_the_one_that_is_configured"])
    )


def test_virtual_nodes_need_an_address_on_infiniband_and_their_hosts_a_binding(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.down(lab.home)
    lab.type(
        "network; add ibnetwork; set domainname ibhostnet.cluster; set baseaddress 192.168.80.0; "
        "set netmaskbits 24; set broadcastaddress 192.168.80.255; commit"
    )
    added = "interfaces; add physical ib0; set dhcp yes; set network ibnetwork; commit"
    lab.type(f"device foreach -n vnode001 ({added})")
    lab.device("node001", softwareimage="patient-1")
    for name in ("vnode001", "vnode002"):
        lab.device(name, softwareimage="hasty-2")
    lab.up(1, 2)
    log = "/var/log/neutron/mlnx-agent.log"
    wait(lambda: "Binding Segmentation" in lab.run("node001", f"cat {log}"), "a guest's interface is bound")
    nodes = [Node("node001", CATEGORY), *(Node(name, "vnodes", is_virtual=True) for name in VIRTUAL)]
    verdicts = verify(lab, nodes, tmp_path, monkeypatch)
    assert failed(verdicts["vnode001"]) == {}
    assert verdicts["vnode001"].facts["ib_address"].startswith("192.168.80.")
    assert set(failed(verdicts["vnode002"])) == {"test_it_has_an_address_in_the_infiniband_network"}
    assert guests_are_bound(verdicts["node001"]) == "passed"

    lab.run("node001", f"echo 'INFO [-] Port fa:16:3e:ec:98:dc updated' >>{log}")
    assert guests_are_bound(verify(lab, nodes[:1], tmp_path, monkeypatch)["node001"]) == "failed"


def guests_are_bound(verdict: Verdict) -> str:
    """How that test ended."""
    name = "test_guests_with_a_virtual_function_are_bound_to_their_segment"
    return next(check.outcome for check in verdict.checks if check.name.endswith(name))
