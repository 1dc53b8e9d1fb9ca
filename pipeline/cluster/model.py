"""A cluster file as it was understood: everything is filled in, checked and agrees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from pipeline.cluster.objects import Ref, Wanted
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
    are for the administrator; ``files`` are those that were read; ``groups`` are node sets by name.
    """

    name: str
    summary: str
    file: Path
    parameters: Mapping[str, Parameter]
    wanted: tuple[Wanted, ...]
    restarts: Mapping[Ref, tuple[Ref, ...]] = {}
    firmware: Firmware | None = None
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    groups: Mapping[str, str] = {}
