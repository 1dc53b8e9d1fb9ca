"""Rollouts that are given up, or taken back in the middle: no bad node is given to users, none is lost."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from pipeline.cli import rollout
from pipeline.errors import PipelineError, UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.journal import Journal
from pipeline.rollout.model import Finding, Node, Policy
from pipeline.rollout.opening import Planned
from pipeline.rollout.parts import Answer
from pipeline.rollout.returning import back_order
from pipeline.rollout.running import give_up
from pipeline.rollout.states import Event, Progress, State, Way
from pipeline.rollout.summary import summarize
from tests.simulated_rollout import NEW, OLD, WAITS, Drain, Killed, Scene, World
from tests.unit.rollout.rollout_examples import WAY

ONE = Policy(canary=1, max_unavailable=1, waits=WAITS)


@dataclass
class Unwell(Drain):
    """What it has done can't be undone for now."""

    stuck: bool = True


class Silent(Drain):
    """Its service says nothing when a node is to be left."""

    def leave(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        return {node.name: Answer("wait", "noout stays") for node in nodes}


def bad_canary(tmp_path: Path) -> Scene:
    return Scene(tmp_path, World(("node001", "node002"), bad_images=frozenset({NEW})), ONE)


def test_what_came_to_its_end_meanwhile_is_not_given_up(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(("node001", "node002")), ONE)
    assert scene.run().outcome == "ended"
    journal = (scene.folder / folders.JOURNAL).read_bytes()
    with pytest.raises(UsageError, match="rollout 1 of lab came to its end meanwhile"):
        given_up(scene)
    assert (scene.folder / folders.JOURNAL).read_bytes() == journal


@pytest.mark.parametrize("meanwhile", ["nothing", "another image", "an error"])
def test_only_what_was_agreed_to_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    order = Scene(tmp_path, World(("node001",)), ONE).order
    first = Planned(order, (), {"node001": ("reboot",)})
    second = replace(first, order=replace(order, when=order.when + 9))
    if meanwhile == "another image":
        second = replace(second, order=replace(order, nodes=(replace(order.nodes[0], image=NEW),)))
    if meanwhile == "an error":
        second = replace(second, findings=(Finding("error", "it is installing", "node001"),))
    plans, begun = iter((first, second)), list[Any]()
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(folders, "begin", lambda _, order: begun.append(order))
    monkeypatch.setattr(rollout, "_go_on", lambda *_: 0)
    options = Namespace(dry_run=False, yes=False, json=False)
    opened: Any = SimpleNamespace(site=SimpleNamespace(store=tmp_path))
    if meanwhile == "nothing":
        assert rollout._begin(options, opened, lambda: next(plans)) == 0
        assert begun == [second.order]
        return
    says = "it is installing" if second.errors else "otherwise by now than what you agreed to"
    with pytest.raises(PipelineError, match=says):
        rollout._begin(options, opened, lambda: next(plans))
    assert not begun


class Terminal(StringIO):
    """What a person sits at."""

    def isatty(self) -> bool:
        return True


def killed_at(scene: Scene, state: State, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it until the journal says that the first node has come to ``state`` on this way."""
    killed_when(
        scene, lambda event: (event.node, event.state, event.way) == ("node001", state, way), monkeypatch
    )


def killed_when(scene: Scene, is_it: Callable[[Event], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run it until there is such an event in the journal."""
    write = Journal.write

    def killing(journal: Journal, told: Sequence[Event]) -> None:
        for number, event in enumerate(told, start=1):
            if is_it(event):
                write(journal, told[:number])
                raise Killed
        write(journal, told)

    monkeypatch.setattr(Journal, "write", killing)
    with pytest.raises(Killed):
        scene.run()
    monkeypatch.undo()


def given_up(scene: Scene, hook: type[Drain] = Drain) -> Progress:
    world = scene.world
    hooks = [hook(world)]
    return give_up(scene.folder, scene.order, world, hooks, "me", world.note, world.clock, world.pause)


@pytest.mark.parametrize("hook", [Drain, Unwell])
@pytest.mark.parametrize("state", WAY[:-1])
def test_a_bad_node_on_its_way_back_stays_failed_when_it_is_given_up(
    tmp_path: Path, state: State, hook: type[Drain], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = bad_canary(tmp_path)
    killed_at(scene, state, "back", monkeypatch)
    progress = given_up(scene, hook)
    node = progress.nodes["node001"]
    assert (node.state, node.way, node.failed_in) == ("failed", "back", state)
    assert node.why == "the rollout was given up by me"
    assert scene.world.held == {"node001": "left"}, "users don't get it"
    if state in ("preparing", "prepared", "switched"):
        assert scene.world.machines["node001"].own == NEW, "nobody's reboot gives it another image"
        assert scene.world.machines["node001"].install == "", "nobody's reboot wipes it"
    told = summarize(scene.order, progress, scene.world.now, is_running=False)
    assert [each.node for each in told.failed] == ["node001"] and not told.taken_back
    assert told.following[0].command == "pipeline rollout rollback lab --number 1"
    order = back_order(folders.read(scene.folder.parent, 1), scene.world.survey(), "me")
    assert order.wanted == {"node001": OLD}


def test_what_can_not_be_undone_when_it_is_given_up_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = bad_canary(tmp_path)
    killed_at(scene, "prepared", "out", monkeypatch)
    node = given_up(scene, Unwell).nodes["node001"]
    assert (node.state, node.why) == ("failed", "it could not be left as it was: drain: it is not well")
    assert scene.world.held == {"node001": "left"}


def test_what_a_hook_could_not_undo_with_a_failed_node_is_told(tmp_path: Path) -> None:
    policy = Policy(canary=1, on_failure="stop", waits=WAITS)
    scene = Scene(tmp_path, World(("node001", "node002"), bad_images=frozenset({NEW})), policy)
    scene.hooks = [Silent(scene.world)]
    progress = scene.run()
    said = "what hooks did is not undone: drain: noout stays"
    assert progress.outcome == "stopped" and said in progress.nodes["node001"].notes
    before = progress.notes
    assert given_up(scene, Silent).notes[len(before) :] == (f"node001: {said}",)


def test_what_a_hook_could_not_undo_of_a_turn_that_was_only_begun_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = bad_canary(tmp_path)
    killed_at(scene, "prepared", "out", monkeypatch)
    assert given_up(scene, Unwell).notes == ("node001: what hooks did is not undone: drain: it is not well",)


def test_who_was_on_the_way_when_it_was_given_up_can_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = bad_canary(tmp_path)
    killed_at(scene, "installing", "out", monkeypatch)
    told = summarize(scene.order, given_up(scene), scene.world.now, is_running=False)
    assert [each.command for each in told.following] == ["pipeline rollout rollback lab --number 1"]


def test_taking_back_begins_with_who_is_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may have to wait for what its hooks have taken, such as the turn of a host with OSDs."""
    names = ("node002", "node003", "node001", "node004")
    scene = Scene(tmp_path, World(names), ONE)
    killed_at(scene, "provisioned", "out", monkeypatch)
    kept = folders.read(scene.folder.parent, 1)
    assert kept.progress.nodes["node003"].state == "released"
    order = back_order(kept, scene.world.survey(), "me")
    assert order.batches == (("node001",), ("node002",), ("node003",))
    scene.world.machines["node003"].rebooted = scene.world.now
    order = back_order(kept, scene.world.survey(), "me")
    assert order.batches == (("node003",), ("node001",), ("node002",))


def test_failed_nodes_have_their_turn_once_more_also_when_nodes_were_about_to_go_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = bad_canary(tmp_path)
    killed_when(scene, lambda event: event.word == "going back", monkeypatch)
    assert folders.read(scene.folder.parent, 1).progress.named("failed") == ("node001",)
    scene.world.bad_images = frozenset()
    progress = scene.run(retry=True)
    assert {(node.state, node.way) for node in progress.nodes.values()} == {("released", "out")}
    assert not scene.world.held and progress.outcome == "ended" and not progress.is_going_back


def test_when_nodes_have_begun_to_go_back_none_goes_out_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("node001", "node002", "node003")
    policy = Policy(canary=2, max_unavailable=2, waits=WAITS)
    scene = Scene(tmp_path, World(names, bad_images=frozenset({NEW})), policy)
    killed_at(scene, "preparing", "back", monkeypatch)
    assert folders.read(scene.folder.parent, 1).progress.named("failed") == ("node002",)
    progress = scene.run(retry=True)
    assert [(progress.nodes[name].state, progress.nodes[name].way) for name in names] == [
        ("released", "back"),
        ("released", "back"),
        ("waiting", "out"),
    ]
    assert progress.notes[0] == "nodes are being taken back: those that failed go back as well"
    assert not scene.world.held


@pytest.mark.parametrize("stuck", [frozenset[str](), frozenset({NEW})])
def test_an_image_that_was_only_begun_is_undone_or_told(tmp_path: Path, stuck: frozenset[str]) -> None:
    world = World(("node001",), stuck=stuck, kill_at=2)
    scene = Scene(tmp_path, world, ONE)
    with pytest.raises(Killed):
        scene.run()
    assert world.begun == {NEW}
    progress = given_up(scene)
    assert world.begun == stuck and progress.outcome == "ended"
    told = (
        f"the image {NEW} is only begun, and stays so until a rollout to web@2 goes on: "
        "it is used by category default"
    )
    assert progress.notes == ((told,) if stuck else ())


def taking_back(tmp_path: Path) -> Scene:
    """A rollout that takes back a failed node, which users don't have, and one that they have."""
    world = World(("node001", "node002"), faults={"node002": "half"})
    scene = Scene(tmp_path, world, Policy(canary=1, on_failure="stop", failure_budget=1, waits=WAITS))
    assert scene.run().nodes["node002"].state == "failed" and world.held == {"node002": "left"}
    world.faults.clear()
    scene.order = back_order(folders.read(scene.folder.parent, 1), world.survey(), "me", ["node002"])
    scene.folder = folders.begin(tmp_path, scene.order)
    return scene


@pytest.mark.parametrize("state", ["preparing", "prepared", "switched"])
def test_a_failed_node_whose_taking_back_is_given_up_is_not_given_to_users(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = taking_back(tmp_path)
    killed_when(scene, lambda event: event.state == state, monkeypatch)
    progress = given_up(scene)
    assert scene.world.held == {"node002": "left"}
    node = progress.nodes["node002"]
    assert node.state == "waiting" and node.notes == ("it is as it was: users don't have it",)
    told = summarize(scene.order, progress, scene.world.now, is_running=False)
    commands = [each.command for each in told.following]
    assert commands == ["pipeline rollout rollback lab --number 1 --nodes node002"]


def test_a_failed_node_whose_taking_back_is_aborted_is_not_given_to_users(tmp_path: Path) -> None:
    scene = taking_back(tmp_path)
    scene.hooks = [Drain(scene.world, slow=3)]
    scene.watch = lambda now: folders.ask_to_abort(scene.folder, "me")
    assert scene.run().outcome == "stopped" and scene.world.held == {"node002": "left"}
    scene.watch = lambda now: None
    assert scene.run().nodes["node002"].state == "released" and not scene.world.held


@pytest.mark.parametrize("how", ["rebooted", "locked"])
def test_a_node_that_may_not_go_any_more_has_failed_when_it_cannot_be_as_it_was(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = bad_canary(tmp_path)
    world = scene.world
    killed_at(scene, "switched", "out", monkeypatch)
    world.machines["node001"].own = NEW
    if how == "rebooted":
        world.machines["node001"].rebooted = world.now
        world.pause(world.boot + world.installing)
        world.survey()
    else:
        world.faults["node001"] = "not pointed"
    told = scene.run(withheld="it is not signed")
    node = told.nodes["node001"]
    assert told.nodes["node002"].state == "waiting" and world.machines["node002"].installs == {}
    assert node.before is not None and node.before.state == "failed"
    if how == "rebooted":
        assert (node.state, node.way, world.machines["node001"].synced.image) == ("released", "back", OLD)
        assert "others have rebooted it" in node.before.why and world.held == {}
    else:
        assert node.before.why == "it could not be left as it was: it is locked"
        assert world.machines["node001"].installs == {} and world.held == {"node001": "left"}
