"""A cluster file as it was understood: everything is filled in, checked and agrees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from pipeline.cluster.objects import Ref, Wanted
from pipeline.cluster.rolling import Rollout
from pipeline.recipe.model import Parameter


class Firmware(msgspec.Struct, frozen=True):
    """Where the vendor's installer is run on live nodes: ``nodes`` is a node set, ``directory`` a shared one.

    ``remove`` are packages that are in its way; ``options`` are the installer's. ``vfs``
    is how many virtual functions each adapter is to have afterwards; None where that doesn't matter.
    """

    categories: tuple[str, ...]
    nodes: str
    head: bool
    directory: str
    remove: tuple[str, ...] = ()
    options: tuple[str, ...] = ("--enable-sriov",)
    vfs: int | None = None


class Cluster(msgspec.Struct, frozen=True):
    """The state that a cluster is to have. ``wanted`` is in an order in which each finds what it needs.

    ``restarts`` are services that are restarted when one of these objects changes. ``notes``
    are for the administrator; ``files`` are those that were read. ``groups`` are the node sets of ``@name``.
    ``unasked`` are objects of the file that are not in ``wanted``, for nobody can be asked for them.
    ``node_parameters`` are the parameters of nodes that have other values, and only these. ``appended`` are
    the kernel parameters that the file itself gives each image, without its recipe's. ``made`` are images
    that rollouts have made: each with the file's image that it is meant by. ``head`` is where the site has
    the head node, ``role`` Bright's role that it names. ``same_head``: it is that of the
    last apply, whatever that called it.
    """

    name: str
    summary: str
    file: Path
    parameters: Mapping[str, Parameter]
    wanted: tuple[Wanted, ...]
    restarts: Mapping[Ref, tuple[Ref, ...]] = {}
    firmware: Firmware | None = None
    rollout: Rollout = Rollout()
    groups: Mapping[str, str] = {}
    node_parameters: Mapping[str, Mapping[str, Parameter]] = {}
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    unasked: tuple[Ref, ...] = ()
    appended: Mapping[str, tuple[str, ...]] = {}
    made: Mapping[str, str] = {}
    head: str = ""
    role: str = ""
    same_head: bool = False

    def parameters_for(self, node: str) -> Mapping[str, Parameter]:
        """The parameters as they are for a node."""
        return self.node_parameters.get(node, self.parameters)
