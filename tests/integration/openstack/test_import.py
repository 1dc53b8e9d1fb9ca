"""An import from a cluster whose cloud has networks: they are in the file, or named."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pipeline.lab.head import start
from tests.integration.openstack.neutron_server import Neutron
from tests.lab.project import Project

pytest.importorskip("openstack.connection", reason="openstacksdk is not installed: the extra 'openstack'")
pytestmark = pytest.mark.xdist_group("neutron")


@pytest.fixture
def site(tmp_path: Path, neutron: Neutron) -> Iterator[Project]:
    """A head node, and a cloud with a network that a cluster file can say and one that it can't."""
    project = Project(tmp_path)
    start.make(tmp_path / "head")
    head = f'[head]\nroot = "{tmp_path}/head/root"\nprograms = ["{tmp_path}/head/bin"]\n'
    project.write("pipeline.toml", f'[site]\nstore = "s"\nimages = "i"\n{head}cloud = "{neutron.url}"\n')
    provider = {"provider:network_type": "vlan", "provider:physical_network": "phyvlanhostnet"}
    made = _made(neutron, "network", name="lab", shared=True, **provider, **{"provider:segmentation_id": 15})
    _made(neutron, "subnet", name="sub", network_id=made["id"], ip_version=4, cidr="10.9.0.0/24")
    _made(neutron, "subnet", name="six", network_id=made["id"], ip_version=6, cidr="fd00::/64")
    yield project
    requests.delete(f"{neutron.url}/v2.0/networks/{made['id']}", timeout=30).raise_for_status()


def _made(neutron: Neutron, what: str, **values: object) -> dict[str, str]:
    answer = requests.post(f"{neutron.url}/v2.0/{what}s", json={what: values}, timeout=30)
    assert answer.ok, answer.text
    found: dict[str, str] = answer.json()[what]
    return found


def test_networks_of_the_cloud_are_imported_and_planned(site: Project) -> None:
    imported = site.run("cluster", "import", "mine", "--out", "mine.toml")
    assert imported.exit_code == 0, imported.err
    assert imported.err.count("left out: os-network/lab/os-subnet/six") == 1
    assert "so that a plan finds nothing to do" in imported.out
    text = (site.path / "mine.toml").read_text()
    assert '[[openstack.network]]\nname = "lab"\nprovider = "phyvlanhostnet"\nsegment = 15\n' in text
    assert '[[openstack.network.subnet]]\nname = "sub"' in text
    (site.path / "recipes/clusters").mkdir(parents=True)
    (site.path / "mine.toml").rename(site.path / "recipes/clusters/mine.toml")
    planned = site.run("cluster", "plan", "mine")
    assert planned.out.endswith("mine: nothing to do\n"), planned.out + planned.err


def test_networks_that_would_not_agree_with_the_rest_are_there_as_comments(site: Project) -> None:
    entry = "+/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[vlans]network_vlan_ranges=other:1:2"
    site.write(
        "typed",
        "category\nuse openstack-compute-hosts\nroles\nuse openstacknode\nappend configfilemodifications "
        f'"-{entry[1:].partition("=")[0]}"\nappend configfilemodifications "{entry}"\ncommit\n',
    )
    command = [site.path / "head/bin/cmsh", "-n", "--color=no", "--hide-events", "-q", "-f", "typed"]
    subprocess.run(command, cwd=site.path, check=True, capture_output=True)
    imported = site.run("cluster", "import", "mine", "--out", "mine.toml")
    assert imported.exit_code == 0, imported.err
    assert "left out: os-network/lab: is there as a comment only" in imported.err
    assert "so that a plan finds nothing to do" in imported.out
    assert '\n# [[openstack.network]]\n# name = "lab"\n' in (site.path / "mine.toml").read_text()
