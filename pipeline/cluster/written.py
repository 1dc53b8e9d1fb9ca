"""The tables of a cluster file as users write it; the JSON Schema is derived from these."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from pipeline.cluster.rollout_written import CephTable, CommandTable, NovaTable, SlurmTable, VirtualTable
from pipeline.recipe.model import Parameter
from pipeline.recipe.written import Required

Scalar: TypeAlias = str | int | float | bool

Generator: TypeAlias = Literal["ml2", "linuxbridge", "partitions"]

Nodes: TypeAlias = Annotated[
    str, Meta(description='A node set as ClusterShell writes it: "node[001-003],node007", or "@group".')
]

Limit: TypeAlias = Annotated[
    int | str,
    Meta(description='A number of nodes, or "10%" of those of the rollout: rounded down, at least 1.'),
]

Duration: TypeAlias = Annotated[int | float | str, Meta(description='Seconds, or "90s", "45m", "3h".')]

VlanRange: TypeAlias = Annotated[str, Meta(description='"FIRST:LAST", both within 1 to 4094.')]


class ClusterTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[cluster]``."""

    name: Annotated[str, Meta(description="The same as the name of the file.")]
    summary: Annotated[str, Meta(description="One line for people.")] = ""
    parameters_of: Annotated[
        tuple[str, ...], Meta(description="Image recipes whose parameters are known here by the same names.")
    ] = ()


class ServiceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service that the cluster manager watches. What is not said is left as it is."""

    name: str
    autostart: Annotated[bool | None, Meta(description="Started with the node, and again when it ends.")] = (
        None
    )
    monitored: bool | None = None


class NodeServiceTable(ServiceTable, frozen=True, forbid_unknown_fields=True):
    """A service of one machine; that of a category runs on each of its nodes, which may be down."""

    running: Annotated[bool | None, Meta(description="Whether it runs now.")] = None


class HeadServiceTable(NodeServiceTable, frozen=True, forbid_unknown_fields=True):
    """A service of the head node; nodes get their files when they are installed."""

    restart_after: Annotated[
        tuple[str, ...], Meta(description="Files of the head node; a change of one restarts it.")
    ] = ()


class FileTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file on the head node or the nodes; one of ``generate``, ``content``, ``words``,
    or ``set`` and ``add``."""

    path: str
    generate: Annotated[
        Generator | None, Meta(description="ml2 and linuxbridge: keys from [neutron]; partitions: all of it.")
    ] = None
    content: Annotated[str | None, Meta(description="All of the file; on the head node only.")] = None
    words: Annotated[
        dict[str, str] | None,
        Meta(description="Lines KEY VALUE, as in opensm.conf; on the head node only."),
    ] = None
    set: Annotated[
        dict[str, dict[str, Scalar]] | None, Meta(description="{SECTION = {KEY = VALUE}} of an INI file.")
    ] = None
    add: Annotated[
        dict[str, dict[str, Scalar]] | None,
        Meta(description="As set, but what the cluster manager writes for a key stays before it."),
    ] = None
    mode: Annotated[str | None, Meta(description='Octal, as text: "0640"; of a whole file.')] = None
    owner: Annotated[str | None, Meta(description='"user:group"; of a whole file.')] = None


class HeadTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[head.file]]`` and ``[[head.service]]``."""

    file: tuple[FileTable, ...] = ()
    service: tuple[HeadServiceTable, ...] = ()


class ImageTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[image]]``: a software image of the cluster manager.

    The kernel parameters of the recipe of the same name are appended to those that it has.
    """

    name: str
    clone: Annotated[str, Meta(description="The image that it is cloned from when it isn't there.")] = ""
    path: Annotated[str, Meta(description="Its directory on the head node.")] = ""
    version: Annotated[
        Literal["published"] | int | None,
        Meta(
            description='Instead of a path: a version of the recipe; "published" is whichever is published.'
        ),
    ] = None
    append_kernel_parameters: Annotated[
        tuple[str, ...], Meta(description="In addition to those of the recipe.")
    ] = ()


class CategoryTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[category]]``: nodes that are alike. One without ``clone`` has to be there already."""

    name: str
    clone: Annotated[str, Meta(description="The category that it is cloned from when it isn't there.")] = ""
    image: Annotated[str, Meta(description="Its software image.")] = ""
    nodes: Nodes = ""
    file: tuple[FileTable, ...] = ()
    service: tuple[ServiceTable, ...] = ()


class NodeTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[node]]``: what is different on some nodes of a category."""

    names: Nodes
    parameters: Annotated[
        dict[str, Parameter],
        Meta(description="Other values for these nodes; what their category generates is made anew."),
    ] = msgspec.field(default_factory=dict)
    file: tuple[FileTable, ...] = ()
    service: tuple[NodeServiceTable, ...] = ()


class ProviderTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[neutron.provider]]``: a physical network that networks of the cloud lie on."""

    name: str
    type: Literal["flat", "vlan"]
    fabric: Literal["ethernet", "infiniband"] = "ethernet"
    range: Annotated[
        VlanRange | tuple[VlanRange, ...],
        Meta(description="The segments of a vlan network; on InfiniBand each is a partition."),
    ] = ()
    interface: Annotated[str, Meta(description="The nodes' interface or bridge that leads there.")] = ""


class NeutronTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[neutron]``: what the configuration files are generated from."""

    isolation: Annotated[
        Literal["vlan", "vxlan"], Meta(description="How Ethernet networks of tenants are kept apart.")
    ] = "vlan"
    default_provider: Annotated[
        str,
        Meta(
            description="What a network lies on whose maker doesn't choose: a provider of type vlan, or "
            '"vxlan". Loading fails when Neutron would choose another.'
        ),
    ] = ""
    mechanism_drivers: tuple[str, ...] = ("mlnx", "linuxbridge", "l2population")
    vnic_type: Literal["hostdev", "mlnx_direct", "macvtap"] = "hostdev"
    vni_range: Annotated[str, Meta(description="With vxlan: the segments, FIRST:LAST.")] = "1:8000"
    vxlan_group: Annotated[str, Meta(description="With vxlan: the multicast address.")] = "224.0.0.1"
    local_ip: Annotated[
        str, Meta(description="With vxlan: each node's own address there, from a parameter of the nodes.")
    ] = ""
    provider: tuple[ProviderTable, ...] = ()


class NetworkTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[network]]``: a network object of the cluster manager."""

    name: str
    clone: str = ""
    cidr: Annotated[str, Meta(description='"192.168.80.0/24".')] = ""
    domain: str = ""
    openstack_type: str = ""
    openstack_vlan_range: VlanRange = ""
    openstack_physical_network: str = ""
    openstack_shared: bool | None = None


class InterfaceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[interface]]``: the same network interface on some nodes."""

    nodes: Nodes
    name: str
    type: Literal["physical"] = "physical"
    dhcp: bool | None = None
    network: str = ""


class SubnetTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[openstack.network.subnet]]``."""

    name: str
    cidr: str


class OpenstackNetworkTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[openstack.network]]``: a network of the cloud, made once."""

    name: str
    provider: Annotated[str, Meta(description="A [[neutron.provider]].")]
    segment: Annotated[int | None, Meta(description="Within the range of its provider.")] = None
    shared: bool = False
    external: bool = False
    subnet: tuple[SubnetTable, ...] = ()


class OpenstackTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[openstack.network]]``."""

    network: tuple[OpenstackNetworkTable, ...] = ()


class FirmwareTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[firmware]``: on which live nodes the vendor's installer is run, and from where."""

    directory: Annotated[str, Meta(description="Where the nodes see the extracted archive.")]
    categories: tuple[str, ...] = ()
    nodes: Nodes = ""
    head: Annotated[bool, Meta(description="On the head node as well.")] = False
    remove: Annotated[tuple[str, ...], Meta(description="Packages that are in its way.")] = ()
    options: tuple[str, ...] = ("--enable-sriov",)
    vfs: Annotated[
        int | None, Meta(description="Virtual functions that each adapter has to have afterwards.")
    ] = None


class WaitsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[rollout.waits]``: how long each step of a node may take; afterwards it has failed."""

    prepare: Annotated[Duration | None, Meta(description="Hooks before it is taken away (guests, jobs).")] = (
        None
    )
    begin: Annotated[Duration | None, Meta(description="From the reboot to the installer.")] = None
    install: Annotated[Duration | None, Meta(description="The installer, copying included.")] = None
    start: Annotated[Duration | None, Meta(description="From the installer's end to UP.")] = None
    verify: Annotated[Duration | None, Meta(description="The tests of a batch.")] = None
    release: Annotated[Duration | None, Meta(description="Hooks after it is back (Ceph recovers).")] = None
    poll: Annotated[Duration | None, Meta(description="How often the cluster manager is asked.")] = None


class RolloutTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[rollout]``: in which order and within which limits nodes are taken to a version."""

    canary: Annotated[
        int, Meta(description="Nodes of each category that go first; the others wait until they are proved.")
    ] = 1
    max_unavailable: Annotated[
        Limit, Meta(description='Nodes that are away at once: a number, or "10%" of the rollout\'s nodes.')
    ] = 1
    failure_budget: Annotated[
        Limit, Meta(description="How many may fail before it stops; none: the first one stops it.")
    ] = 0
    on_failure: Annotated[
        Literal["stop", "roll back failed", "roll back all"],
        Meta(description="What is done with the nodes when it stops."),
    ] = "roll back failed"
    install: Annotated[
        Literal["FULL", "AUTO"], Meta(description="FULL wipes the disk; AUTO copies what differs.")
    ] = "FULL"
    skip_down: Annotated[
        bool, Meta(description="Leave out nodes that are down or closed, instead of refusing.")
    ] = False
    hooks: Annotated[
        tuple[str, ...],
        Meta(
            description="What is done with a node before it is taken away, and undone afterwards in reverse "
            "order: ceph, nova, slurm, virtual, or the name of a [[rollout.command]]."
        ),
    ] = ()
    ceph: CephTable | None = None
    nova: NovaTable | None = None
    slurm: SlurmTable | None = None
    virtual: VirtualTable | None = None
    command: tuple[CommandTable, ...] = ()
    domains: Annotated[
        dict[str, Limit],
        Meta(
            description="How many nodes of one value of a label may be away at once. Each node has the label "
            '"rack" from the cluster manager; [[rollout.label]] gives it others.'
        ),
    ] = msgspec.field(default_factory=dict)
    label: Annotated[
        tuple[dict[str, str], ...],
        Meta(description='Labels of nodes: nodes = "node[001-010]", and LABEL = "VALUE" for each.'),
    ] = ()
    waits: WaitsTable = WaitsTable()
    tests: Annotated[
        tuple[str, ...] | None,
        Meta(description="Files beside the cluster file; without: NAME/test_*.py in its folder."),
    ] = None
    tests_of: Annotated[
        dict[str, tuple[str, ...]],
        Meta(description="By category: the tests of its nodes instead of these."),
    ] = msgspec.field(default_factory=dict)
    ignore: Annotated[
        tuple[str, ...], Meta(description="Absolute paths or patterns that may differ from the version.")
    ] = ()


class ClusterFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state that a cluster is to have. What is not said here is left as it is."""

    cluster: ClusterTable
    parameters: Annotated[
        dict[str, Parameter | Required],
        Meta(
            description="Values said once, and put in as {{ name }} wherever they are needed; "
            "{ required = true }: each node has its own, from [[node]]."
        ),
    ] = msgspec.field(default_factory=dict)
    groups: Annotated[
        dict[str, Nodes], Meta(description='Node sets that are written "@name" where nodes are named.')
    ] = msgspec.field(default_factory=dict)
    image: list[ImageTable] = msgspec.field(default_factory=list)
    category: list[CategoryTable] = msgspec.field(default_factory=list)
    node: list[NodeTable] = msgspec.field(default_factory=list)
    head: HeadTable = HeadTable()
    neutron: NeutronTable | None = None
    network: list[NetworkTable] = msgspec.field(default_factory=list)
    interface: list[InterfaceTable] = msgspec.field(default_factory=list)
    openstack: OpenstackTable = OpenstackTable()
    firmware: FirmwareTable | None = None
    rollout: RolloutTable | None = None
