"""The tests of nodes that come with the cluster file, on nodes that run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.cluster.fanout import Target as Reached
from pipeline.cluster.fanout import Way
from pipeline.rollout.model import Node, Target, Verdict
from pipeline.rollout.verifying import NodeVerifier
from pipeline.store.store import Store
from tests.lab.nodes.small_lab import Lab
from tests.small_store import add_version

REPOSITORY = Path(__file__).parents[3]
TESTS = sorted((REPOSITORY / "recipes/clusters/openstack-mellanox").glob("test_*.py"))
FLINT = REPOSITORY / "pipeline/lab/vendor/ofed/payload/mft/usr/bin/flint"
CATEGORY = "openstack-compute-hosts"
NAMES = ("node001", "node002", "node003")

PARAMETERS = {"vfs": 4, "ib_device": "ib0", "ib_interface": "eth6", "ib_vlan_range": "1:10"}


def verify(
    lab: Lab,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parameters: Mapping[str, Mapping[str, object]],
) -> Mapping[str, Verdict]:
    monkeypatch.setenv("PATH", f"{lab.head / 'bin'}:{Path('/usr/sbin')}:/usr/bin:/sbin:/bin")
    store = Store.open(tmp_path / "store")
    add_version(store, [], kernel="2.6.32-431.el6.x86_64", kernel_parameters=("intel_iommu=on",))
    verifier = NodeVerifier(
        store,
        TESTS,
        way=Way(configuration=lab.place / "ssh_config"),
        head=Reached("head", local=True),
        parameters={name: {**PARAMETERS, **parameters.get(name, {})} for name in NAMES},
    )
    assert verifier.find(()) == []
    nodes = [Node(name, CATEGORY) for name in NAMES]
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
    for name in NAMES:
        lab.flash(name, sriov=True, vfs=4)
    lab.flash("node003", sriov=False, vfs=0)
    lab.reboot(*NAMES)
    for name in NAMES:
        lab.run(name, f"cat >/usr/bin/flint <<'EOF'\n{FLINT.read_text()}EOF\nchmod 755 /usr/bin/flint")
    verdicts = verify(lab, tmp_path, monkeypatch, {})
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
