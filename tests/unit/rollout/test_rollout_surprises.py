"""What others do while nodes are on their way: clocks that are set, programs that hang, images given anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.cluster.drivers.nodes import NodeStatus, Survey, Sync
from pipeline.cluster.head import Head
from pipeline.rollout import folder as folders
from pipeline.rollout.model import Node, Policy
from pipeline.rollout.parts import Answer
from pipeline.rollout.states import Progress, State
from tests.simulated_rollout import NEW, OLD, WAITS, Drain, Killed, Scene, World

STOPS = Policy(canary=1, max_unavailable=1, waits=WAITS, on_failure="stop")


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_is_set_changes_no_limit(tmp_path: Path, jump: float) -> None:
    world = World(("node001",), bad_images=frozenset({NEW}))
    scene = Scene(tmp_path, world, STOPS)

    def set_clock(now: Progress) -> None:
        node = now.nodes["node001"]
        world.jump = jump if node.state == "provisioned" and node.why else world.jump

    scene.watch = set_clock
    assert scene.run().nodes["node001"].failed_in == "provisioned"
    assert world.now < 1200


@pytest.mark.parametrize("passed", [-7200.0, 0.0, 7200.0])
def test_leave_to_go_does_not_outlive_the_program_whatever_the_clock_says(
    tmp_path: Path, passed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, STOPS)

    def killed(nodes: Sequence[str], image: str, install: str) -> None:
        raise Killed

    with monkeypatch.context() as here:
        here.setattr(world, "point", killed)
        with pytest.raises(Killed):
            scene.run()
    assert folders.read(scene.folder.parent, 1).progress.nodes["node001"].state == "prepared"
    world.jump = passed
    scene.hooks = [Drain(world, refuses=frozenset({"node001"}))]
    assert "somebody works there" in scene.run().nodes["node001"].why
    assert not world.calls["reboot"]


@pytest.mark.parametrize("jump", [-7200.0, 0.0])
def test_who_was_not_told_to_reboot_is_told_soon_whatever_the_clock_says(tmp_path: Path, jump: float) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, STOPS)
    reboot = world.reboot

    def swallowed(nodes: Sequence[str]) -> None:
        world.reboot = reboot  # type: ignore[method-assign]
        world.jump = jump

    world.reboot = swallowed  # type: ignore[method-assign]
    assert scene.run().nodes["node001"].state == "released"


class Hanging(Drain):
    """From a moment on its program hangs, or is missing; each call takes a minute then."""

    argv: tuple[str, ...] = ("sleep", "30")
    phase: str = "after"

    def _hangs(self, phase: str) -> None:
        if phase == self.phase:
            self.world.pause(60.0)
            Head().run(self.argv, seconds=0.05)

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        self._hangs("before")
        return super().before(nodes)

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        self._hangs("after")
        return super().after(nodes)


@pytest.mark.parametrize(
    ("phase", "argv", "why"),
    [
        (
            "after",
            ("sleep", "30"),
            "it could not be released for 60 s; last: drain: nothing is known: sleep did",
        ),
        (
            "before",
            ("sleep", "30"),
            "its turn could not come for 60 s; last: drain: nothing is known: sleep did",
        ),
        ("before", ("scontrol-of-none",), "nothing is known: the program 'scontrol-of-none' is missing"),
    ],
)
def test_a_program_of_a_hook_that_hangs_is_no_cluster_manager_that_is_away(
    tmp_path: Path, phase: str, argv: tuple[str, ...], why: str
) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, STOPS)
    hook = Hanging(world)
    hook.phase, hook.argv, scene.hooks = phase, argv, [hook]
    progress = scene.run()
    assert progress.outcome == "stopped" and why in progress.nodes["node001"].why
    assert not any("can't be asked" in note for note in progress.notes) and world.now < 1600


class Slow(Drain):
    """It takes two turns to undo what it did."""

    turns: int = 0

    def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        self.turns += 1
        if self.turns < 3:
            return dict.fromkeys((node.name for node in nodes), Answer("wait", "soon"))
        return super().after(nodes)


@pytest.mark.parametrize(
    ("other", "good", "why"),
    [
        (NEW, True, ""),
        (OLD, True, f"others have installed it meanwhile, from {OLD}, not from {NEW}"),
        (
            NEW,
            False,
            "it could not be released for 60 s; last: others install it, which is not done: rsync: 23",
        ),
    ],
)
def test_who_was_installed_again_by_others_is_not_released_as_what_it_was(
    tmp_path: Path, other: str, good: bool, why: str
) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, STOPS)
    scene.hooks = [Slow(world)]

    def meddle(now: Progress) -> None:
        if now.named("verified"):
            world.machines["node001"].synced = Sync(other, "FULL", world.now, good, "rsync: 23")

    scene.watch = meddle
    node = scene.run().nodes["node001"]
    assert (node.state, node.why) == ("failed" if why else "released", why)
    assert world.held == ({"node001": "left"} if why else {})


def test_who_was_given_another_image_meanwhile_is_told_of(tmp_path: Path) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, STOPS)
    scene.watch = lambda now: (
        setattr(world.machines["node001"], "own", OLD) if now.named("provisioned") else None
    )
    node = scene.run().nodes["node001"]
    assert node.notes == (f"others have given it the image {OLD} meanwhile, which its next reboot installs",)


class Removing(World):
    """A cluster from which somebody removes nodes."""

    removed: frozenset[str] = frozenset()

    def survey(self) -> Survey:
        found = super().survey()
        left = {name: facts for name, facts in found.nodes.items() if name not in self.removed}
        return replace(found, nodes=left)

    def statuses(self, nodes: Sequence[str]) -> Mapping[str, NodeStatus]:
        found = super().statuses(nodes)
        return {**found, **dict.fromkeys(self.removed & found.keys(), NodeStatus("unknown"))}


@pytest.mark.parametrize("state", ["rebooting", "installing", "verified"])
def test_a_node_that_was_removed_under_way_is_told_as_that(tmp_path: Path, state: State) -> None:
    world = Removing(("node001",))
    scene = Scene(tmp_path, world, STOPS)
    scene.hooks = [Slow(world)]

    def remove(now: Progress) -> None:
        if now.named(state):
            world.removed = frozenset({"node001"})

    scene.watch = remove
    why = scene.run().nodes["node001"].why
    assert why.endswith("; the cluster manager has no such node any more"), why
