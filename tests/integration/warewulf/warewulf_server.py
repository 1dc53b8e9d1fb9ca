"""A Warewulf server to drive: the stand-in, with a published image beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.cluster import compare
from pipeline.cluster.drivers.warewulf.driver import Warewulf
from pipeline.cluster.head import Head
from pipeline.cluster.objects import Change, Ref, State, Wanted
from pipeline.lab.warewulf import registry, start


class Server:
    """The stand-in in ``home``, its driver, and what is usually wanted of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.published = home / "images"
        self.driver = Warewulf(Head(programs=(str(home / "bin"),)))

    def publish(self, version: int) -> None:
        start.tree(self.published / f"web-{version}")
        link = self.published / "web"
        link.unlink(missing_ok=True)
        link.symlink_to(f"web-{version}")

    def wanted(self) -> tuple[Wanted, ...]:
        image = {"path": str(self.published / "web")}
        more = {"kernel_parameters": ("iommu=pt", "pci=realloc")}
        return (
            Wanted(Ref("image", "web"), image, more, source="openstack-image"),
            Wanted(Ref("category", "hosts-web"), {"image": "web"}, source="openstack-compute-hosts"),
            Wanted(Ref("category", "openstack-network-nodes"), {"image": "web"}, make=False),
            *(self.member(f"node{number:03}", "hosts-web") for number in (2, 3)),
            *(self.interface(f"node{number:03}") for number in (1, 3)),
        )

    def member(self, node: str, category: str) -> Wanted:
        return Wanted(Ref("node", node), {"category": category}, make=False)

    def interface(self, node: str, network: str = "ibnet", name: str = "ib0") -> Wanted:
        return Wanted(Ref("interface", name, f"node/{node}"), {"type": "physical", "network": network})

    def state(self, wanted: Sequence[Wanted]) -> State:
        return self.driver.read((*wanted, *compare.sources(wanted)))

    def plan(self, wanted: Sequence[Wanted]) -> tuple[Change, ...]:
        return compare.changes(wanted, self.state(wanted), {}, {})

    def apply(self, wanted: Sequence[Wanted]) -> None:
        state = self.state(wanted)
        self.driver.write(compare.changes(wanted, state, {}, {}), state)

    def calls(self, *, reading: bool = False) -> list[list[str]]:
        return [call for call in registry.calls(self.home) if reading or call[1] != "list"]
