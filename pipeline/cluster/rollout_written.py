"""The tables of a cluster file's ``[rollout]`` that say what is done to nodes before they are taken away, and
undone when they are back, as users write them. None of them is needed: each has defaults."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

Command: TypeAlias = Annotated[
    tuple[str, ...], Meta(description="A program of the head node and its arguments; no shell.")
]

OnlyNodes: TypeAlias = Annotated[
    str,
    Meta(
        description='Only these nodes, as ClusterShell writes a set: "node[001-003]", or "@group"; empty: '
        "all of the rollout."
    ),
]

OnlyCategories: TypeAlias = Annotated[
    tuple[str, ...], Meta(description="Only nodes of these categories; empty: of all.")
]


class CephTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[rollout.ceph]``: hosts with OSDs, one at a time.

    A host goes when every OSD that is in is up, every placement group is active+clean, and the health is
    HEALTH_OK, or warns of nothing but noout and what ``accept`` names. Its OSDs have noout while it is away.
    """

    program: Annotated[
        Command, Meta(description='With options, such as ["ceph", "--cluster", "backup"].')
    ] = ("ceph",)
    accept: Annotated[
        tuple[str, ...],
        Meta(
            description="Warnings in spite of which nodes are taken: names of health checks, such as "
            '"POOL_NO_REDUNDANCY"; before Luminous a part of the summary\'s text.'
        ),
    ] = ()


class NovaTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[rollout.nova]``: hypervisors take no new guests while they are away."""

    openrc: Annotated[
        str,
        Meta(description="A file of the head node that is sourced before: who asks the cloud, and where."),
    ] = ""
    cloud: Annotated[str, Meta(description="A name in the head node's clouds.yaml.")] = ""
    client: Annotated[
        Literal["openstack", "nova"] | None,
        Meta(description="Which program; without it the first that the head node has."),
    ] = None
    guests: Annotated[
        Literal["report", "wait", "refuse"],
        Meta(
            description="What is done about guests that are still on a node: they go down with it and are "
            "told (report), somebody takes them away meanwhile (wait), or the node fails (refuse). "
            "Guests with SR-IOV devices can't be migrated as a rule."
        ),
    ] = "report"
    nodes: OnlyNodes = ""
    categories: OnlyCategories = ()


class SlurmTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[rollout.slurm]``: nodes are drained, and resumed afterwards."""

    nodes: OnlyNodes = ""
    categories: OnlyCategories = ()


class VirtualTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[rollout.virtual]``: virtual nodes, which take a changed configuration only when their instance is
    made anew: none may have one before."""

    terminate: Annotated[
        bool, Meta(description="End the instances that there are; else they are refused.")
    ] = False
    power_on: Annotated[
        bool, Meta(description="Start the nodes when they have their image; else they are refused.")
    ] = False
    interface: Annotated[
        str, Meta(description='A network interface that each of them must have, such as "ib0".')
    ] = ""


class CommandTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[rollout.command]]``: programs of the site's own, run on the head node.

    In the environment are ROLLOUT_NODES (a node set of those whose turn it is), ROLLOUT_REASON, and with
    ``each`` ROLLOUT_NODE. Exit code 0: done; 75: not yet, ask again; any other: no, and the last line
    printed says why. Each may be run again after it was done.
    """

    name: Annotated[str, Meta(description="As in [rollout] hooks; none of ceph, nova, slurm, virtual.")]
    before: Annotated[Command, Meta(description="Before nodes are taken away.")] = ()
    after: Annotated[Command, Meta(description="When they are back and verified.")] = ()
    leave: Annotated[Command, Meta(description="When they failed and are left as they are.")] = ()
    find: Annotated[Command, Meta(description="Before anything: exit code 0 when all is well.")] = ()
    each: Annotated[bool, Meta(description="Once for each node, not once for all whose turn it is.")] = False
    nodes: OnlyNodes = ""
    categories: OnlyCategories = ()


class HookTables(msgspec.Struct, frozen=True):
    """Those tables of a ``[rollout]``, each with what is said there or its defaults.

    ``groups`` are the cluster file's, for "@name" in node sets.
    """

    ceph: CephTable = CephTable()
    nova: NovaTable = NovaTable()
    slurm: SlurmTable = SlurmTable()
    virtual: VirtualTable = VirtualTable()
    command: tuple[CommandTable, ...] = ()
    groups: dict[str, str] = {}
