"""Three nodes with a real sshd that are of a version, and the store that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.cluster.fanout import Target as Reached
from pipeline.events import ignore
from pipeline.lab.nodes.nodes import Nodes, running
from pipeline.packaging.rpmdb import FORMAT, parsed
from pipeline.rollout.model import Node
from pipeline.store.importing import import_base
from pipeline.store.records import Version
from pipeline.store.store import Store
from tests.small_store import add_version, commit_layer

NAMES = ("node001", "node002", "node003")
CATEGORY = "openstack-compute-hosts-mellanox"

STAGE_FILES = {
    "etc/neutron/plugins/mlnx/mlnx_conf.ini": "[mlnx]\nverbose = True\n",
    "etc/modprobe.d/mlx4_core.conf": "options mlx4_core num_vfs=16\n",
    "opt/site/tool": "#!/bin/sh\necho tool\n",
}


def write_stage(root: Path) -> None:
    """What the version has over its base."""
    for path, text in STAGE_FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "opt/site/tool").chmod(0o755)
    (root / "opt/site/link").symlink_to("tool")


@pytest.fixture(scope="session")
def booted(
    lab_home: Path, openstack_image: Path, lab_mirror: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    with running(lab_home, NAMES, folder=tmp_path_factory.mktemp("nodes")) as nodes:
        yield nodes


@pytest.fixture
def nodes(booted: Nodes) -> Nodes:
    """The nodes as they are after a FULL install of the version, all of them up."""
    for node in booted.nodes.values():
        node.stop()
        node.wipe()
        (node.folder / "disk").mkdir()
        write_stage(node.folder / "disk")
        node.boot()
    for node in booted.nodes.values():
        node.wait()
    return booted


@pytest.fixture(scope="session")
def known(booted: Nodes, openstack_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the version ``web@1``: the lab's base and a stage."""
    store = Store.open(tmp_path_factory.mktemp("known") / "store")
    base = import_base(store, "openstack-image", openstack_image, ignore).layer
    stage = commit_layer(store, "c" * 64, write_stage, [base]).key[:20]
    packages = parsed(booted.run("node001", f"rpm -qa --qf '{FORMAT}'"))
    version: Version = add_version(
        store, [base, stage], kernel="2.6.32-431.el6.x86_64", packages=tuple(sorted(map(str, packages)))
    )
    assert version.label == "web@1"
    return store


@pytest.fixture
def reached(nodes: Nodes) -> dict[str, Reached]:
    return {
        node.name: Reached(node.name, node.address, node.port, nodes.ssh_options)
        for node in nodes.nodes.values()
    }


@pytest.fixture
def of_node() -> tuple[Node, ...]:
    return tuple(Node(name, CATEGORY) for name in NAMES)


@pytest.fixture
def tests_of(tmp_path: Path) -> Callable[[str], tuple[Path, ...]]:
    """Writes a test file."""

    def write(text: str, name: str = "test_site.py") -> tuple[Path, ...]:
        folder = tmp_path / "cluster"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        return (folder / name,)

    return write
