"""Three nodes with a real sshd, and what the firmware step is asked on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cluster.fanout import Target
from pipeline.cluster.model import Firmware
from pipeline.lab.nodes import adapter
from pipeline.lab.nodes.nodes import OFED_DIRECTORY, Nodes, running

NAMES = ("node001", "node002", "node003")

ORDER = Firmware(
    categories=("openstack-compute-hosts-mellanox",),
    nodes="node001",
    head=False,
    directory=OFED_DIRECTORY,
    remove=("cm-config-intelcompliance-slave", "qlgc-ofed"),
)


@pytest.fixture(scope="session")
def booted(
    lab_home: Path, openstack_image: Path, lab_mirror: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    with running(lab_home, NAMES, folder=tmp_path_factory.mktemp("nodes")) as nodes:
        yield nodes


@pytest.fixture
def nodes(booted: Nodes) -> Nodes:
    """The nodes with a new disk and old firmware, all of them up."""
    for node in booted.nodes.values():
        node.stop()
        node.wipe()
        adapter.put(node.folder)
        adapter.break_it(node.folder, "")
        node.boot()
    for node in booted.nodes.values():
        node.wait()
    return booted


@pytest.fixture
def targets(nodes: Nodes) -> tuple[Target, ...]:
    return tuple(
        Target(node.name, node.address, node.port, nodes.ssh_options) for node in nodes.nodes.values()
    )
