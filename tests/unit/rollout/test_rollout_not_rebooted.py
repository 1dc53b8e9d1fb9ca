"""Nodes that a rollout never rebooted have lost nothing, and taking them back wipes none of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.cluster.drivers.nodes import Survey
from pipeline.errors import UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.journal import Journal
from pipeline.rollout.model import OnFailure, Order, Policy
from pipeline.rollout.returning import back_order
from pipeline.rollout.running import give_up
from pipeline.rollout.states import Event, Progress, State
from pipeline.rollout.summary import summarize
from tests.simulated_rollout import NEW, OLD, WAITS, Drain, Killed, Scene, World

TWO = ("node001", "node002")
STOPS = Policy(canary=1, max_unavailable=1, on_failure="stop", waits=WAITS)


def back_of(scene: Scene) -> Order:
    kept = folders.read(scene.folder.parent, 1)
    return back_order(kept, scene.world.survey(), "me")


def taken_back(scene: Scene, tmp_path: Path, kill_at: int = 0) -> Progress:
    """As ``rollout rollback`` does it: what nobody runs is given up first."""
    order = back_of(scene)
    if folders.read(scene.folder.parent, 1).is_unfinished:
        world = scene.world
        give_up(scene.folder, scene.order, world, [Drain(world)], "me", world.note, world.clock, world.pause)
    scene.order, scene.hooks = order, [Drain(scene.world)]
    scene.folder = folders.begin(tmp_path, order)
    return scene.run_to_the_end(kill_at)


def refused(tmp_path: Path, policy: Policy = STOPS) -> Scene:
    """A rollout that stopped, for a hook had not let the first node go."""
    scene = Scene(tmp_path, World(TWO), policy)
    scene.hooks = [Drain(scene.world, refuses=frozenset({"node001"}))]
    assert scene.run().nodes["node001"].failed_in == "preparing"
    return scene


def killed_in(scene: Scene, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Journal.write

    def killing(journal: Journal, told: Iterable[Event]) -> None:
        told = list(told)
        write(journal, told)
        if any(event.state == state for event in told):
            raise Killed

    monkeypatch.setattr(Journal, "write", killing)
    with pytest.raises(Killed):
        scene.run()
    monkeypatch.undo()


def test_who_failed_before_its_reboot_is_only_set_back(tmp_path: Path) -> None:
    scene = refused(tmp_path)
    assert scene.world.held == {"node001": "left"}
    progress = taken_back(scene, tmp_path)
    assert scene.order.not_rebooted == ("node001",)
    node, machine = progress.nodes["node001"], scene.world.machines["node001"]
    assert progress.outcome == "ended" and (node.state, node.way) == ("released", "out")
    assert not machine.installs and not scene.world.calls["reboot"]
    assert (machine.own, machine.install) == ("", "") and not scene.world.held


@pytest.mark.parametrize("state", ["preparing", "prepared"])
def test_who_was_only_begun_when_it_was_killed_is_only_set_back(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, World(TWO), STOPS)
    scene.hooks = [Drain(scene.world, slow=2)]
    killed_in(scene, state, monkeypatch)
    assert taken_back(scene, tmp_path).nodes["node001"].state == "released"
    machine = scene.world.machines["node001"]
    assert not scene.world.calls["reboot"] and (machine.own, machine.install) == ("", "")
    assert not scene.world.held


def test_killed_at_any_moment_who_is_set_back_is_never_rebooted(tmp_path: Path) -> None:
    whole = refused(tmp_path / "whole")
    taken_back(whole, tmp_path / "whole")
    for moment in range(1, whole.world.count + 1):
        scene = refused(tmp_path / str(moment))
        assert taken_back(scene, tmp_path / str(moment), moment).nodes["node001"].state == "released"
        assert not scene.world.calls["reboot"] and not scene.world.held, moment


def test_who_is_set_back_waits_while_the_manager_is_away(tmp_path: Path) -> None:
    scene = refused(tmp_path)
    scene.world.gone = (scene.world.now + 5, scene.world.now + 500)
    assert taken_back(scene, tmp_path).nodes["node001"].state == "released"
    assert not scene.world.calls["reboot"] and not scene.world.calls["before"] > 1


def test_who_is_set_back_may_be_a_data_node_by_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = refused(tmp_path)
    survey = scene.world.survey

    def with_data_nodes() -> Survey:
        found = survey()
        nodes = {name: replace(facts, is_data_node=True) for name, facts in found.nodes.items()}
        return replace(found, nodes=nodes)

    monkeypatch.setattr(scene.world, "survey", with_data_nodes)
    assert taken_back(scene, tmp_path).nodes["node001"].state == "released"


def test_who_was_rebooted_is_installed_again_beside_who_was_not(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(TWO), STOPS)
    scene.hooks = [Drain(scene.world, refuses=frozenset({"node002"}))]
    assert scene.run().outcome == "stopped"
    progress = taken_back(scene, tmp_path)
    assert {node.state for node in progress.nodes.values()} == {"released"}
    assert scene.world.machines["node001"].installs == {NEW: 1, OLD: 1}
    assert not scene.world.machines["node002"].installs


def test_who_had_nothing_done_to_it_is_not_taken_back_and_nobody_is_told_to(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(("node001",)), STOPS)
    scene.order = replace(scene.order, nodes=(replace(scene.nodes[0], category="other"),))
    progress = scene.run()
    assert progress.nodes["node001"].why.endswith("nothing was done to it")
    with pytest.raises(UsageError, match="has no node that could be taken back"):
        back_of(scene)
    told = summarize(scene.order, progress, scene.world.now, is_running=False)
    assert "rollback" not in " ".join(each.command for each in told.following)


@pytest.mark.parametrize("on_failure", ["stop", "roll back failed"])
def test_who_was_wiped_at_its_first_turn_is_installed_again(tmp_path: Path, on_failure: OnFailure) -> None:
    """It failed before its reboot when it had its turn once more; on its disk is what it got before."""
    world = World(TWO, faults={"node001": "half"})
    scene = Scene(tmp_path, world, STOPS)
    assert scene.run().nodes["node001"].failed_in == "up"
    world.faults.clear()
    scene.hooks = [Drain(world, refuses=frozenset({"node001"}))]
    scene.order = replace(scene.order, policy=replace(STOPS, on_failure=on_failure))

    def agree(now: Progress) -> None:
        if on_failure != "stop" and now.nodes["node001"].state == "failed":
            scene.hooks[0].refuses = frozenset()

    scene.watch = agree
    progress = scene.run(retry=True)
    if on_failure == "stop":
        assert progress.nodes["node001"].failed_in == "preparing"
        taken_back(scene, tmp_path)
    assert world.machines["node001"].installs == {NEW: 1, OLD: 1} and not world.held
