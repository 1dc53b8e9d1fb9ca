"""A real neutron-server, fed with the generated ml2_conf.ini, takes the networks of the cluster file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from pipeline.cluster.compare import changes
from pipeline.cluster.objects import Assignment, Change, Ref, Wanted
from pipeline.cluster.openstack import OpenStack
from pipeline.errors import PipelineError
from tests.integration.openstack.generated import ML2, cluster, ini, openstack, with_vxlan
from tests.integration.openstack.neutron_server import Neutron, neutron_server

pytest.importorskip("openstack.connection", reason="openstacksdk is not installed: the extra 'openstack'")
pytestmark = pytest.mark.xdist_group("neutron")

SEEDS = {
    "name": "ibnetwork",
    "provider:network_type": "vlan",
    "provider:physical_network": "ibhostnet",
    "provider:segmentation_id": 1,
    "shared": True,
    "router:external": False,
}
"""What the hand procedure's net-create asks for."""

FREE = count(11)
"""Segments of the Ethernet network that no test has used yet."""


@pytest.fixture
def cloud(neutron: Neutron) -> Iterator[OpenStack]:
    """A cloud without networks."""
    yield OpenStack(neutron.url)
    for network in listed(neutron, "networks"):
        for port in listed(neutron, "ports", network_id=network["id"]):
            requests.delete(f"{neutron.url}/v2.0/ports/{port['id']}", timeout=30).raise_for_status()
        requests.delete(f"{neutron.url}/v2.0/networks/{network['id']}", timeout=30).raise_for_status()


def listed(neutron: Neutron, what: str, **filters: str) -> list[dict[str, Any]]:
    """What the server itself says, without openstacksdk."""
    answer = requests.get(f"{neutron.url}/v2.0/{what}", params=filters, timeout=30)
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()[what]
    return found


def made(neutron: Neutron, what: str, **values: object) -> dict[str, Any]:
    """Something that somebody else makes."""
    answer = requests.post(f"{neutron.url}/v2.0/{what}s", json={what: values}, timeout=30)
    assert answer.ok, answer.text
    found: dict[str, Any] = answer.json()[what]
    return found


def due(cloud: OpenStack, wanted: tuple[Wanted, ...]) -> tuple[Change, ...]:
    return changes(wanted, cloud.read(wanted), {}, {})


def apply(cloud: OpenStack, wanted: tuple[Wanted, ...]) -> None:
    state = cloud.read(wanted)
    cloud.write(changes(wanted, state, {}, {}), state)


def wanted_network(name: str = "ibnetwork", **values: str | int | bool) -> tuple[Wanted, ...]:
    return (Wanted(Ref("os-network", name), values),)


def test_the_network_and_its_subnet_are_made_as_the_hand_procedure_makes_them(
    cloud: OpenStack, neutron: Neutron
) -> None:
    wanted = openstack(cluster())
    apply(cloud, wanted)
    (network,) = listed(neutron, "networks")
    assert {key: network[key] for key in SEEDS} == SEEDS
    (subnet,) = listed(neutron, "subnets")
    assert (subnet["name"], subnet["cidr"], subnet["network_id"]) == (
        "ibsubnet",
        "192.168.80.0/24",
        network["id"],
    )
    assert due(cloud, wanted) == ()
    assert set(cloud.survey().objects) == {item.ref for item in wanted}


def test_what_the_hand_procedure_made_is_left_alone(cloud: OpenStack, neutron: Neutron) -> None:
    network = made(neutron, "network", **SEEDS)
    made(neutron, "subnet", network_id=network["id"], name="ibsubnet", cidr="192.168.80.0/24", ip_version=4)
    assert due(cloud, openstack(cluster())) == ()


def test_the_server_has_read_the_generated_file(neutron: Neutron) -> None:
    log = neutron.log.read_text()
    assert (
        "Network VLAN ranges: OrderedDict([('ibhostnet', [(1, 10)]), ('phyvlanhostnet', [(11, 20)])])" in log
    )
    assert "Allowable flat physical_network names: ['phyflatnet']" in log
    assert "Loaded mechanism driver names: ['mlnx_infiniband', 'linuxbridge', 'l2population']" in log


def test_a_network_without_its_subnet_gets_it(cloud: OpenStack, neutron: Neutron) -> None:
    made(neutron, "network", **SEEDS)
    assert [str(change.ref) for change in due(cloud, openstack(cluster()))] == [
        "os-network/ibnetwork/os-subnet/ibsubnet"
    ]
    apply(cloud, openstack(cluster()))
    assert len(listed(neutron, "networks")) == len(listed(neutron, "subnets")) == 1


def test_what_can_be_changed_is_changed(cloud: OpenStack, neutron: Neutron) -> None:
    made(neutron, "network", **SEEDS | {"shared": False, "router:external": True})
    apply(cloud, openstack(cluster()))
    (network,) = listed(neutron, "networks")
    assert network["shared"] is True
    assert network["router:external"] is False


def test_what_cannot_be_changed_is_told_with_both_values_and_left(cloud: OpenStack, neutron: Neutron) -> None:
    ethernet = {"provider:physical_network": "phyvlanhostnet", "provider:segmentation_id": next(FREE)}
    network = made(neutron, "network", **SEEDS | ethernet)
    made(neutron, "subnet", network_id=network["id"], name="ibsubnet", cidr="10.9.0.0/16", ip_version=4)
    with pytest.raises(PipelineError) as told:
        cloud.read(openstack(cluster()))
    segment = ethernet["provider:segmentation_id"]
    assert [(problem.where, problem.message.split(":")[0]) for problem in told.value.problems] == [
        ("os-network/ibnetwork", "physical_network is 'phyvlanhostnet' and is to be 'ibhostnet'"),
        ("os-network/ibnetwork", f"segment is {segment} and is to be 1"),
        ("os-network/ibnetwork/os-subnet/ibsubnet", "cidr is '10.9.0.0/16' and is to be '192.168.80.0/24'"),
    ]


def test_neutron_itself_refuses_what_is_told_to_be_unchangeable(cloud: OpenStack, neutron: Neutron) -> None:
    network = made(neutron, "network", **SEEDS)
    for values in ({"provider:network_type": "flat"}, {"provider:physical_network": "phyvlanhostnet"}):
        url = f"{neutron.url}/v2.0/networks/{network['id']}"
        assert requests.put(url, json={"network": values}, timeout=30).status_code == 400


def test_a_change_of_what_cannot_be_changed_writes_nothing(cloud: OpenStack, neutron: Neutron) -> None:
    made(neutron, "network", **SEEDS | {"shared": False})
    shared = Change(Ref("os-network", "ibnetwork"), "set", (Assignment("shared", False, True),))
    cidr = Change(
        Ref("os-subnet", "ibsubnet", "os-network/ibnetwork"), "set", (Assignment("cidr", "a", "b"),)
    )
    with pytest.raises(PipelineError, match="cidr is 'a' and is to be 'b'"):
        cloud.write([shared, cidr], cloud.read(()))
    assert listed(neutron, "networks")[0]["shared"] is False


def test_two_networks_of_one_name_are_refused_with_both_ids(cloud: OpenStack, neutron: Neutron) -> None:
    twins = [made(neutron, "network", name="ibnetwork") for _ in range(2)]
    ids = ", ".join(sorted(twin["id"] for twin in twins))
    with pytest.raises(PipelineError, match=f"there are 2 networks of this name: {ids}"):
        cloud.read(openstack(cluster()))
    with pytest.raises(PipelineError, match=ids):
        cloud.write([Change(Ref("os-network", "ibnetwork"), "set")], cloud.read(()))
    surveyed = cloud.survey()
    assert not surveyed.objects
    assert all(twin["id"] in surveyed.notes[0] for twin in twins)


def test_two_subnets_of_one_name_in_one_network_are_refused(cloud: OpenStack, neutron: Neutron) -> None:
    network = made(neutron, "network", **SEEDS)
    for cidr in ("192.168.80.0/24", "192.168.81.0/24"):
        made(neutron, "subnet", network_id=network["id"], name="ibsubnet", cidr=cidr, ip_version=4)
    with pytest.raises(PipelineError, match="there are 2 subnets of this name"):
        cloud.read(openstack(cluster()))


def test_a_subnet_of_that_name_in_another_network_is_another(cloud: OpenStack, neutron: Neutron) -> None:
    other = made(neutron, "network", **SEEDS | {"name": "other", "provider:segmentation_id": 2})
    made(neutron, "subnet", network_id=other["id"], name="ibsubnet", cidr="10.1.0.0/16", ip_version=4)
    apply(cloud, openstack(cluster()))
    assert due(cloud, openstack(cluster())) == ()
    assert len(listed(neutron, "subnets", name="ibsubnet")) == 2


def test_one_that_somebody_makes_in_between_is_not_made_twice(cloud: OpenStack, neutron: Neutron) -> None:
    state = cloud.read(openstack(cluster()))
    made(neutron, "network", **SEEDS)
    with pytest.raises(PipelineError, match="os-network/ibnetwork: somebody has made it since"):
        cloud.write(changes(openstack(cluster()), state, {}, {}), state)
    assert len(listed(neutron, "networks")) == 1


def test_one_that_somebody_removes_in_between_is_told(cloud: OpenStack) -> None:
    shared = Change(Ref("os-network", "ibnetwork"), "set", (Assignment("shared", False, True),))
    with pytest.raises(PipelineError, match="os-network/ibnetwork: somebody has removed it"):
        cloud.write([shared], cloud.read(()))


def test_a_segment_in_use_is_told_with_what_was_done_before(cloud: OpenStack, neutron: Neutron) -> None:
    made(neutron, "network", **SEEDS | {"name": "taken"})
    first = wanted_network("afirst", type="vlan", physical_network="ibhostnet", segment=2)
    second = wanted_network("second", type="vlan", physical_network="ibhostnet", segment=1)
    with pytest.raises(PipelineError, match=r"os-network/second: .*\(409\): .*in use") as told:
        apply(cloud, (*first, *second))
    assert "done before it: os-network/afirst" in str(told.value)
    assert {network["name"] for network in listed(neutron, "networks")} == {"taken", "afirst"}


def test_a_physical_network_that_the_file_does_not_name_is_refused_by_neutron(cloud: OpenStack) -> None:
    with pytest.raises(PipelineError, match=r"os-network/x: .*\(400\): .*'nosuch' unknown for VLAN"):
        apply(cloud, wanted_network("x", type="vlan", physical_network="nosuch", segment=1))


def test_a_network_that_others_use_stays_shared_and_that_is_told(cloud: OpenStack, neutron: Neutron) -> None:
    network = made(neutron, "network", **SEEDS)
    made(neutron, "port", network_id=network["id"], project_id="others")
    with pytest.raises(PipelineError, match=r"os-network/ibnetwork: .*\(409\)"):
        apply(cloud, wanted_network(shared=False))
    assert listed(neutron, "networks")[0]["shared"] is True


@pytest.mark.parametrize("name", ["a b", 'quo"te', "it's", "a;b", "$(x)", "a&b=c", "a/b", "ä", "%41", "[x]"])
def test_a_name_is_only_a_name(cloud: OpenStack, neutron: Neutron, name: str) -> None:
    wanted = wanted_network(name, type="vlan", physical_network="ibhostnet", segment=7)
    apply(cloud, wanted)
    assert [network["name"] for network in listed(neutron, "networks")] == [name]
    assert due(cloud, wanted) == ()


def test_with_vxlan_as_the_default_a_network_without_a_provider_is_one(tmp_path: Path) -> None:
    with_it = with_vxlan(tmp_path / "project", "vxlan")
    with neutron_server(tmp_path, ini(with_it, ML2)) as neutron:
        assert made(neutron, "network", name="any")["provider:network_type"] == "vxlan"
        apply(OpenStack(neutron.url), openstack(with_it))
        assert due(OpenStack(neutron.url), openstack(with_it)) == ()
