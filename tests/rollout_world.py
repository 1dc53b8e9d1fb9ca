"""A cluster file, a store with versions and what a cluster manager has, for what precedes a rollout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.cluster.drivers.nodes import CategoryFacts, ImageFacts, NodeFacts, NodeStatus, Survey
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Ref, Wanted
from pipeline.cluster.rolling import Rollout
from pipeline.recipe.model import Site
from pipeline.rollout.ordering import Draft, Wishes, draft
from pipeline.store.records import Verification
from pipeline.store.store import Store
from tests.small_store import version_record

IMAGE = "compute-image"
PASSED = Verification(
    passed=True, tests_digest="t", when=1.0, seconds=1.0, results=(("t", "passed", 1.0, ""),)
)


class World:
    """A store with versions 1 to 3 of an image, of which 3 has not passed; a file; a cluster manager."""

    def __init__(self, folder: Path) -> None:
        (folder / "recipes" / IMAGE).mkdir(parents=True)
        (folder / "recipes" / IMAGE / "recipe.toml").touch()
        file = folder / "recipes/clusters/x.toml"
        file.parent.mkdir()
        file.write_text('[cluster]\nname = "x"\n[rollout]\ncanary = 1\nmax_unavailable = 1\n')
        self.site = Site(folder / "pipeline.toml", folder, folder / "store", Path("/images"))
        self.store = Store.open(folder / "store")
        for number in (1, 2, 3):
            made = self.store.versions.add(
                version_record(image=IMAGE, identity=str(number), kernel_parameters=("iommu=pt",)), {}
            )
            if number != 3:
                self.store.versions.set_verification(made, PASSED, {})
        self.cluster = Cluster(
            "x",
            "",
            file,
            {},
            tuple(
                Wanted(Ref("category", name), {"image": image})
                for name, image in (("compute", IMAGE), ("network", IMAGE), ("login", "default-image"))
            ),
            groups={"first": "node[001-002]"},
        )
        self.nodes: dict[str, NodeFacts] = {}
        self.images = {name: ImageFacts(name, f"/cm/images/{name}") for name in (IMAGE, "default-image")}
        self.disk_setup = ""
        for number in range(1, 5):
            self.has(f"node{number:03d}", "compute", rack="r1" if number < 3 else "r2")
        self.has("node009", "network")
        self.has("node100", "login", image="default-image")

    def has(self, name: str, category: str, condition: Any = "up", image: str = IMAGE, **more: Any) -> None:
        self.nodes[name] = NodeFacts(name, NodeStatus(condition), category, image, **more)

    def rollout(self, **said: Any) -> None:
        self.cluster = msgspec.structs.replace(self.cluster, rollout=Rollout(**said))

    def survey(self) -> Survey:
        names = dict.fromkeys(node.category for node in self.nodes.values())
        categories = {name: CategoryFacts(name, IMAGE, self.disk_setup) for name in names}
        return Survey(self.nodes, self.images, categories)

    def draft(
        self, *images: str, nodes: str = "", skip_down: bool = False, osds: Mapping[str, Any] = {}
    ) -> Draft:
        wishes = Wishes(nodes, images, skip_down)
        return draft(self.cluster, self.site, self.store, self.survey(), wishes, osds)
