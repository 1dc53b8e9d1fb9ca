"""Killed at any line, then given up or taken back: how nodes and their category are is known and told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.cli.rollout_text import status_lines
from pipeline.errors import UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.model import Node, Policy
from pipeline.rollout.states import Progress
from tests.simulated_rollout import NEW, OLD, WAITS, Killed, Machine, Scene, World, kill_at_journal

NAMES = ("node001", "node002", "node003")
TWO = Policy(canary=1, max_unavailable=2, failure_budget=1, waits=WAITS)

Kill = Callable[[Scene, int], None]


def at_effect(scene: Scene, moment: int) -> None:
    """Killed right before or after something is done to the world."""
    scene.world.count, scene.world.kill_at = 0, moment
    scene.run()


def at_journal(written: bool) -> Kill:
    """Killed right before or after lines come into the journal."""

    def run(scene: Scene, moment: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            kill_at_journal(patch, moment, written=written)
            scene.run()

    return run


KILLS = {"effect": at_effect, "before its line": at_journal(False), "after its line": at_journal(True)}


def each_kill(folder: Path, kill: Kill, bad: bool) -> Iterator[tuple[int, Scene]]:
    """A rollout for each moment at which it can be killed, right after that."""
    for moment in range(1, 1000):
        world = World(NAMES, bad_images=frozenset({NEW} if bad else ()))
        scene = Scene(folder / str(moment), world, TWO)
        try:
            kill(scene, moment)
        except Killed:
            world.kill_at = 0
            yield moment, scene
        else:
            assert moment > 10, "it was killed at every moment"
            return


@pytest.fixture(autouse=True)
def memory_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are killed here, and no machine loses its power."""
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)
    monkeypatch.setattr(os, "fsync", lambda fd: None)


@pytest.mark.parametrize("bad", [False, True], ids=["good version", "bad version"])
@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_killed_and_given_up_what_is_told_is_so(tmp_path: Path, kill: Kill, bad: bool) -> None:
    for moment, scene in each_kill(tmp_path, kill, bad):
        world, told = scene.world, scene.give_up()
        assert told.outcome == "ended" and not told.switching, moment
        assert told.switched == (("web",) if world.category == NEW else ()), moment
        assert world.noted == world.category, moment
        for name, machine in world.machines.items():
            assert is_told(told, name, machine, world), (moment, told.nodes[name], machine, world.held)


@pytest.mark.parametrize("bad", [False, True], ids=["good version", "bad version"])
@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_killed_and_no_more_may_go_whoever_was_rebooted_comes_to_its_end_and_nobody_else_goes(
    tmp_path: Path, kill: Kill, bad: bool
) -> None:
    for moment, scene in each_kill(tmp_path, kill, bad):
        world, before = scene.world, folders.read(scene.folder.parent, scene.number).progress
        told = scene.run(withheld="it is not signed")
        gone = {name for name, node in before.nodes.items() if node.was_rebooted}
        for name, machine in world.machines.items():
            node, is_new = told.nodes[name], name in gone and not bad
            assert node.state == ("released" if name in gone else "waiting"), (moment, node)
            assert machine.synced.image == (NEW if is_new else OLD), moment
            own = NEW if is_new and world.category == OLD else ""
            assert (machine.own, machine.install, machine.rebooted) == (own, "", None), moment
        assert world.held == {}, moment
        is_over = len(gone) == len(NAMES) or (bad and gone)
        assert told.outcome == ("ended" if is_over else "stopped"), moment
        assert is_over or told.why == "it is not signed", moment


def is_told(told: Progress, name: str, machine: Machine, world: World) -> bool:
    """Whether a node is as is said of it."""
    node, has, held = told.nodes[name], machine.synced.image, world.held.get(name)
    match node.state, node.way:
        case "waiting", _:
            return not machine.installs and not machine.own and not machine.install and not held
        case "released", "out":
            return has == NEW and machine.own == ("" if told.switched else NEW) and not held
        case "released", "back":
            return has == OLD and not held
        case "failed", _:
            return held == "left" and (not machine.install or node.failed_in in ("rebooting", "installing"))
    return any("on its way when this was given up" in note for note in node.notes)


@pytest.mark.parametrize("bad", [False, True], ids=["good version", "bad version"])
@pytest.mark.parametrize("kill", KILLS.values(), ids=KILLS)
def test_killed_and_taken_back_all_is_as_before(tmp_path: Path, kill: Kill, bad: bool) -> None:
    for moment, scene in each_kill(tmp_path, kill, bad):
        world = scene.world
        try:
            assert {node.state for node in scene.take_back().nodes.values()} == {"released"}, moment
        except UsageError as error:
            assert "has no node that could be taken back" in str(error), moment
            scene.give_up()
        assert world.category == world.noted == OLD, moment
        assert not world.held, moment
        for machine in world.machines.values():
            assert (machine.synced.image, machine.own, machine.install) == (OLD, "", ""), (moment, machine)


def test_killed_while_its_category_is_switched_that_is_told_and_finished(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(NAMES), TWO)
    switch = scene.world.switch
    scene.world.switch = lambda *args: at_once(switch(*args))  # type: ignore[method-assign]
    with pytest.raises(Killed):
        scene.run()
    scene.world.switch = switch  # type: ignore[method-assign]
    killed = folders.read(scene.folder.parent, 1).progress
    assert killed.switching == ("web",) and not killed.switched
    assert {node.state for node in killed.nodes.values()} == {"released"}, "hooks have given them back"
    assert "web is just given, or has already, web-2" in "\n".join(
        status_lines(scene.order, killed, is_running=False, folder=scene.folder)
    )
    scene.world.machines["node009"] = Machine()  # it came into the category when that had the image already
    told = scene.run()
    assert (told.switched, told.switching, told.notes) == (("web",), (), ())
    assert scene.world.noted == NEW


def at_once(done: None) -> None:
    raise Killed


def test_an_apply_that_sees_the_new_image_knows_whose_it_is(tmp_path: Path) -> None:
    """It reads the cluster first and then what was noted: no moment may lie between the two."""
    scene = Scene(tmp_path, World(NAMES), TWO)
    effect, seen = scene.world.effect, []

    def watched(name: str) -> None:
        seen.append((scene.world.category, scene.world.noted))
        effect(name)

    scene.world.effect = watched  # type: ignore[method-assign]
    assert scene.run().switched == ("web",)
    assert (OLD, NEW) in seen and (NEW, OLD) not in seen


def test_taken_back_a_node_with_an_image_of_its_own_has_that_again(tmp_path: Path) -> None:
    world = World(NAMES)
    world.machines["node003"].own = "web-0"
    nodes = [Node(name, "web", OLD) for name in NAMES[:2]]
    scene = Scene(tmp_path, world, TWO, [*nodes, Node("node003", "web", "web-0", own_image="web-0")])
    assert scene.run().switched == ("web",) and not world.machines["node003"].own
    assert scene.take_back().switched == ("web",) and world.category == OLD
    assert [machine.own for machine in world.machines.values()] == ["", "", "web-0"]
