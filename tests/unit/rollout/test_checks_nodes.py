"""What the cluster manager's view of nodes and images says against a rollout."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cluster.drivers.nodes import ImageFacts
from pipeline.cluster.rolling import Share
from pipeline.rollout.checks_nodes import findings_back, node_findings
from pipeline.rollout.model import Finding
from tests.rollout_world import IMAGE, World

WIPES = "FULL wipes the disks of 5 nodes: whatever was changed on them is lost"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def found(world: World, **wishes: object) -> list[Finding]:
    return node_findings(world.draft(**wishes), world.survey())  # type: ignore[arg-type]


def told(world: World, **wishes: object) -> list[tuple[str, str, str]]:
    """But for what FULL does, which is always told."""
    return [
        (each.severity, each.where, each.what)
        for each in found(world, **wishes)
        if not each.what.startswith("FULL wipes")
    ]


def test_a_full_install_is_told_with_how_many_disks_it_wipes(world: World) -> None:
    (only,) = found(world)
    assert (only.severity, only.what, only.where) == ("warning", WIPES, "node[001-004,009]")
    world.rollout(install="AUTO")
    assert found(world) == []


def test_nodes_that_are_not_up_are_told_by_how_they_are(world: World) -> None:
    for number, condition in enumerate(("down", "closed", "installing", "failed"), 1):
        world.has(f"node{number:03d}", "compute", condition)
    world.has("node009", "network", "unknown")
    world.has("node010", "network", "down")
    assert told(world) == [
        ("error", "node[001,010]", "2 nodes are down"),
        ("error", "node002", "it is closed"),
        ("error", "node003", "it is installing"),
        ("error", "node004", "it is in the installer, which failed"),
        ("error", "node009", "it is of unknown state"),
    ]


def test_nodes_for_which_a_limit_of_a_domain_is_nothing_are_told(world: World) -> None:
    limits = {"rack": Share(1), "switch": Share(2), "room": Share(3)}
    world.rollout(
        max_unavailable=Share(3),
        domains=limits,
        labels={f"node00{number}": {"switch": "s1"} for number in (1, 2, 3, 4)},
    )
    findings = [each for each in found(world) if "domains." in each.what]
    assert [(each.severity, each.where, each.what) for each in findings] == [
        ("warning", "node009", "1 node has no rack, and domains.rack = 1 does not hold for it"),
        ("warning", "node009", "1 node has no switch, and domains.switch = 2 does not hold for it"),
    ]
    assert findings[1].hint == '[[rollout.label]]: nodes = "node009", switch = "…"'
    assert findings[0].hint.startswith("set it in the cluster manager, or in [[rollout.label]]")
    back = [each for each in findings_back(world.draft().order, world.survey()) if "domains." in each.what]
    assert back == findings
    world.rollout(max_unavailable=Share(1), domains=limits)
    assert not [each for each in found(world) if "domains." in each.what], "the other limit is as narrow"


def test_nodes_left_out_because_they_are_down_come_back_with_the_version(world: World) -> None:
    world.has("node001", "compute", "down")
    (only,) = [each for each in found(world, skip_down=True) if each.where == "node001"]
    assert (only.severity, only.what) == ("warning", "it is down, and left out")
    assert only.hint.startswith(f"it gets {IMAGE}-2 when it is next booted")
    (only,) = [
        each for each in found(world, skip_down=True, nodes="node[001-002]") if each.where == "node001"
    ]
    assert only.hint == "it keeps what it has"


def test_the_categorys_other_members_are_told(world: World) -> None:
    ((severity, where, what),) = told(world, nodes="node[001,009]")
    assert (severity, where) == ("warning", "node[002-004]")
    assert what.startswith("3 nodes of compute are left out: the category is not switched")


def test_a_data_node_stops_a_full_install_only(world: World) -> None:
    world.has("node002", "compute", is_data_node=True)
    ((severity, where, what),) = told(world)
    assert (severity, where) == ("error", "node002")
    assert "waits until somebody confirms it" in what
    world.rollout(install="AUTO")
    assert told(world) == []


def test_locked_images_and_those_at_another_place_are_told(world: World) -> None:
    new = f"{IMAGE}-2"
    world.images[new] = ImageFacts(new, f"/elsewhere/{new}", is_locked=True)
    world.images[IMAGE] = ImageFacts(IMAGE, f"/cm/images/{IMAGE}", is_locked=True)
    locked = f"the image {IMAGE} is locked: installs from it wait until it is unlocked"
    another = f"the cluster manager has an image {new} already, at /elsewhere/{new}, not at /images/{new}"
    assert told(world) == [
        ("warning", IMAGE, f"{locked}, and nodes could not be taken back to it"),
        ("error", new, f"the image {new} is locked: installs from it wait until it is unlocked"),
        ("error", new, another),
    ]


def test_an_image_of_which_only_the_making_was_begun_is_none_at_another_place(world: World) -> None:
    new = f"{IMAGE}-2"
    world.images[new] = ImageFacts(new, f"/images/.{new}.clone")
    assert told(world) == []
    world.images[new] = ImageFacts(new, f"/elsewhere/.{new}.clone")
    assert [where for severity, where, _ in told(world) if severity == "error"] == [new]


def test_images_of_single_nodes_and_nodes_that_have_it_already_are_told(world: World) -> None:
    world.has("node001", "compute", image="default-image", own_image="default-image")
    world.has("node002", "compute", image=f"{IMAGE}-2", own_image=f"{IMAGE}-2")
    assert told(world) == [
        ("warning", "node001", "the image default-image is set for the node itself"),
        ("warning", "node002", f"{IMAGE}-2 is set for 1 node already: installed again all the same"),
    ]


def test_virtual_nodes_need_their_hook(world: World) -> None:
    world.has("node001", "compute", is_virtual=True)
    ((severity, where, what),) = told(world)
    assert (severity, where) == ("warning", "node001")
    assert "only with a new instance" in what
    world.rollout(hooks=("virtual",))
    assert told(world) == []


def test_a_virtual_node_without_an_instance_is_down_as_it_has_to_be(world: World) -> None:
    world.has("node001", "compute", "down", is_virtual=True)
    assert ("error", "node001", "it is down") in told(world), "nothing sees to its instance"
    world.rollout(hooks=("virtual",))
    assert told(world) == []
    assert world.draft(skip_down=True).skipped == ()
    world.has("node001", "compute", "closed", is_virtual=True)
    assert told(world) == [("error", "node001", "it is closed")]


@pytest.mark.parametrize("role", ["cephosd", "CephOSDRole", "ceph-osd"])
def test_hosts_of_osds_of_which_ceph_was_not_asked_are_refused(world: World, role: str) -> None:
    world.has("node001", "compute", roles=("slurmclient", role))
    ((severity, where, what),) = told(world)
    assert (severity, where) == ("error", "node001")
    assert what == (
        f"1 node has the role {role}, which is that of hosts of OSDs, and hooks of [rollout] lacks ceph: "
        "nothing would ask Ceph whether they may go"
    )
    world.rollout(hooks=("ceph",))
    ((severity, where, what),) = told(world)
    assert (severity, where) == ("warning", "node001")
    assert what.endswith("Ceph knows of none there")
    assert told(world, osds={"node001": (1,)}) == []
