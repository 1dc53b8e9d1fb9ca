"""A head node of the lab in a directory of its own, with the driver for it, and what is wanted of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster.compare import changes, sources
from pipeline.cluster.drivers.bright.driver import Bright
from pipeline.cluster.head import Head
from pipeline.cluster.objects import HEAD, Change, Ref, State, Wanted
from pipeline.lab.head import start, state
from pipeline.lab.head.switches import AXES, Faults, Switches, combinations, write_faults

ML2 = "/etc/neutron/plugins/ml2/ml2_conf.ini"
BRIDGE = "/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini"
COMPUTE, MELLANOX = "openstack-compute-hosts", "openstack-compute-hosts-mellanox"
IMAGE = "openstack-image-mellanox"
ADDED = ("intel_iommu=on", "iommu=pt", "pci=realloc", "pci=nocrs")


def some_switches(part: int, parts: int) -> pytest.MarkDecorator:
    """``switches`` for one of several tests of a file: each value of each switch.

    The tests of a file have ``parts`` different ones: together they have every two values of two switches,
    and ``test_bright_everywhere.py`` has these in one test. Each kind of answer is read in one place for all
    that is asked, so a pair that one question meets needs no repetition for every other.
    """
    every = list(combinations())
    chosen, rest = every[part::parts], every[part + 1 :] + every[:part]
    while missing := {(axis, value) for axis in AXES for value in AXES[axis]} - _values(chosen):
        chosen.append(max(rest, key=lambda one: len(_values([one]) & missing)))
    ids = ["-".join(str(value).replace(" ", "") for value in switches) for switches in chosen]
    return pytest.mark.parametrize("switches", chosen, ids=ids)


def _values(chosen: Sequence[Switches]) -> set[tuple[str, str | int]]:
    return {(axis, getattr(switches, axis)) for switches in chosen for axis in AXES}


class LabHead:
    """The stand-in's directory, and a driver that speaks to it."""

    def __init__(
        self, directory: Path, switches: Switches | None = None, nodes: int = 3, categories: int = 0
    ) -> None:
        self.directory = directory
        start.make(directory, nodes, categories, switches=switches)
        self.head = Head(root=str(directory / "root"), programs=(str(directory / "bin"),))
        self.driver = Bright(self.head)

    def anew(self) -> Bright:
        """A driver that has seen nothing yet."""
        return Bright(self.head)

    def faults(self, **what: Any) -> None:
        write_faults(str(self.directory), Faults(**what))

    def type(self, *lines: str) -> None:
        """Type lines at cmsh as an administrator does; all must be right."""
        ran = self.head.run_file(("cmsh", "-n", "-q", "-f"), "".join(f"{line}\n" for line in lines))
        assert ran.code == 0, ran

    def snapshot(self) -> dict[str, Any]:
        return state.snapshot(str(self.directory))

    def calls(self) -> list[dict[str, Any]]:
        return state.calls(str(self.directory))

    def plan(
        self, wanted: Sequence[Wanted], driver: Bright | None = None
    ) -> tuple[tuple[Change, ...], State]:
        """What would have to change, and what was read."""
        driver = driver or self.driver
        asked = [*wanted, *sources(wanted)]
        found = driver.read(asked)
        driver.refuse(asked, found)
        return changes(wanted, found, {}, {}), found


def setting(of: str, file: str, name: str, value: str, replaces: bool = True) -> Wanted:
    return Wanted(Ref("setting", f"{file}{name}", of), {"value": value, "replaces": replaces})


def ml2_settings() -> list[Wanted]:
    of = str(HEAD)
    return [
        setting(of, ML2, "[ml2]type_drivers", "flat,vlan"),
        setting(of, ML2, "[ml2]mechanism_drivers", "mlnx,linuxbridge,l2population"),
        setting(of, ML2, "[ml2_type_vlan]network_vlan_ranges", "ibhostnet:1:10,phyvlanhostnet:11:20"),
        setting(of, ML2, "[eswitch]vnic_type", "hostdev", replaces=False),
    ]


def bridge_settings(of: str, interface: str) -> list[Wanted]:
    return [
        setting(of, BRIDGE, "[vlans]tenant_network_type", "flat,vlan"),
        setting(of, BRIDGE, "[linux_bridge]physical_interface_mappings", f"ibhostnet:{interface},x:eth0"),
    ]


def seed() -> list[Wanted]:
    """What the seed's procedure does, in its order, as far as Bright keeps it."""
    return [
        Wanted(
            Ref("image", IMAGE),
            {"path": f"/cm/images/{IMAGE}"},
            {"kernel_parameters": ADDED},
            source="openstack-image",
        ),
        Wanted(Ref("category", MELLANOX), {"image": IMAGE}, source=COMPUTE),
        *(Wanted(Ref("node", name), {"category": MELLANOX}, make=False) for name in ("node002", "node003")),
        Wanted(Ref("category", "openstack-network-nodes"), {"image": IMAGE}),
        Wanted(Ref("service", "opensm", "node/node001"), {"running": False}),
        Wanted(Ref("service", "opensm", str(HEAD)), {"running": True}),
        *ml2_settings(),
        *bridge_settings(f"category/{MELLANOX}", "eth6"),
        *bridge_settings("node/node003", "eth4"),
        *(
            Wanted(Ref("service", name, f"category/{MELLANOX}"), {"autostart": True, "monitored": True})
            for name in ("eswitchd", "neutron-mlnx-agent")
        ),
        Wanted(
            Ref("network", "ibnetwork"),
            {
                "openstack_type": "other",
                "openstack_vlan_range": "1:10",
                "openstack_shared": True,
                "openstack_physical_network": "ibnetwork",
                "domain": "ibhostnet.cluster",
                "base_address": "192.168.80.0",
                "netmask_bits": 24,
                "broadcast_address": "192.168.80.255",
            },
        ),
        *(
            Wanted(
                Ref("interface", "ib0", f"node/vnode{number:03d}"),
                {"type": "physical", "dhcp": True, "network": "ibnetwork"},
            )
            for number in range(1, 13)
        ),
    ]
