"""Who is back already is not installed once more when its rollout is taken back again."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.errors import UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.already import already_back, findings, refuse_back
from pipeline.rollout.model import Order, Policy
from pipeline.rollout.returning import back_order
from tests.simulated_rollout import NEW, OLD, WAITS, Drain, Scene, World

TWO = ("node001", "node002")
STOPS = Policy(canary=1, max_unavailable=2, on_failure="stop", failure_budget=2, waits=WAITS)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Rollout 1, which took two nodes and their category to the new version."""
    scene = Scene(tmp_path, World(TWO), STOPS)
    assert scene.run().outcome == "ended" and scene.world.category == NEW
    return scene


def planned(scene: Scene, *only: str) -> tuple[Order, dict[str, int]]:
    """What takes rollout 1 back, as ``rollback --number 1`` plans it."""
    kept, world = folders.read(scene.folder.parent, 1), scene.world
    survey, syncs = world.survey(), world.synced(world.names)
    back = already_back(kept, survey, syncs)
    order = back_order(kept, survey, "me", only or None, syncs, back)
    refuse_back(order, back, survey)
    return order, back


def begin(scene: Scene, order: Order) -> None:
    scene.folder = folders.begin(scene.store, order)
    scene.order, scene.hooks = folders.order_of(scene.folder), [Drain(scene.world)]


def installs(scene: Scene) -> list[dict[str, int]]:
    return [dict(machine.installs) for machine in scene.world.machines.values()]


def test_taken_back_once_it_is_refused_with_who_did_it(scene: Scene) -> None:
    begin(scene, planned(scene)[0])
    scene.run()
    with pytest.raises(UsageError) as refused:
        planned(scene)
    [problem] = refused.value.problems
    assert problem.message == "node[001-002]: taken back already from rollout 1, by rollout 2"
    assert problem.command == "pipeline rollout status lab --number 2"
    assert problem.hint is not None and "start lab --image web@1 --nodes 'node[001-002]'" in problem.hint
    with pytest.raises(UsageError, match="node002: taken back already from rollout 1, by rollout 2"):
        planned(scene, "node002")


def test_who_is_not_back_yet_is_installed_beside_who_is_and_the_category_follows(scene: Scene) -> None:
    begin(scene, planned(scene, "node001")[0])
    scene.run()
    order, back = planned(scene)
    assert back == {"node001": 2} and order.not_rebooted == ("node001",) and order.held == ()
    [told] = findings(order, back)
    assert (told.where, told.what) == ("node001", "back already, by rollout 2: not installed again")
    begin(scene, order)
    assert {node.state for node in scene.run().nodes.values()} == {"released"}
    assert installs(scene) == [{NEW: 1, OLD: 1}] * 2
    assert scene.world.category == OLD and not scene.world.held
    assert {machine.own for machine in scene.world.machines.values()} == {""}


def test_one_by_one_the_category_goes_back_without_a_reboot(scene: Scene) -> None:
    for name in TWO:
        begin(scene, planned(scene, name)[0])
        scene.run()
    assert scene.world.category == NEW
    order, back = planned(scene)
    assert back == {"node001": 2, "node002": 3}
    begin(scene, order)
    scene.run()
    assert scene.world.category == OLD and installs(scene) == [{NEW: 1, OLD: 1}] * 2


@pytest.mark.parametrize("fault", ["half", "never returns", "not well"])
def test_who_did_not_come_back_well_is_installed_again(scene: Scene, fault: str) -> None:
    order, _ = planned(scene)
    scene.world.faults = {"node002": fault}
    scene.world.bad_images = frozenset({OLD} if fault == "not well" else ())
    begin(scene, replace(order, policy=STOPS))
    assert scene.run().nodes["node002"].state == "failed"
    scene.world.faults, scene.world.bad_images = {}, frozenset()
    if folders.read(scene.folder.parent, 2).is_unfinished:
        scene.give_up()
    if fault == "never returns":
        scene.world.machines["node002"].rebooted = None
    order, back = planned(scene)
    assert "node002" not in back and "node002" not in order.not_rebooted
    begin(scene, order)
    assert scene.run().nodes["node002"].state == "released" and not scene.world.held


def test_who_went_forward_again_since_or_was_given_something_else_is_installed(scene: Scene) -> None:
    forward = replace(scene.order, number=0)
    begin(scene, planned(scene)[0])
    scene.run()
    begin(scene, forward)
    scene.run()
    assert planned(scene)[1] == {}
    begin(scene, back_order(folders.read(scene.folder.parent, 3), scene.world.survey(), "me"))
    scene.run()
    scene.world.machines["node001"].own = NEW
    assert planned(scene)[1] == {"node002": 4}
