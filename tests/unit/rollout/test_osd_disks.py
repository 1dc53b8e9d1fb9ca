"""A disk layout that would write on an OSD's disk is refused; where that can't be known it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cluster.head import Head
from pipeline.rollout.disks import OsdDisks, disk, disk_findings, disks_of, layout_disks, osd_disks
from pipeline.rollout.model import Finding, Node
from tests.rollout_world import World

LAYOUT = """<?xml version="1.0" encoding="UTF-8"?>
<diskSetup xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <device>
    <blockdev>/dev/sda</blockdev>
    <blockdev>/dev/hda</blockdev>
    <partition id="a1"><size>20G</size><type>linux</type><filesystem>ext3</filesystem>
      <mountPoint>/</mountPoint></partition>
  </device>
  <device><blockdev> /dev/nvme0n1 </blockdev></device>
</diskSetup>
"""


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("/dev/sdb1", "sdb"),
        ("sdb", "sdb"),
        ("nvme0n1p2", "nvme0n1"),
        ("nvme0n1", "nvme0n1"),
        ("/dev/cciss!c0d0p1", "cciss!c0d0"),
        ("/dev/disk/by-id/x1", "disk/by-id/x1"),
    ],
)
def test_a_partition_is_known_by_its_disk(device: str, name: str) -> None:
    assert disk(device) == name


@pytest.mark.parametrize(
    ("metadata", "disks"),
    [
        ({"devices": "sdb,nvme0n1"}, ("sdb", "nvme0n1")),
        ({"devices": "dm-0", "bluestore_bdev_devices": "sdc"}, ("sdc",)),
        (
            {"backend_filestore_partition_path": "/dev/sdb1", "filestore_journal_device": "/dev/sda5"},
            ("sdb", "sda"),
        ),
        ({"bluestore_bdev_dev_node": "sdd", "bluefs_db_dev_node": "dm-3"}, ("sdd",)),
        ({"backend_filestore_partition_path": "unknown"}, ()),
        ({}, ()),
    ],
)
def test_every_release_tells_disks_in_its_own_way(metadata: dict[str, str], disks: tuple[str, ...]) -> None:
    assert disks_of(metadata) == disks


def test_a_layout_covers_all_devices_that_it_names() -> None:
    assert layout_disks(LAYOUT) == ("sda", "hda", "nvme0n1")


def osds(world: World, layout: str, known: dict[str, OsdDisks]) -> list[Finding]:
    world.disk_setup = layout
    nodes = [Node("node002", "compute", osds=(0, 1)), Node("node001", "compute")]
    return disk_findings(nodes, world.survey(), known)


def test_a_disk_of_an_osd_in_the_layout_is_an_error(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert osds(world, LAYOUT, {"node002": OsdDisks({"sdb": (0, 1)})}) == []
    (found,) = osds(world, LAYOUT, {"node002": OsdDisks({"sdb": (0,), "nvme0n1": (0, 1)})})
    assert (found.severity, found.where) == ("error", "node002")
    assert (
        found.what == "an install would wipe /dev/nvme0n1, the disk of osd.0, osd.1: compute's layout has it"
    )


def test_a_layout_of_the_node_itself_counts_before_its_category_s(tmp_path: Path) -> None:
    world = World(tmp_path)
    known = {"node002": OsdDisks({"sdb": (0, 1)})}
    own = "<diskSetup><device><blockdev>/dev/sdb</blockdev></device></diskSetup>"
    world.has("node002", "compute", disk_setup=own)
    (found,) = osds(world, LAYOUT, known)
    assert (found.severity, found.where) == ("error", "node002")
    assert "/dev/sdb, the disk of osd.0, osd.1: node002's layout has it" in found.what
    (found,) = osds(world, "", known)
    assert found.severity == "error"
    world.has("node002", "compute", disk_setup=LAYOUT)
    assert osds(world, own, known) == []


def test_what_cannot_be_compared_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    known = {"node002": OsdDisks({"sdb": (0,)}, (1,))}
    (found,) = osds(world, LAYOUT, known)
    assert (found.severity, found.what) == ("warning", "Ceph doesn't tell on which disks osd.1 lies")
    assert "/dev/sda, /dev/hda, /dev/nvme0n1" in found.hint
    (found,) = osds(world, LAYOUT, {})
    assert found.what == "Ceph doesn't tell on which disks osd.0, osd.1 lies"
    (found,) = osds(world, "", known)
    assert (found.severity, found.where) == ("warning", "node002")
    assert "no disk layout of its own" in found.what
    (found,) = osds(world, "<diskSetup>", known)
    assert (found.severity, found.where) == ("error", "compute")
    by_id = "<diskSetup><device><blockdev>/dev/disk/by-id/x</blockdev></device></diskSetup>"
    (found,) = osds(world, by_id, {"node002": OsdDisks({"sdb": (0, 1)})})
    assert found.what == "the disk layout of compute names /dev/disk/by-id/x"


def test_ceph_is_asked_once_for_all_hosts(tmp_path: Path) -> None:
    answer = [{"id": 0, "devices": "sdb"}, {"id": 1, "devices": "sdb"}, {"id": 7, "devices": "sdx"}]
    program = tmp_path / "ceph"
    program.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/calls\necho '{json.dumps(answer)}'\n")
    program.chmod(0o755)
    head = Head(programs=(str(tmp_path),))
    nodes = [Node("node002", "c", osds=(0, 1)), Node("node003", "c", osds=(2,)), Node("node001", "c")]
    assert osd_disks(head, nodes) == {
        "node002": OsdDisks({"sdb": (0, 1)}),
        "node003": OsdDisks({}, (2,)),
    }
    assert (tmp_path / "calls").read_text() == "osd metadata -f json\n"
    odd = json.dumps([{"id": [0], "devices": "sda"}, {"id": {}}, 7, {"id": 1, "devices": "sdb"}])
    for text, known in ((odd, OsdDisks({"sdb": (1,)}, (0,))), ("[" * 10_000, OsdDisks({}, (0, 1)))):
        program.write_text(f"#!/bin/sh\necho '{text}'\n")
        assert osd_disks(head, nodes)["node002"] == known
    program.write_text("#!/bin/sh\necho no valid command; exit 22\n")
    assert osd_disks(head, nodes)["node002"] == OsdDisks({}, (0, 1))
    assert osd_disks(Head(programs=("/nowhere",)), nodes[2:]) == {}
