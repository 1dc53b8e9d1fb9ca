"""From a site to the keepers of its cluster's objects."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from pipeline.cluster.drivers.base import Driver
from pipeline.cluster.drivers.nodes import NodeManager
from pipeline.cluster.head import Head
from pipeline.cluster.headfiles import HeadFiles
from pipeline.cluster.keepers import Keeper, Keepers
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Kind
from pipeline.errors import UsageError
from pipeline.recipe.model import HeadSite, Site


def head_site(site: Site) -> HeadSite:
    """What the site says of its head node."""
    if site.head is None:
        raise UsageError(
            f"{site.file} does not say where the head node is",
            hint='add a table [head]: manager = "bright", and address = "root@HEAD" unless it is this one',
        )
    return site.head


def head(site: Site) -> Head:
    """The head node. That of the lab must be there: in its place this machine's own would be asked."""
    at = head_site(site)
    if site.lab is not None and at.root == str(site.lab / "head/root") and not Path(at.root).is_dir():
        raise UsageError(
            "the lab has no head node", where=str(site.lab / "head"), command="pipeline lab head --reset"
        )
    return Head(at.address, at.root, at.programs, ssh_options=at.ssh_options)


def driver(site: Site) -> Driver:
    """The driver of the site's cluster manager."""
    at = head_site(site)
    if at.manager == "warewulf":
        from pipeline.cluster.drivers.warewulf.driver import Warewulf

        return Warewulf(head(site))
    from pipeline.cluster.drivers.bright.driver import Bright

    return Bright(head(site), role=at.role)


def node_manager(site: Site) -> NodeManager:
    """What a rollout goes through. Raises ``UsageError`` for a manager of which no rollout is known."""
    at = head_site(site)
    if at.manager != "bright":
        raise UsageError(
            f'{site.file}: a rollout needs manager = "bright" in [head], and there is {at.manager!r}',
            hint="nodes of Warewulf take the image that their profile names at every boot: `cluster apply` "
            "sets it, and `wwctl power cycle` reboots them",
        )
    from pipeline.cluster.drivers.bright.nodes import BrightNodes

    return BrightNodes(head(site))


CLOUDS: frozenset[Kind] = frozenset({"os-network", "os-subnet"})


def names_cloud(site: Site) -> bool:
    """Whether the site, or else ``OS_CLOUD``, says which cloud is the cluster's."""
    return bool(head_site(site).cloud or os.environ.get("OS_CLOUD"))


def without_cloud(site: Site, cluster: Cluster) -> Cluster:
    """``cluster`` without what OpenStack would keep, and with a note, when no cloud is named."""
    kept = tuple(item for item in cluster.wanted if item.ref.kind not in CLOUDS)
    if names_cloud(site) or len(kept) == len(cluster.wanted):
        return cluster
    note = (
        "networks of the cloud are left out: neither the site's [head] nor OS_CLOUD names one of clouds.yaml"
    )
    unasked = tuple(item.ref for item in cluster.wanted if item.ref.kind in CLOUDS)
    return msgspec.structs.replace(cluster, wanted=kept, unasked=unasked, notes=(*cluster.notes, note))


def keepers(site: Site, cluster: Cluster) -> Keepers:
    """All that keep something of ``cluster``; OpenStack is asked only when the file has something for it."""
    cloud: Keeper | None = None
    if any(item.ref.kind in CLOUDS for item in cluster.wanted):
        from pipeline.cluster.openstack import OpenStack

        cloud = OpenStack(head_site(site).cloud)
    return Keepers((driver(site), HeadFiles(head(site))), cloud)
