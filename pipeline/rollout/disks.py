"""Whether an install would write on the disks of Ceph OSDs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import msgspec

from pipeline.cluster.drivers.nodes import Survey
from pipeline.cluster.head import Head
from pipeline.cluster.nodesets import folded
from pipeline.errors import PipelineError
from pipeline.rollout.model import Finding, Node

SECONDS = 60.0

OF_BLUESTORE = ("bluestore_bdev", "bluefs_db", "bluefs_wal", "bluefs_slow")
KEYS = (
    "devices",
    *(f"{part}_{word}" for part in OF_BLUESTORE for word in ("devices", "dev_node", "partition_path")),
    "backend_filestore_devices",
    "backend_filestore_dev_node",
    "backend_filestore_partition_path",
    "filestore_journal_device",
)
"""Where ``ceph osd metadata`` tells of disks; each release has some of them."""

PARTITION = re.compile(r"((?:nvme|mmcblk|loop|nbd)\d+(?:n\d+)?|cciss![^p]+)p\d+|([a-z]+)\d+")

NO_DISKS = ("", "unknown")

MAPPED = re.compile(r"(dm-|mapper/|md)")


class OsdDisks(msgspec.Struct, frozen=True):
    """The disks of a host's OSDs: names below /dev, without partitions; ``unknown`` are OSDs of which no disk
    is known."""

    disks: Mapping[str, tuple[int, ...]] = {}
    unknown: tuple[int, ...] = ()


def osd_disks(head: Head, nodes: Iterable[Node], program: Sequence[str] = ("ceph",)) -> dict[str, OsdDisks]:
    """The disks of the OSDs on ``nodes``, asked for once. Raises ``MachineError`` when ceph can't be run.

    What a release doesn't tell is unknown.
    """
    hosts = {node.name: node for node in nodes if node.osds}
    if not hosts:
        return {}
    argv = (*program, "osd", "metadata", "-f", "json")
    ran = head.run(argv, seconds=SECONDS)
    try:
        found = json.loads(ran.out) if ran.code == 0 else None
    except (ValueError, RecursionError):
        found = None
    told = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    known = {each["id"]: each for each in told if isinstance(each.get("id"), int)}
    return {name: _of_host(node, known) for name, node in hosts.items()}


def _of_host(node: Node, known: Mapping[int, Mapping[str, Any]]) -> OsdDisks:
    disks: dict[str, list[int]] = {}
    unknown = []
    for osd in node.osds:
        names = disks_of(known.get(osd, {}))
        for name in names:
            disks.setdefault(name, []).append(osd)
        if not names:
            unknown.append(osd)
    return OsdDisks({name: tuple(osds) for name, osds in disks.items()}, tuple(unknown))


def disks_of(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The disks of one OSD as ``ceph osd metadata`` tells them; those of the mapper are not told by name."""
    words = [word for key in KEYS for word in str(metadata.get(key, "")).split(",")]
    names = dict.fromkeys(disk(word.strip()) for word in words if word.strip())
    return tuple(name for name in names if name not in NO_DISKS and not MAPPED.match(name))


def disk(device: str) -> str:
    """``/dev/sdb1``, ``sdb`` → ``sdb``: the whole disk."""
    name = device.removeprefix("/dev/")
    match = PARTITION.fullmatch(name)
    return (match[1] or match[2]) if match else name


def layout_disks(text: str) -> tuple[str, ...]:
    """The disks that a layout may write on: all block devices that it names, alternatives included.

    Raises ``PipelineError`` when it is no XML.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise PipelineError(f"the disk layout is no XML: {error}") from None
    names = [(each.text or "").strip() for each in root.iter("blockdev")]
    return tuple(dict.fromkeys(disk(name) for name in names if name))


def disk_findings(nodes: Iterable[Node], survey: Survey, disks: Mapping[str, OsdDisks]) -> list[Finding]:
    """Layouts that cover a disk of an OSD; and where that can't be known, what to look at."""
    of: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        if node.osds:
            facts = survey.nodes.get(node.name)
            of.setdefault((node.category, facts.disk_setup.strip() if facts else ""), []).append(node)
    found: list[Finding] = []
    for (category, own), hosts in of.items():
        above = survey.categories.get(category)
        text = own or (above.disk_setup.strip() if above else "")
        whose = folded(node.name for node in hosts) if own else category
        if not text:
            found.append(_unknown_layout(category, hosts))
            continue
        try:
            covered = layout_disks(text)
        except PipelineError as error:
            found.append(Finding("error", error.problems[0].message, whose))
            continue
        found += [finding for node in hosts for finding in _host(node, whose, covered, disks)]
    return found


def _unknown_layout(category: str, hosts: Sequence[Node]) -> Finding:
    return Finding(
        "warning",
        f"the category {category} has no disk layout of its own, and these nodes have OSDs",
        folded(node.name for node in hosts),
        "see that the cluster manager's usual layout leaves their disks alone",
    )


def _host(node: Node, whose: str, covered: Sequence[str], disks: Mapping[str, OsdDisks]) -> list[Finding]:
    known = disks.get(node.name, OsdDisks(unknown=node.osds))
    found = [
        Finding(
            "error",
            f"an install would wipe /dev/{name}, the disk of {_osds(osds)}: {whose}'s layout has it",
            node.name,
            f"give {whose} a layout without that disk",
        )
        for name, osds in known.disks.items()
        if name in covered
    ]
    unclear = [name for name in covered if name.startswith("disk/")]
    if unclear and known.disks:
        found.append(
            Finding(
                "warning",
                f"the disk layout of {whose} names /dev/{unclear[0]}",
                node.name,
                f"see that none of these is such a disk: {', '.join(f'/dev/{name}' for name in known.disks)}",
            )
        )
    if known.unknown:
        named = ", ".join(f"/dev/{name}" for name in covered)
        found.append(
            Finding(
                "warning",
                f"Ceph doesn't tell on which disks {_osds(known.unknown)} lies",
                node.name,
                f"an install by the layout of {whose} writes on {named}: see that these are others",
                f"ssh {node.name} ceph-volume lvm list",
            )
        )
    return found


def _osds(numbers: Sequence[int]) -> str:
    return ", ".join(f"osd.{number}" for number in numbers)
