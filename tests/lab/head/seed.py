"""The hand procedure's commands on the head node, word for word, each under the heading that it has there.

The procedure's text is damaged: long commands are broken over lines, a dash is lost here and there.
``printed`` is what it prints, ``typed`` what has to be typed for it. They differ by blanks and line breaks,
and by ``REPAIRS``. What it says in prose, or by its prompt only, is ``implied``.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ML2 = "/etc/neutron/plugins/ml2/ml2_conf.ini"
BRIDGE = "/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini"


class Typed(NamedTuple):
    """A line for cmsh; ``printed`` when the procedure prints it otherwise."""

    typed: str
    printed: str = ""
    implied: bool = False


class Step(NamedTuple):
    """What stands under one heading: lines of one sitting at cmsh, then a step of the shell."""

    heading: str
    lines: tuple[Typed, ...] = ()
    shell: Callable[[Path], None] | None = None


REPAIRS = (('"/etc/', '"-/etc/', 2),)
"""Printed, typed, how often: for node003 the dash of two entries is lost, which the category's have."""


def implied(text: str) -> Typed:
    """What the next prompt, or the prose, says was typed."""
    return Typed(text, implied=True)


def _lines(*words: str | Typed) -> tuple[Typed, ...]:
    return tuple(Typed(word) if isinstance(word, str) else word for word in words)


def write_partitions(root: Path) -> None:
    """One partition for each segment, 1 to 10, behind the management partition."""
    lines = ["management=0x7fff,ipoib, sl=0, defmember=full : ALL, ALL_SWITCHES=full,SELF=full;"]
    lines += [f"vlan{n}={n:#x}, ipoib, sl=0, defmember=full : ALL_CAS;" for n in range(1, 11)]
    (root / "etc/opensm/partitions.conf").write_text("".join(f"{line}\n" for line in lines))


def write_opensm(root: Path) -> None:
    """``allow_both_pkeys TRUE`` in a file that has it as FALSE."""
    file = root / "etc/opensm/opensm.conf"
    file.write_text(re.sub(r"(?m)^allow_both_pkeys .*$", "allow_both_pkeys TRUE", file.read_text()))


def _opensm_files(root: Path) -> None:
    write_partitions(root)
    write_opensm(root)


STEPS: tuple[Step, ...] = (
    Step(
        "Creating The Mellanox-specific OpenStack-enabled Software Image",
        _lines(
            "softwareimage",
            "clone openstack-image openstack-image-mellanox;commit;",
            Typed(
                'set kernelparameters "biosdevname=0 nonm acpi=on nicdelay=0 nomodeset rdblacklist=nouveau '
                'xdriver=vesa intel_iommu=on iommu=pt pci=realloc pci=nocrs";commit;',
                'set kernelparameters  \n"biosdevname=0 nonm acpi=on nicdelay=0 nomodeset '
                'rdblacklist=nouveau xdriver=vesa  \nintel_iommu=on iommu=pt pci=realloc pci=nocrs";commit;',
            ),
        ),
    ),
    Step(
        "Creating The Mellanox-specific OpenStack compute-hosts Category",
        _lines(
            "category",
            Typed(
                "clone openstack-compute-hosts openstack-compute-hosts-mellanox; use "
                "openstack-compute-hosts-mellanox;",
                "clone openstack-compute-hosts openstack-compute-hosts-mellanox;  \n"
                "use openstack-compute-hosts-mellanox;",
            ),
            Typed(
                "set softwareimage openstack-image-mellanox;commit;",
                "set softwareimage  \nopenstack-image-mellanox;commit;",
            ),
            implied("device"),
            Typed(
                "device foreach -n node002..node003 (set category openstack-compute-hosts-mellanox;commit;)",
                "device foreach -n node002..node003 (set category  \n"
                "openstack-compute-hosts-mellanox;commit;)",
            ),
        ),
    ),
    Step(
        "Ensure the Openstack/Mellanox Software Image is Assigned to the Network Node",
        _lines(
            implied("category"),
            "use openstack-network-nodes",
            Typed(
                "set softwareimage openstack-image-mellanox;commit;",
                "set softwareimage  \nopenstack-image-mellanox;commit;",
            ),
        ),
    ),
    Step(
        "Reboot the Nodes",
        _lines(
            implied("device foreach -n node001..node003 (set nextinstallmode FULL; commit)"),
            "device foreach -n node001..node003 (reboot)",
        ),
    ),
    Step(
        "Configuring opensm on the Controller (headnode)",
        _lines(
            "device use master;services",
            "status opensm",
            "device use node001",
            "status opensm",
            "stop opensm",
        ),
        _opensm_files,
    ),
    Step(
        "Configuring opensm on the Controller (headnode)",
        _lines(implied("home"), "device use master;services", "restart opensm"),
    ),
    Step(
        "Configure the Mellanox Neutron ML2 Driver",
        _lines(
            implied("home"),
            "device use master;roles;use openstacknode;",
            Typed(
                "set configfilemodifications "
                f'"-{ML2}[ml2]type_drivers" '
                f'"+{ML2}[ml2]type_drivers=flat,vlan" '
                f'"-{ML2}[ml2]tenant_network_types" '
                f'"+{ML2}[ml2]tenant_network_types=flat,vlan" '
                f'"-{ML2}[ml2]mechanism_drivers" '
                f'"+{ML2}[ml2]mechanism_drivers=mlnx,linuxbridge,l2population" '
                f'"-{ML2}[ml2_type_vlan]network_vlan_ranges" '
                f'"+{ML2}[ml2_type_vlan]network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20" '
                f'"+{ML2}[eswitch]vnic_type=hostdev" '
                f'"+{ML2}[eswitch]apply_profile_patch=True";commit;',
                "set configfilemodifications\n"
                '"-/etc/neutron/plugins/ml2/ml2_conf.ini[ml2]type_drivers"\n'
                '"+/etc/neutron/plugins/ml2/ml2_conf.ini[ml2]type_drivers=flat,vlan"\n'
                '"-/etc/neutron/plugins/ml2/ml2_conf.ini[ml2]tenant_network_types"\n'
                '"+/etc/neutron/plugins/ml2/ml2_conf.ini[ml2]tenant_network_types=flat,vlan"\n'
                '"-/etc/neutron/plugins/ml2/ml2_conf.ini[ml2]mechanism_drivers"\n'
                '"+/etc/neutron/plugins/ml2/ml2_conf.ini[ml2]mechanism_drivers=mlnx,linuxbridge,'
                'l2population"\n'
                '"-/etc/neutron/plugins/ml2/ml2_conf.ini[ml2_type_vlan]network_vlan_ranges" '
                '"+/etc/neutron/plug\n'
                "ins/ml2/ml2_conf.ini[ml2_type_vlan]network_vlan_ranges=ibhostnet:1:10,"
                'phyvlanhostnet:11:20"\n'
                '"+/etc/neutron/plugins/ml2/ml2_conf.ini[eswitch]vnic_type=hostdev"\n'
                '"+/etc/neutron/plugins/ml2/ml2_conf.ini[eswitch]apply_profile_patch=True";commit;',
            ),
            implied("home"),
            "category use openstack-compute-hosts-mellanox;roles;use openstacknode;",
            Typed(
                "set configfilemodifications "
                f'"-{BRIDGE}[vlans]tenant_network_type" '
                f'"+{BRIDGE}[vlans]tenant_network_type=flat,vlan" '
                f'"-{BRIDGE}[vlans]network_vlan_ranges" '
                f'"+{BRIDGE}[vlans]network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20" '
                f'"-{BRIDGE}[linux_bridge]physical_interface_mappings" '
                f'"+{BRIDGE}[linux_bridge]physical_interface_mappings='
                'ibhostnet:eth6,phyflatnet:br0-flat-veth,phyvlanhostnet:eth0";commit;',
                "set configfilemodifications\n\n"
                '"-/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[vlans]tenant_network_type"\n\n'
                '"+/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[vlans]'
                'tenant_network_type=flat,vlan"\n\n'
                '"-/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[vlans]network_vlan_ranges" '
                '"+/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[vlans]'
                'network_vlan_ranges=ibhostnet:1:10,phyvlanho\n\nstnet:11:20" '
                '"-/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[linux_bridge]'
                'physical_interface_mappings" '
                '"+/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[linux_bridge]'
                "physical_interface_mappings=ibhostnet:eth6,phyflatnet:br0-flat-veth,"
                'phyvlanhostnet:eth0";commit;',
            ),
            implied("home"),
            "device use node003",
            "roles",
            "assign openstacknode",
            Typed(
                "set configfilemodifications "
                f'"-{BRIDGE}[vlans]tenant_network_type" '
                f'"+{BRIDGE}[vlans]tenant_network_type=flat,vlan" '
                f'"-{BRIDGE}[vlans]network_vlan_ranges" '
                f'"+{BRIDGE}[vlans]network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20" '
                f'"-{BRIDGE}[linux_bridge]physical_interface_mappings" '
                f'"+{BRIDGE}[linux_bridge]physical_interface_mappings='
                'ibhostnet:eth4,phyflatnet:br0-flat-veth,phyvlanhostnet:eth0";commit;',
                "set configfilemodifications\n"
                '"/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[vlans]tenant_network_type"\n'
                '"+/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[vlans]'
                'tenant_network_type=flat,vlan"\n'
                '"/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[vlans]network_vlan_ranges" '
                '"+/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[vlans]'
                'network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20" '
                '"-/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[linux_bridge]'
                'physical_interface_mappings" '
                '"+/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini[linux_bridge]'
                "physical_interface_mappings=ibhostnet:eth4,phyflatnet:br0-flat-veth,"
                'phyvlanhostnet:eth0";commit;',
            ),
            implied("home"),
            "category use openstack-compute-hosts-mellanox;services",
            "add eswitchd",
            "set autostart yes",
            "set monitored yes",
            "commit",
            # "Repeat the above example for the neutron-mlnx-agent."
            implied("add neutron-mlnx-agent"),
            implied("set autostart yes"),
            implied("set monitored yes"),
            implied("commit"),
            # "At this point you should set the nextinstallmethod of the nodes to FULL … Now you can … reboot"
            implied("home"),
            implied("device foreach -n node001..node003 (set nextinstallmode FULL; commit)"),
            implied("device foreach -n node001..node003 (reboot)"),
        ),
    ),
    Step(
        "Configuring Bright-managed instances with InfiniBand Interfaces",
        _lines(
            implied("network"),
            "add ibnetwork",
            "set openstacknetworktype other",
            "set openstackvlanrange 1:10",
            "set openstacknetworkisshared 1",
            "set openstackphysicalnetworkname ibnetwork",
            "set domainname ibhostnet.cluster",
            "set baseaddress 192.168.80.0",
            "set netmaskbits 24",
            "set broadcastaddress 192.168.80.255",
            "commit",
            "show",
            "device foreach -n vnode001..vnode012 (interfaces;add physical ib0;set dhcp yes;"
            "set network ibnetwork ;commit;)",
            implied("device use vnode001"),
            "virtualnodesettings",
            "get instanceid",
        ),
    ),
)


def cmsh(head: Path, lines: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    """One sitting at the head node's cmsh."""
    return subprocess.run(
        [str(head / "bin/cmsh"), "-n", "--color=no", *options],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        check=False,
    )


def type_all(head: Path) -> list[subprocess.CompletedProcess[str]]:
    """Do the whole procedure on ``head``, step by step; how each sitting ended."""
    done = []
    for step in STEPS:
        done.append(cmsh(head, [line.typed for line in step.lines]))
        if step.shell:
            step.shell(head / "root")
    return done
