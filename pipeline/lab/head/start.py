"""The state that the lab's head node starts with: the seed's environment, or a big cluster."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from pipeline.lab.head.kinds import MODES, ROLES
from pipeline.lab.head.objects import Object, Value, blank
from pipeline.lab.head.state import STATE, SYNC_LOGS, State, write_state
from pipeline.lab.head.switches import Faults, Switches, write_faults, write_switches
from pipeline.lab.services.start import make_services

HEAD = "masterdoop"
COMPUTE, NETWORK, VIRTUAL = "openstack-compute-hosts", "openstack-network-nodes", "virtual-nodes"

KERNEL_PARAMETERS = "biosdevname=0 nonm acpi=on nicdelay=0 nomodeset rdblacklist=nouveau xdriver=vesa"
IMAGES = {
    "default-image": KERNEL_PARAMETERS,
    "openstack-image": KERNEL_PARAMETERS,
    "virtual-node-image": "biosdevname=0 console=tty0",
}
CATEGORIES = {
    "default": "default-image",
    NETWORK: "openstack-image",
    COMPUTE: "openstack-image",
    VIRTUAL: "virtual-node-image",
}

ML2_FILE = "/etc/neutron/plugins/ml2/ml2_conf.ini"
ML2 = """\
[ml2]
type_drivers=flat,vlan
tenant_network_types=flat,vlan
mechanism_drivers=linuxbridge,l2population

[ml2_type_flat]
flat_networks=phyflatnet

[ml2_type_vlan]
network_vlan_ranges=phyvlanhostnet:11:20

[ml2_type_gre]

[ml2_type_vxlan]

[securitygroup]
enable_security_group = True
firewall_driver=dummy_value_do_not_remove
"""
FILES = {
    "/etc/opensm/opensm.conf": """\
# The port GUID on which the OpenSM is running
guid 0x0000000000000000

# Partition configuration file to be used
partition_config_file /etc/opensm/partitions.conf

# Allow both full and limited membership on the same partition
allow_both_pkeys FALSE
""",
    "/cm/local/apps/cmd/etc/cmd.conf": """\
# Cluster Management Daemon
Port = 8080
SSLPort = 8081

# Files that the daemon must not write
FrozenFile = { "/etc/dhcpd.conf", "/etc/postfix/main.cf" }
""",
}
PROGRAMS = {
    "cmsh": ("cmsh", "main"),
    "cmd": ("programs", "cmd"),
    "service": ("programs", "service"),
    "chkconfig": ("programs", "chkconfig"),
}


def ensure(directory: Path) -> bool:
    """Make the head node if it isn't there; whether it was made."""
    if (directory / STATE).exists():
        return False
    make(directory)
    return True


def make(directory: Path, nodes: int = 3, categories: int = 0, *, switches: Switches | None = None) -> None:
    """Make the head node, or make it anew. ``nodes`` beyond three are spread over ``categories`` of
    their own, clones of the compute hosts' category."""
    for left in ("root", "bin", SYNC_LOGS):
        shutil.rmtree(directory / left, ignore_errors=True)
    for name in (STATE, "records.jsonl", "calls.jsonl"):
        (directory / name).unlink(missing_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    _write_files(directory / "root")
    _write_programs(directory / "bin")
    make_services(directory)
    write_switches(str(directory), switches or Switches())
    write_faults(str(directory), Faults())
    # Stopped here or before: there is no state, so the next run makes all of it.
    write_state(str(directory), _state(nodes, categories)).close()


def _state(nodes: int, categories: int) -> State:
    running: dict[str, dict[str, bool]] = {
        HEAD: {"cmd": True, "neutron-server": True, "opensm": True},
        "node001": {"opensm": True},
    }
    objects: dict[str, dict[str, Object]] = {mode: {} for mode in MODES}
    objects["network"] = _networks()
    objects["partition"] = {"base": _object("Partition", clustername="lab", headnode=HEAD)}
    for name, parameters in IMAGES.items():
        values = {"path": f"/cm/images/{name}", "kernelversion": "2.6.32-431.el6.x86_64"}
        objects["softwareimage"][name] = _object("SoftwareImage", kernelparameters=parameters, **values)
    objects["category"] = _categories(categories)
    objects["device"] = _devices(nodes, categories)
    return {
        "objects": objects,
        "running": running,
        "status": {},
        "copying": {},
        "base_files": {ML2_FILE: ML2},
        "at_boot": {},
        "requests": {},
        "off": {},
        "motion": {},
        "syncs": {},
        "runner": {},
    }


def _object(type_: str, **values: Value) -> Object:
    one = blank(type_)
    one["values"].update(values)
    return one


def _networks() -> dict[str, Object]:
    def network(**values: Value) -> Object:
        return _object("Network", **values)

    return {
        "internalnet": network(
            baseaddress="10.141.0.0",
            broadcastaddress="10.141.255.255",
            domainname="eth.cluster",
            managementallowed=True,
            nodebooting=True,
        ),
        "externalnet": network(
            baseaddress="192.168.200.0",
            broadcastaddress="192.168.200.255",
            netmaskbits=24,
            domainname="example.org",
            type="External",
        ),
    }


def _roles(*names: str) -> dict[str, Object]:
    return {name: blank(ROLES[name]) for name in names}


def _categories(more: int) -> dict[str, Object]:
    found = {name: _object("Category", softwareimage=image) for name, image in CATEGORIES.items()}
    found[COMPUTE]["sub"]["roles"] = _roles("openstackcompute", "openstacknode")
    found[NETWORK]["sub"]["roles"] = _roles("openstacknetwork")
    for number in range(1, more + 1):
        found[f"rack{number:02}"] = _object("Category", softwareimage="openstack-image")
        found[f"rack{number:02}"]["sub"]["roles"] = _roles("openstackcompute", "openstacknode")
    return found


def _devices(nodes: int, categories: int) -> dict[str, Object]:
    head = _object("HeadNode", mac="52:54:00:00:00:01")
    head["sub"]["interfaces"] = {"eth0": _interface("10.141.255.254", "internalnet")}
    head["sub"]["roles"] = _roles("boot", "provisioning", "openstacknode")
    head["sub"]["services"] = {"opensm": _object("Service", autostart=True, monitored=True)}
    found = {HEAD: head}
    for number in range(1, nodes + 1):
        category = NETWORK if number == 1 else COMPUTE
        if number > 3 and categories:
            category = f"rack{1 + (number - 4) * categories // (nodes - 3):02}"
        found[f"node{number:03}"] = _node("PhysicalNode", category, number, 0x10)
    if "node001" in found:
        found["node001"]["sub"]["services"] = {"opensm": _object("Service", autostart=True, monitored=True)}
    for number in range(1, 13):
        found[f"vnode{number:03}"] = _node("VirtualNode", VIRTUAL, number, 0x20, first=200)
    return found


def _node(type_: str, category: str, number: int, vendor: int, first: int = 0) -> Object:
    high, low = divmod(number, 250)
    one = _object(type_, category=category, mac=f"52:54:00:{vendor:02X}:{high:02X}:{low:02X}")
    one["sub"]["interfaces"] = {"BOOTIF": _interface(f"10.141.{first + high}.{low + 1}", "internalnet")}
    return one


def _interface(address: str, network: str) -> Object:
    return _object("physical", ip=address, network=network)


def _write_files(root: Path) -> None:
    for place, text in {**FILES, ML2_FILE: ML2}.items():
        _write(root / place.lstrip("/"), text)
    for name in IMAGES:
        tree = root / "cm/images" / name
        _write(tree / "etc/hostname", f"{name}\n")
        _write(tree / "boot/vmlinuz-2.6.32-431.el6.x86_64", "")
        (tree / "bin").mkdir()
        (tree / "bin/sh").symlink_to("bash")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_programs(folder: Path) -> None:
    """Shell scripts that know the interpreter, and find the head node's directory from where they lie: that
    directory can be copied."""
    folder.mkdir(parents=True)
    python = os.path.realpath(sys.executable)
    package = Path(__file__).parents[3]
    for name, (module, function) in PROGRAMS.items():
        code = (
            f"import sys; sys.path.insert(0, {str(package)!r}); "
            f"from pipeline.lab.head.{module} import {function}; sys.exit({function}(sys.argv.pop(1)))"
        )
        _write(
            folder / name, f'#!/bin/sh\nexec {_quoted(python)} -I -S -c {_quoted(code)} "${{0%/*}}/.." "$@"\n'
        )
        (folder / name).chmod(0o755)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
