"""What each mode has: properties with their types, labels and defaults, columns and submodes.

Labels are those of ``show``; a property's name is its label in small letters without blanks. Labels of
networks are the seed's, others the manual's.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pipeline.lab.head.objects import Value

Type = Literal["text", "name", "bool", "int", "choice", "ref", "list", "file", "ip", "path", "computed"]


class Property(NamedTuple):
    """``to`` is the mode that a reference names; ``inherits`` the property of the category, for a node."""

    label: str
    type: Type = "text"
    default: Value = ""
    choices: tuple[str, ...] = ()
    to: str = ""
    inherits: bool = False

    @property
    def name(self) -> str:
        return self.label.lower().replace(" ", "")


class Kind(NamedTuple):
    """``types`` are the words that ``add`` takes, if any; ``submodes`` lead to kinds of this table."""

    title: str
    key: str
    properties: dict[str, Property]
    columns: tuple[tuple[str, int], ...]
    submodes: dict[str, str]
    types: dict[str, str]


MODES = ("device", "category", "softwareimage", "network", "partition")

INSTALL_MODES = ("AUTO", "FULL", "NOSYNC", "MAIN", "SKIP")


def _kind(
    title: str,
    key: str,
    properties: tuple[Property, ...],
    columns: tuple[tuple[str, int], ...],
    submodes: dict[str, str] | None = None,
    types: dict[str, str] | None = None,
) -> Kind:
    table = {one.name: one for one in (Property(key, "name"), *properties)}
    return Kind(title, key, table, columns, submodes or {}, types or {})


PROVISIONED = (
    Property("Default gateway", "ip", "0.0.0.0"),
    Property("Exclude list full install", "file"),
    Property("Exclude list sync install", "file"),
    Property("Exclude list update", "file"),
    Property("Finalize script", "file"),
    Property("Initialize script", "file"),
    Property("Notes", "file"),
    Property("Revision"),
)

DEVICE = _kind(
    "Device",
    "Hostname",
    (
        Property("Type", "computed"),
        Property("MAC", "text", "00:00:00:00:00:00"),
        Property("Category", "ref", to="category"),
        Property("Data node", "bool", False),
        Property("Disk setup", "file", inherits=True),
        Property("Install mode", "choice", "AUTO", INSTALL_MODES, inherits=True),
        Property("Ip", "computed"),
        Property("Management network", "ref", to="network"),
        Property("Network", "computed"),
        Property("Next install mode", "choice", "", ("", *INSTALL_MODES)),
        Property("Partition", "ref", "base", to="partition"),
        Property("Power control", "text", "custom"),
        Property("Provisioning interface", "text", "BOOTIF"),
        Property("Rack"),
        Property("Software image", "ref", to="softwareimage", inherits=True),
        Property("Status", "computed"),
        Property("Userdefined1"),
        Property("Userdefined2"),
        *PROVISIONED,
    ),
    (
        ("type", 22),
        ("hostname", 16),
        ("mac", 18),
        ("category", 16),
        ("ip", 15),
        ("network", 14),
        ("status", 32),
    ),
    {
        "interfaces": "interface",
        "roles": "role",
        "services": "service",
        "virtualnodesettings": "virtualnodesettings",
    },
    {"headnode": "HeadNode", "physicalnode": "PhysicalNode", "virtualnode": "VirtualNode"},
)

CATEGORY = _kind(
    "Category",
    "Name",
    (
        Property("Boot loader", "choice", "syslinux", ("syslinux", "grub")),
        Property("Data node", "bool", False),
        Property("Disk setup", "file"),
        Property("Install boot record", "bool", False),
        Property("Install mode", "choice", "AUTO", INSTALL_MODES),
        Property("Management network", "ref", to="network"),
        Property("New node install mode", "choice", "FULL", INSTALL_MODES),
        Property("Nodes", "computed"),
        Property("Software image", "ref", to="softwareimage"),
        *PROVISIONED,
    ),
    (("name", 24), ("softwareimage", 24), ("nodes", 8)),
    {"roles": "role", "services": "service"},
)

SOFTWAREIMAGE = _kind(
    "SoftwareImage",
    "Name",
    (
        Property("Creation time"),
        Property("Enable SOL", "bool", False),
        Property("Kernel output console", "text", "tty0"),
        Property("Kernel parameters"),
        Property("Kernel version"),
        Property("Locked", "bool", False),
        Property("Nodes", "computed"),
        Property("Notes", "file"),
        Property("Parent software image"),
        Property("Path", "path"),
        Property("Revision"),
    ),
    (("name", 20), ("path", 40), ("kernelversion", 20), ("nodes", 6)),
)

NETWORK = _kind(
    "Network",
    "name",
    (
        Property("OpenStack Host"),
        Property("OpenStack Physical network name"),
        Property("OpenStack VLAN ID", "int", 0),
        Property("OpenStack VLAN Range"),
        Property("OpenStack alloc pool end", "ip", "0.0.0.0"),
        Property("OpenStack alloc pool start", "ip", "0.0.0.0"),
        Property("OpenStack network"),
        Property("OpenStack network is shared", "bool", False),
        Property("OpenStack network type", "choice", "", ("", "Flat", "VLAN host", "VXLAN host", "Other")),
        Property("Revision"),
        Property("Base address", "ip", "0.0.0.0"),
        Property("Broadcast address", "ip", "0.0.0.0"),
        Property("Domain Name"),
        Property("Dynamic range start", "ip", "0.0.0.0"),
        Property("Dynamic range end", "ip", "0.0.0.0"),
        Property("Gateway", "ip", "0.0.0.0"),
        Property("IPv6", "bool", False),
        Property("Lock down dhcpd", "bool", False),
        Property("MTU", "int", 1500),
        Property("Management allowed", "bool", False),
        Property("Netmask bits", "int", 16),
        Property("Node booting", "bool", False),
        Property("Notes", "file"),
        Property("Type", "choice", "Internal", ("Internal", "External", "Tunnel", "Cloud", "Global")),
        Property("EC2AvailabilityZone"),
        Property("EC2SubnetID"),
        Property("Private Cloud"),
    ),
    (("name", 20), ("type", 10), ("netmaskbits", 14), ("baseaddress", 16), ("domainname", 24), ("ipv6", 5)),
)

PARTITION = _kind(
    "Partition",
    "Name",
    (
        Property("Cluster name"),
        Property("Headnode", "ref", to="device"),
        Property("Management network", "ref", to="network"),
        Property("Revision"),
    ),
    (("name", 20), ("clustername", 24), ("headnode", 20)),
    {"roles": "role"},
)

ROLE = _kind(
    "Role",
    "Name",
    (
        Property("Add services", "bool", True),
        Property("Config file modifications", "list", []),
        Property("Revision"),
        Property("Type", "computed"),
    ),
    (("name", 28),),
)

SERVICE = _kind(
    "Service",
    "Service",
    (
        Property("Autostart", "bool", False),
        Property("Monitored", "bool", False),
        Property("Revision"),
        Property("Run if", "choice", "ALWAYS", ("ALWAYS", "ACTIVE", "PASSIVE", "PREFERPASSIVE")),
        Property("Sickness check interval", "int", 60),
        Property("Sickness check script"),
        Property("Timeout", "int", -1),
    ),
    (("service", 24), ("monitored", 10), ("autostart", 10)),
)

INTERFACE = _kind(
    "NetworkInterface",
    "Network device name",
    (
        Property("Additional hostnames", "list", []),
        Property("Card type"),
        Property("DHCP", "bool", False),
        Property("IP", "ip", "0.0.0.0"),
        Property("MAC", "text", "00:00:00:00:00:00"),
        Property("Network", "ref", to="network"),
        Property("Revision"),
        Property("Speed"),
        Property("Start if", "choice", "ALWAYS", ("ALWAYS", "ACTIVE", "PASSIVE")),
        Property("Type", "computed"),
    ),
    (("type", 12), ("networkdevicename", 22), ("ip", 16), ("network", 16)),
    types={"physical": "physical", "alias": "alias", "bmc": "bmc", "bond": "bond", "vlan": "vlan"},
)

VIRTUALNODESETTINGS = _kind(
    "VirtualNodeSettings",
    "Name",
    (
        Property("Flavor", "text", "m1.small"),
        Property("Instance ID"),
        Property("Keypair"),
        Property("Revision"),
    ),
    (("name", 20),),
)

KINDS = {
    "device": DEVICE,
    "category": CATEGORY,
    "softwareimage": SOFTWAREIMAGE,
    "network": NETWORK,
    "partition": PARTITION,
    "role": ROLE,
    "service": SERVICE,
    "interface": INTERFACE,
    "virtualnodesettings": VIRTUALNODESETTINGS,
}

ROLES = {
    "boot": "BootRole",
    "cephosd": "CephOSDRole",
    "monitoring": "MonitoringRole",
    "openstackcompute": "OpenStackComputeRole",
    "openstacknetwork": "OpenStackNetworkRole",
    "openstacknode": "OpenStackNodeRole",
    "provisioning": "ProvisioningRole",
    "slurmclient": "SlurmClientRole",
    "storage": "StorageRole",
}
"""What ``assign`` knows."""

HAS_FILE_MODIFICATIONS = frozenset({"OpenStackNodeRole"})
"""The roles that have the property configfilemodifications."""
