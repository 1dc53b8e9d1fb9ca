"""Nodes that somebody reboots by hand while the new image is set at them: no user gets them unproved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.rollout import folder as folders
from pipeline.rollout.model import Policy
from pipeline.rollout.steps import Steps
from tests.simulated_rollout import NEW, OLD, WAITS, Drain, Killed, Scene, World

STOPS = Policy(canary=1, max_unavailable=1, on_failure="stop", install="FULL", waits=WAITS)


def by_hand(world: World, seconds: float = 500.0) -> None:
    """Somebody reboots the node, and that long ago."""
    world.machines["node001"].rebooted = world.now
    world.now += seconds
    world.survey()


def in_switched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    scene = Scene(tmp_path, World(("node001",)), STOPS)

    def dying(steps: Steps) -> None:
        if steps._desk.named("switched"):
            steps._desk.commit()
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Steps, "reboot", dying)
        with pytest.raises(Killed):
            scene.run()
    kept = folders.read(scene.folder.parent, 1)
    assert kept.progress.nodes["node001"].state == "switched" and scene.world.machines["node001"].own == NEW
    return scene


@pytest.mark.parametrize("seconds", [50.0, 500.0])
def test_who_was_rebooted_by_hand_is_installed_again(
    tmp_path: Path, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = in_switched(tmp_path, monkeypatch)
    by_hand(scene.world, seconds)
    progress = scene.take_back()
    assert not scene.order.not_rebooted and scene.order.held == ("node001",)
    assert progress.nodes["node001"].state == "released"
    assert scene.world.machines["node001"].synced.image == OLD and not scene.world.held


def test_who_was_rebooted_by_hand_stays_failed_when_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = in_switched(tmp_path, monkeypatch)
    by_hand(scene.world)
    node = scene.give_up().nodes["node001"]
    assert (node.state, node.was_rebooted) == ("failed", True)
    assert node.why == f"others have rebooted it meanwhile: it was installed from {NEW}"
    assert scene.world.held == {"node001": "left"}
    assert scene.take_back().nodes["node001"].state == "released"
    assert scene.world.machines["node001"].synced.image == OLD and not scene.world.held


def test_who_is_rebooted_by_hand_while_it_is_set_back_is_not_given_to_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = in_switched(tmp_path, monkeypatch)
    world, point = scene.world, scene.world.point

    def too_late(nodes: Sequence[str], image: str, install: str) -> None:
        world.point = point  # type: ignore[method-assign]
        by_hand(world)
        point(nodes, image, install)

    give_up = scene.give_up

    def then_late() -> object:
        told = give_up()
        world.machines["node001"].own = NEW  # it had begun to be installed
        world.point = too_late  # type: ignore[method-assign]
        return told

    monkeypatch.setattr(scene, "give_up", then_late)
    node = scene.take_back().nodes["node001"]
    assert scene.order.not_rebooted == ("node001",) and world.machines["node001"].synced.image == NEW
    assert (node.state, node.was_rebooted) == ("failed", True)
    assert world.held == {"node001": "left"}


def test_the_automatic_way_back_installs_again_who_was_rebooted_by_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = in_switched(tmp_path, monkeypatch)
    by_hand(scene.world)
    scene.order = replace(scene.order, policy=replace(STOPS, on_failure="roll back failed"))
    scene.hooks = [Drain(scene.world, refuses=frozenset({"node001"}))]

    def agree(now: object) -> None:
        if folders.read(scene.folder.parent, 1).progress.nodes["node001"].state == "failed":
            scene.hooks[0].refuses = frozenset()

    scene.watch = agree
    progress = scene.run()
    assert (progress.nodes["node001"].state, progress.nodes["node001"].way) == ("released", "back")
    assert scene.world.machines["node001"].synced.image == OLD and not scene.world.held


def test_who_came_back_with_what_it_had_is_not_installed_again(tmp_path: Path) -> None:
    """It was rebooted before anything was set at it."""
    scene = Scene(tmp_path, World(("node001",)), STOPS)

    def dying(nodes: Sequence[str], image: str, install: str) -> None:
        raise Killed

    point, scene.world.point = scene.world.point, dying  # type: ignore[method-assign]
    with pytest.raises(Killed):
        scene.run()
    scene.world.point = point  # type: ignore[method-assign]
    by_hand(scene.world)
    assert scene.world.machines["node001"].synced.image == OLD
    assert scene.take_back().nodes["node001"].state == "released"
    assert scene.order.not_rebooted == ("node001",) and not scene.world.calls["reboot"]
