"""Every key that is set in a file of OpenStack is one that its programs define, with a value of its type."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from generated import DHCP, ESWITCHD, LINUXBRIDGE, ML2, MLNX, Setting, cluster, settings, with_vxlan
from neutron_server import installed, python

pytestmark = pytest.mark.xdist_group("neutron")

MONOLITHIC = "of the plugin before ML2, which took networks from tenants itself; gone with it"
OLD_AGENTS = "for agents older than the server, in one release; gone with the plugin"
NEVER = "defined by nothing, not even icehouse: harmless, [DEFAULT] is where it would be read"

ICEHOUSE_ONLY: Mapping[Setting, str] = {
    Setting(ML2, "eswitch", "vnic_type"): "icehouse's driver mlnx plugs by it; now a port says its own",
    Setting(ML2, "eswitch", "apply_profile_patch"): "lets icehouse's driver mlnx work with an older nova",
    Setting(LINUXBRIDGE, "vlans", "tenant_network_type"): MONOLITHIC,
    Setting(LINUXBRIDGE, "vlans", "network_vlan_ranges"): MONOLITHIC,
    Setting(MLNX, "mlnx", "tenant_network_type"): MONOLITHIC,
    Setting(MLNX, "mlnx", "network_vlan_ranges"): MONOLITHIC,
    Setting(MLNX, "mlnx", "physical_network_type_mappings"): MONOLITHIC,
    Setting(MLNX, "mlnx", "physical_network_type"): MONOLITHIC,
    Setting(MLNX, "mlnx", "verbose"): NEVER,
    Setting(MLNX, "mlnx", "debug"): NEVER,
    Setting(MLNX, "eswitch", "vnic_type"): "as in ml2_conf.ini",
    Setting(MLNX, "agent", "rpc_support_old_agents"): OLD_AGENTS,
    Setting(ESWITCHD, "DEFAULT", "verbose"): "logging's, until 2016; debug says the same",
    Setting(ESWITCHD, "DAEMON", "socket_of_port"): "eswitchd's door for OpenFlow, which it has closed",
}
"""Keys that today's definitions don't have, and why they are set all the same."""


def asked(questions: Sequence[tuple[str, str, str, str]]) -> list[dict[str, Any]]:
    """What neutron's interpreter says of each (file, section, key, line)."""
    done = subprocess.run(
        [python(installed()), "-W", "ignore", Path(__file__).with_name("option_definitions.py")],
        input=json.dumps([(Path(file).name, *rest) for file, *rest in questions]),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


FILES = (ML2, LINUXBRIDGE, MLNX, DHCP, ESWITCHD)

WRONG = {
    Setting(LINUXBRIDGE, "vxlan", "enable_vxlan"): "perhaps",
    Setting(LINUXBRIDGE, "vxlan", "local_ip"): "ib0",
    Setting(MLNX, "agent", "polling_interval"): "two",
    Setting(ML2, "ml2", "type_driver"): "flat",
    Setting(ML2, "ml2_type_vlan", "type_drivers"): "flat",
}
"""Three values of a wrong type, two keys that are none."""

Answers = Mapping[Setting, dict[str, Any]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Answers]:
    """What became of the shipped cluster's keys, of its VXLAN variant's, and of wrong ones; asked at once."""
    project = tmp_path_factory.mktemp("vxlan") / "project"
    shipped, vxlan = (settings(of, own=True) for of in (cluster(), with_vxlan(project)))
    assert {setting.file for setting in shipped} >= set(FILES)
    some = {"shipped": shipped, "vxlan": vxlan, "wrong": WRONG}
    keys = [(name, one) for name, values in some.items() for one in values if one.file in FILES]
    lines = [(one.file, one.section, one.key, f"{one.key} = {some[name][one]}") for name, one in keys]
    found: dict[str, dict[Setting, dict[str, Any]]] = {name: {} for name in some}
    for (name, one), answer in zip(keys, asked(lines), strict=True):
        found[name][one] = answer
    return found


@pytest.mark.parametrize("isolation", ["shipped", "vxlan"])
def test_every_key_is_defined_or_only_icehouse_knew_it(
    answers: Mapping[str, Answers], isolation: str
) -> None:
    found = answers[isolation]
    assert {one: answer["wrong"] for one, answer in found.items() if "wrong" in answer} == {}
    assert {one for one, answer in found.items() if "unknown" in answer} == set(ICEHOUSE_ONLY)


def test_the_programs_understand_what_was_meant(answers: Mapping[str, Answers]) -> None:
    found = answers["shipped"]
    ranges = ["ibhostnet:1:10", "phyvlanhostnet:11:20"]
    assert found[Setting(ML2, "ml2_type_vlan", "network_vlan_ranges")] == {"value": ranges}
    assert found[Setting(MLNX, "eswitch", "daemon_endpoint")] == {"value": "tcp://localhost:60001"}
    assert found[Setting(MLNX, "agent", "polling_interval")] == {"value": 2}
    assert found[Setting(ESWITCHD, "DAEMON", "fabrics")] == {"value": ["ibhostnet:ib0"]}
    assert found[Setting(DHCP, "DEFAULT", "enable_isolated_metadata")] == {"value": True}
    assert answers["vxlan"][Setting(LINUXBRIDGE, "vxlan", "enable_vxlan")] == {"value": True}
    assert answers["vxlan"][Setting(ML2, "ml2_type_vxlan", "vni_ranges")] == {"value": ["1:8000"]}


def test_a_wrong_type_and_a_wrong_name_are_seen(answers: Mapping[str, Answers]) -> None:
    assert [list(answer) for answer in answers["wrong"].values()] == [["wrong"]] * 3 + [["unknown"]] * 2
