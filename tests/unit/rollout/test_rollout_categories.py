"""Categories that others give another image, and nodes that they move, while a rollout is under way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.cluster.drivers.nodes import Sync
from pipeline.recipe.model import Site
from pipeline.rollout import folder as folders
from pipeline.rollout.having import Need, needs
from pipeline.rollout.model import Node, Policy
from pipeline.rollout.returning import kept_categories
from pipeline.rollout.states import Progress, State, Way
from tests.simulated_rollout import NEW, OLD, OTHER, WAITS, Scene, World

ONE = Policy(canary=1, max_unavailable=1, waits=WAITS)
LINK = "web"
MOVED = "it is in the category default by now, not in web"


def kept(image: str) -> tuple[str, ...]:
    return (f"its category has {OTHER} by now: {image} is set at it as its own",)


def bad(folder: Path) -> Scene:
    """A rollout of one node to a version that is no good."""
    return Scene(folder, World(("node001",), bad_images=frozenset({NEW})), ONE)


def refused(folder: Path) -> Scene:
    """A rollout of one node, which is set and can't be rebooted."""
    return Scene(folder, World(("node001",), faults={"node001": "not rebooted"}), ONE)


def at(scene: Scene, state: State, way: Way, do: Callable[[World], None]) -> None:
    """What others do when the first node comes to that state."""

    def watch(now: Progress) -> None:
        node = now.nodes["node001"]
        if (node.state, node.way) == (state, way):
            do(scene.world)

    scene.watch = watch


def given_another(world: World) -> None:
    world.category = OTHER


def moved(world: World) -> None:
    world.machines["node001"].category = "default"


def test_who_goes_back_gets_what_it_had_and_not_what_its_category_has_by_then(tmp_path: Path) -> None:
    scene = bad(tmp_path)
    at(scene, "installing", "out", given_another)
    node, machine = scene.run().nodes["node001"], scene.world.machines["node001"]
    assert machine.installs == {NEW: 1, OLD: 1} and machine.own == OLD
    assert (node.state, node.way, node.notes) == ("released", "back", kept(OLD))
    assert scene.world.category == OTHER and not scene.world.held


def linked(folder: Path, **how: Any) -> Scene:
    """A rollout of nodes of an image whose directory is a link, which led to the old version then."""
    world = World(("node001", "node002"), category=LINK, **how)
    for machine in world.machines.values():
        machine.synced = Sync(LINK, "FULL", 1.0, True)
    return Scene(folder, world, ONE, [Node(name, "web", LINK) for name in world.names], {LINK: OLD})


def had(scene: Scene) -> set[tuple[str, int]]:
    site = Site(scene.store / "pipeline.toml", scene.store, scene.store, scene.store / "images")
    found: list[Need] = [need for need in needs(site) if "as rolled out" in need.why]
    return {(need.why.partition(" of ")[0], need.number) for need in found}


@pytest.mark.parametrize("moment", [0, 9, 14])
def test_who_had_what_a_link_led_to_goes_back_to_that_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    scene = linked(tmp_path, bad_images=frozenset({NEW, LINK}))
    progress = scene.run_to_the_end(moment)
    machine = scene.world.machines["node001"]
    assert machine.installs == {NEW: 1, OLD: 1} and machine.own == OLD
    assert (progress.nodes["node001"].state, progress.nodes["node001"].way) == ("released", "back")
    assert scene.world.machines["node002"].own == "" and scene.world.category == LINK
    assert had(scene) == {("node001", 1)}


def test_taken_back_by_hand_they_and_their_category_have_the_version_of_the_link(tmp_path: Path) -> None:
    scene = linked(tmp_path)
    assert scene.run().switched == ("web",)
    progress, machines = scene.take_back(), scene.world.machines
    assert {node.state for node in progress.nodes.values()} == {"released"}
    assert [machine.synced.image for machine in machines.values()] == [OLD, OLD]
    assert scene.world.category == OLD and scene.world.switched[-1] == ("web", OLD)
    assert {machine.own for machine in machines.values()} == {""}
    assert had(scene) == {("node[001-002]", 1)}


def test_who_had_a_link_and_was_not_rebooted_has_it_as_before(tmp_path: Path) -> None:
    scene = linked(tmp_path, faults={"node001": "not rebooted"})
    scene.order = replace(scene.order, policy=replace(ONE, on_failure="stop"))
    scene.run()
    assert scene.take_back().nodes["node001"].state == "released" and scene.order.wanted == {"node001": LINK}
    assert scene.world.machines["node001"].own == "" and not scene.world.machines["node001"].installs


def test_who_is_in_another_category_is_not_taken_back_nor_left_to_be_wiped(tmp_path: Path) -> None:
    scene = bad(tmp_path)
    at(scene, "rebooting", "out", moved)
    node, machine = scene.run().nodes["node001"], scene.world.machines["node001"]
    assert (node.state, node.way, node.why) == ("failed", "back", MOVED)
    assert (machine.own, machine.install) == (NEW, "") and machine.installs == {NEW: 1}
    assert scene.world.held == {"node001": "left"}


def test_who_was_not_rebooted_keeps_what_it_has(tmp_path: Path) -> None:
    scene = refused(tmp_path)
    at(scene, "failed", "out", given_another)
    node, machine = scene.run().nodes["node001"], scene.world.machines["node001"]
    assert (node.state, node.way, node.notes) == ("released", "back", kept(OLD))
    assert (machine.own, machine.install) == (OLD, "") and not machine.installs


def test_who_was_not_rebooted_and_is_in_another_category_has_failed(tmp_path: Path) -> None:
    scene = refused(tmp_path)
    at(scene, "failed", "out", moved)
    node, machine = scene.run().nodes["node001"], scene.world.machines["node001"]
    assert (node.state, node.way, node.why) == ("failed", "back", MOVED)
    assert (machine.own, machine.install) == ("", "") and scene.world.held == {"node001": "left"}


def test_who_stays_failed_is_not_left_to_what_its_category_has_by_then(tmp_path: Path) -> None:
    scene = refused(tmp_path)
    scene.order = replace(scene.order, policy=replace(ONE, on_failure="stop"))
    at(scene, "failed", "out", given_another)
    node, machine = scene.run().nodes["node001"], scene.world.machines["node001"]
    assert (node.state, node.way, node.notes) == ("failed", "out", kept(OLD))
    assert (machine.own, machine.install) == (OLD, "")


def test_taken_back_by_hand_a_later_node_gets_what_it_had(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(("node001", "node002")), ONE)
    scene.run()
    scene.world.category = OLD  # they would follow it
    at(scene, "provisioned", "out", given_another)
    progress, machines = scene.take_back(), scene.world.machines
    assert {node.state for node in progress.nodes.values()} == {"released"}
    assert scene.order.own == {"node001": "", "node002": ""}
    assert machines["node002"].synced.image == OLD and machines["node002"].own == OLD


def test_who_was_moved_when_it_was_released_keeps_its_image(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(("node001", "node002")), ONE)
    at(scene, "released", "out", moved)
    progress, machines = scene.run(), scene.world.machines
    assert progress.switched == ("web",) and scene.world.category == NEW
    assert (machines["node001"].own, machines["node002"].own) == (NEW, "")
    assert progress.nodes["node001"].notes == (f"{MOVED}: it keeps {NEW} as its own image",)


@pytest.mark.parametrize("own", ["", "web-0"], ids=["of its category", "of its own"])
def test_a_category_that_others_gave_another_image_keeps_that(tmp_path: Path, own: str) -> None:
    world = World(("node001",))
    world.machines["node001"].own = own
    scene = Scene(tmp_path, world, ONE)
    node = replace(scene.nodes[0], image=own or OLD, own_image=own)
    scene.order = replace(scene.order, nodes=(node,), had={"web": OLD} if own else {})
    at(scene, "installing", "out", given_another)
    progress = scene.run()
    assert progress.outcome == "ended" and progress.nodes["node001"].state == "released"
    why = f"the category web keeps its image: others have given it {OTHER} meanwhile"
    assert progress.notes == (why,) and not progress.switched and world.noted == OLD
    assert world.category == OTHER and world.machines["node001"].own == NEW


def test_taken_back_by_hand_a_category_keeps_what_others_gave_it_since(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(("node001",)), ONE)
    assert scene.run().switched == ("web",)
    scene.world.category = OTHER
    (told,) = kept_categories(folders.read(scene.folder.parent, 1), scene.world.survey())
    assert (told.where, told.what) == (
        "web",
        f"the category has {OTHER} by now, which others gave it, and keeps that",
    )
    assert not scene.take_back().switched
    assert not scene.order.categories and scene.world.category == OTHER
    machine = scene.world.machines["node001"]
    assert machine.synced.image == OLD and machine.own == OLD


def test_taken_back_by_hand_a_category_keeps_what_others_gave_it_meanwhile(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(("node001",)), ONE)
    scene.run()
    at(scene, "installing", "out", given_another)
    assert not scene.take_back().switched and scene.world.category == OTHER
