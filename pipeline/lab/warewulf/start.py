"""Making a stand-in's directory: three profiles, an image, nodes; its wwctl in ``bin``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAM = """#!{python} -IS
import sys
from pathlib import Path
sys.path.insert(0, {code!r})
from pipeline.lab.warewulf.wwctl import main
sys.exit(main(Path({home!r}), sys.argv[1:]))
"""

DEFAULT = {
    "comment": "This profile is automatically included for each node",
    "ipxe template": "default",
    "runtime overlay": ["hosts", "ssh.authorized_keys"],
    "system overlay": ["wwinit", "wwclient", "fstab", "hostname", "NetworkManager"],
    "kernel": {"args": ["quiet", "crashkernel=no"]},
    "init": "/sbin/init",
    "root": "initramfs",
    "network devices": {"default": {"netmask": "255.255.255.0"}},
}
NETWORK_NODES = {"comment": "The cloud's routers", "image name": "openstack-image"}
COMPUTE_HOSTS = {
    "comment": "Hypervisors",
    "image name": "openstack-image",
    "kernel": {"args": ["biosdevname=0", "console=ttyS0,115200"]},
    "tags": {"rack": "3,4"},
    "network devices": {"storage": {"type": "ethernet", "device": "eth1", "onboot": "true"}},
}


def make(home: Path, *, nodes: int = 3, profiles: int = 2) -> None:
    """Write it. ``node001`` is a network node, the others are compute hosts in turn."""
    categories = ["openstack-network-nodes", "openstack-compute-hosts"]
    categories += [f"category{number:03}" for number in range(3, profiles + 1)]
    named: dict[str, Mapping[str, Any]] = {
        "default": DEFAULT,
        "openstack-network-nodes": NETWORK_NODES,
        **dict.fromkeys(categories[1:], COMPUTE_HOSTS),
    }
    of = [categories[0]] + [categories[1 + number % (len(categories) - 1)] for number in range(nodes - 1)]
    data = {
        "nodeprofiles": named,
        "nodes": {f"node{n:03}": _node(n, category) for n, category in enumerate(of, start=1)},
    }
    for directory in ("bin", "chroots", "provision/images"):
        (home / directory).mkdir(parents=True, exist_ok=True)
    (home / "nodes.conf").write_text(json.dumps(data, indent=1))
    (home / "switches.json").write_text("{}")
    tree(home / "chroots/openstack-image/rootfs")
    (home / "provision/images/openstack-image.img").write_text("built")
    program = home / "bin/wwctl"
    code = str(Path(__file__).parents[3])
    program.write_text(PROGRAM.format(python=sys.executable, code=code, home=str(home)))
    program.chmod(0o755)


def _node(number: int, category: str) -> dict[str, Any]:
    boot = {"device": "eth0", "ipaddr": f"10.{141 + number // 65536}.{number // 256 % 256}.{number % 256}"}
    return {"profiles": ["default", category], "network devices": {"default": boot}}


def tree(directory: Path, kernel: str = "2.6.32-431.el6.x86_64") -> None:
    """A tree that Warewulf takes for an image: a shell and a kernel."""
    for path in ("bin", "boot"):
        (directory / path).mkdir(parents=True, exist_ok=True)
    (directory / "bin/sh").write_text("")
    (directory / f"boot/vmlinuz-{kernel}").write_text("")


def switch(home: Path, **switches: object) -> None:
    """Turn switches; see ``registry.SWITCHES``."""
    path = home / "switches.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | switches))
