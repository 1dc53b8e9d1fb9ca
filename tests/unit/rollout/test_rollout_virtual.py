"""Virtual nodes count as away like others; without an instance nobody misses them before their turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.cluster.drivers.nodes import NodeStatus, Survey
from pipeline.rollout.model import Node, Policy
from pipeline.rollout.states import Progress
from tests.simulated_rollout import NEW, OLD, WAITS, Scene, World

FOUR = ("vnode001", "vnode002", "vnode003", "vnode004")
ONE = Policy(canary=0, max_unavailable=1, on_failure="stop", waits=WAITS)


class Cloud(World):
    """Nodes that are virtual, or none is; ``ended`` have no instance until they are told to reboot."""

    virtual: bool = True
    ended: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()

    def survey(self) -> Survey:
        found = super().survey()
        nodes = {name: replace(facts, is_virtual=self.virtual) for name, facts in found.nodes.items()}
        return replace(found, nodes=nodes)

    def _status(self, name: str) -> NodeStatus:
        lies = name in self.ended | self.down and not self.machines[name].installs
        is_up = self.machines[name].rebooted is None
        return NodeStatus("down") if lies and is_up else super()._status(name)

    def reboot(self, nodes: Sequence[str]) -> None:
        self.ended -= set(nodes)
        super().reboot(nodes)

    def instances(self, nodes: Sequence[str]) -> Mapping[str, str]:
        self.calls["instances"] += 1
        return {name: "" if name in self.ended else f"i-{name}" for name in nodes}


def scene_of(tmp_path: Path, world: Cloud) -> Scene:
    nodes = [Node(name, "web", OLD, is_virtual=world.virtual) for name in world.names]
    scene = Scene(tmp_path, world, ONE, nodes)
    scene.order = replace(scene.order, hooks=("virtual",))
    return scene


@pytest.mark.parametrize("virtual", [False, True])
def test_who_goes_down_after_its_release_counts_as_away(tmp_path: Path, *, virtual: bool) -> None:
    world = Cloud(FOUR)
    world.virtual = virtual
    scene = scene_of(tmp_path, world)

    def die(progress: Progress) -> None:
        for name in progress.named("released"):
            world.faults[name] = "never returns"
            world.machines[name].rebooted = world.machines[name].rebooted or world.now

    scene.watch = die
    progress = scene.run()
    assert progress.outcome == "stopped"
    assert progress.why == "vnode003 can't go: max_unavailable = 1 is used up; not up: vnode001"
    assert progress.named("released") == FOUR[:2], "the second had begun when the first went down"


def test_who_has_no_instance_does_not_count_before_its_turn(tmp_path: Path) -> None:
    world = Cloud(FOUR)
    world.ended = frozenset(FOUR)
    progress = scene_of(tmp_path, world).run()
    assert progress.outcome == "ended" and progress.named("released") == FOUR
    assert world.calls["instances"] <= len(FOUR), "all are asked for at once"


def test_who_is_down_with_an_instance_goes_before_others_may_be_away(tmp_path: Path) -> None:
    """Its hook sees to the instance; from its release on it is away no more."""
    world = Cloud(FOUR)
    world.down = frozenset({"vnode003"})
    scene = scene_of(tmp_path, world)
    scene.order = replace(scene.order, batches=(FOUR,))
    began: dict[str, float] = {}
    scene.watch = lambda now: began.update({name: node.began for name, node in now.nodes.items()})
    progress = scene.run()
    assert progress.outcome == "ended" and progress.named("released") == FOUR
    assert min(began, key=lambda name: began[name]) == "vnode003"
    assert all(machine.installs == {NEW: 1} for machine in world.machines.values())


def test_who_is_closed_by_now_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Cloud(FOUR[:1])
    scene = scene_of(tmp_path, world)
    monkeypatch.setattr(world, "_status", lambda name: NodeStatus("closed", "CLOSED"))
    node = scene.run().nodes["vnode001"]
    assert node.why == "it is CLOSED; nothing was done to it"
