"""The files and objects that the shipped cluster file and image recipe come to."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pipeline.cluster.load import load_cluster
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Wanted
from pipeline.cluster.words import with_words
from pipeline.fileops.settings import change
from pipeline.recipe.load import load_recipe
from pipeline.recipe.site import load_site
from pipeline.stages.settings import Settings
from tests.integration.aside import REPOSITORY

CLUSTER = "openstack-mellanox"
IMAGE = "openstack-image-mellanox"
ML2 = "/etc/neutron/plugins/ml2/ml2_conf.ini"
LINUXBRIDGE = "/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini"
MLNX = "/etc/neutron/plugins/mlnx/mlnx_conf.ini"
DHCP = "/etc/neutron/dhcp_agent.ini"
ESWITCHD = "/etc/eswitchd/eswitchd.conf"
PARTITIONS = "/etc/opensm/partitions.conf"
OPENSM = "/etc/opensm/opensm.conf"

MANAGERS_OWN = {
    ML2: {
        "ml2_type_flat": {"flat_networks": ("phyflatnet",)},
        "securitygroup": {
            "enable_security_group": ("True",),
            "firewall_driver": ("dummy_value_do_not_remove",),
        },
    },
    LINUXBRIDGE: {
        "securitygroup": {
            "firewall_driver": ("neutron.agent.linux.iptables_firewall.IptablesFirewallDriver",)
        },
    },
}
"""What the cluster manager itself has written into these files, as the hand procedure shows them."""

VXLAN = """\
isolation = "vxlan"
vni_range = "1:8000"
vxlan_group = "224.0.0.1"
local_ip = "{{ vxlan_ip }}"
"""

VXLAN_NODES = """\
[[node]]
names = "node002"
parameters = { vxlan_ip = "10.161.0.2" }

[[node]]
names = "node003"
parameters = { vxlan_ip = "10.161.0.3", ib_interface = "eth4" } # its card came up under another name
"""
"""With VXLAN each node has its own address."""


class Setting(msgspec.Struct, frozen=True, order=True):
    """A key that this project sets."""

    file: str
    section: str
    key: str


@cache
def cluster() -> Cluster:
    """The shipped cluster file."""
    return load_cluster(CLUSTER, load_site(REPOSITORY / "pipeline.toml"))


def cluster_with(
    folder: Path, edits: Mapping[str, str], of_image: Mapping[str, str] | None = None
) -> Cluster:
    """The shipped cluster file and its image's recipe with some of their texts put otherwise."""
    for name in ("recipes", "overlays"):
        shutil.copytree(REPOSITORY / name, folder / name)
    _edit(folder / f"recipes/clusters/{CLUSTER}.toml", edits)
    _edit(folder / f"recipes/{IMAGE}/recipe.toml", of_image or {})
    return load_cluster(CLUSTER, replace(load_site(REPOSITORY / "pipeline.toml"), project=folder))


def _edit(file: Path, edits: Mapping[str, str]) -> None:
    text = file.read_text()
    for old, new in edits.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    file.write_text(text)


def with_vxlan(folder: Path, default: str = "{{ ib_network }}") -> Cluster:
    """The shipped cluster with isolation by VXLAN; ``default`` is what networks are when nobody chooses."""
    provider = 'default_provider = "{{ ib_network }}"'
    node = """[[node]]
names = "node003"
parameters = { ib_interface = "eth4" } # its card came up under another name
"""
    edits = {
        "[parameters]\n": "[parameters]\nvxlan_ip = { required = true }\n",
        'isolation = "vlan"': VXLAN.rstrip(),
        provider: f'default_provider = "{default}"',
        node: VXLAN_NODES,
    }
    return cluster_with(folder, edits)


def openstack(of: Cluster) -> tuple[Wanted, ...]:
    """Its networks and subnets."""
    return tuple(item for item in of.wanted if item.ref.kind in ("os-network", "os-subnet"))


def settings(of: Cluster, *, own: bool = False) -> Mapping[Setting, str]:
    """Every key of an INI file that the cluster file or the image's recipe sets, with its value.

    Of a key that nodes have differently the last one. ``own``: with what the cluster manager sets besides.
    """
    found = {
        Setting(file, section, key): values[-1]
        for file, sections in (MANAGERS_OWN.items() if own else ())
        for section, keys in sections.items()
        for key, values in keys.items()
    }
    for item in of.wanted:
        if item.ref.kind == "setting":
            file, _, rest = item.ref.name.partition("[")
            section, _, key = rest.partition("]")
            found[Setting(file, section, key)] = str(item.exact["value"])
    recipe = load_recipe(IMAGE, load_site(REPOSITORY / "pipeline.toml"))
    for stage in (placed.stage for placed in recipe.stages):
        if isinstance(stage, Settings):
            for section, keys in stage.set.items():
                for key, value in keys.items():
                    found[Setting(stage.file, section, key)] = _text(value)
    return found


def ini(of: Cluster, file: str) -> str:
    """The packaged ``file`` with what is set in it."""
    packaged = (REPOSITORY / "pipeline/lab/el6/openstack-neutron" / Path(file).name).read_text()
    sections: dict[str, dict[str, tuple[str, ...]]] = {}
    for setting, value in settings(of, own=True).items():
        if setting.file == file:
            sections.setdefault(setting.section, {})[setting.key] = (value,)
    return change(packaged, sections, {})


def whole_file(of: Cluster, path: str) -> str:
    """A file of the head node that is wanted as a whole, or by its words."""
    item = next(item for item in of.wanted if item.ref.kind == "file" and item.ref.name == path)
    if "content" in item.exact:
        return str(item.exact["content"])
    return with_words("", item.append["words"])


def _text(value: object) -> str:
    return str(value[-1]) if isinstance(value, tuple | list) else str(value)
