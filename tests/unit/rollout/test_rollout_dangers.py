"""What must not happen to a cluster, whatever else does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.cluster.drivers.nodes import NodeStatus, Sync
from pipeline.errors import MachineError, PipelineError, UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.journal import events
from pipeline.rollout.model import Node, Policy
from pipeline.rollout.parts import Answer
from pipeline.rollout.returning import back_order
from pipeline.rollout.running import give_up
from pipeline.rollout.states import Progress
from tests.simulated_rollout import NEW, OLD, WAITS, Drain, Killed, Scene, World

THREE = ("node001", "node002", "node003")
ONE = Policy(canary=1, max_unavailable=1, waits=WAITS)
STOPS = replace(ONE, on_failure="stop")


class Watching(World):
    """A cluster in which something happens when a node comes to a state of the world."""

    closed: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    mode: str = ""

    def _status(self, name: str) -> NodeStatus:
        return NodeStatus("closed", "CLOSED") if name in self.closed else super()._status(name)

    def synced(self, nodes: Sequence[str]) -> Mapping[str, Sync]:
        found = super().synced(nodes)
        told = {name: sync for name, sync in found.items() if name not in self.silent}
        return {name: replace(sync, mode=self.mode or sync.mode) for name, sync in told.items()}


def test_a_node_that_was_closed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    world = Watching(THREE)
    scene = Scene(tmp_path, world, replace(ONE, failure_budget=1))

    def close(progress: object) -> None:
        world.closed = frozenset({"node002"}) if world.machines["node001"].installs else frozenset()

    scene.watch = close
    progress = scene.run()
    assert progress.nodes["node002"].why == "it is CLOSED; nothing was done to it"
    assert not world.machines["node002"].installs and not world.machines["node002"].own
    assert "node002" not in world.held or world.held["node002"] == "left"


def test_a_node_that_went_down_by_itself_counts_as_away(tmp_path: Path) -> None:
    world = Watching(THREE)
    scene = Scene(tmp_path, world, ONE)
    world.closed = frozenset({"node003"})
    progress = scene.run()
    assert progress.outcome == "stopped"
    assert progress.why == "node001 can't go: max_unavailable = 1 is used up; not up: node003"
    assert not any(machine.installs for machine in world.machines.values())


def test_a_node_that_was_down_before_and_is_counted_is_named_when_nothing_can_go(tmp_path: Path) -> None:
    world = Watching(("node001", "node002", "node009"))
    scene = Scene(tmp_path, world, ONE, [Node(name, "web", OLD) for name in ("node001", "node002")])
    scene.order = replace(scene.order, unavailable=(Node("node009", "web", OLD),))
    world.closed = frozenset({"node009"})
    why = "node001 can't go: max_unavailable = 1 is used up; not of this rollout, and not up: node009"
    assert scene.run().why == why
    world.closed = frozenset()
    assert scene.run().outcome == "ended", "it counts while it is not up, and not for ever"


def test_a_node_of_the_category_that_goes_down_meanwhile_counts_as_well(tmp_path: Path) -> None:
    world = Watching(("node001", "node002", "node009"))
    scene = Scene(tmp_path, world, ONE, [Node(name, "web", OLD) for name in ("node001", "node002")])

    def close(progress: Progress) -> None:
        if progress.nodes["node001"].state == "installing":
            world.closed = frozenset({"node009"})

    scene.watch = close
    why = "node002 can't go: max_unavailable = 1 is used up; not of this rollout, and not up: node009"
    assert scene.run().why == why


def test_a_last_provisioning_that_is_not_told_is_no_proof_of_a_new_one(tmp_path: Path) -> None:
    world = Watching(("node001",), boot=0.0)
    world.silent = frozenset({"node001"})
    scene = Scene(tmp_path, world, ONE)

    def tell(progress: object) -> None:
        if world.machines["node001"].rebooted is not None:
            world.silent = frozenset()

    scene.watch = tell
    progress = scene.run()
    assert progress.nodes["node001"].state == "released"
    assert world.machines["node001"].installs == {NEW: 1}, "it was really installed before it was released"


def test_what_was_provisioned_in_another_mode_is_not_what_was_ordered(tmp_path: Path) -> None:
    world = Watching(("node001",))
    world.mode = "AUTO"
    progress = Scene(tmp_path, world, STOPS).run()
    assert progress.nodes["node001"].why == "it was provisioned by AUTO, not by FULL"


def test_limits_of_time_do_not_count_while_nobody_looked(tmp_path: Path) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, STOPS)

    def killed(nodes: Sequence[str]) -> None:
        raise Killed

    reboot, world.reboot = world.reboot, killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        scene.run()
    world.reboot = reboot  # type: ignore[method-assign]
    assert folders.read(scene.folder.parent, 1).progress.nodes["node001"].state == "rebooting"
    world.now += 3600
    assert scene.run().nodes["node001"].state == "released"


def test_failed_nodes_of_an_earlier_batch_have_their_turn_once_more(tmp_path: Path) -> None:
    world = World(THREE, faults={"node002": "half"})
    scene = Scene(tmp_path, world, replace(STOPS, max_unavailable=2, failure_budget=1))
    scene.watch = lambda now: (
        folders.ask_to_abort(scene.folder, "me") if now.nodes["node003"].state == "installing" else None
    )
    assert scene.run().outcome == "stopped"
    world.faults.clear()
    scene.watch = lambda now: None
    progress = scene.run(retry=True)
    assert {node.state for node in progress.nodes.values()} == {"released"} and progress.outcome == "ended"


def test_a_node_that_can_not_be_rebooted_is_not_left_to_be_wiped_by_the_next_reboot(tmp_path: Path) -> None:
    world = World(("node001",), faults={"node001": "not rebooted"})
    progress = Scene(tmp_path, world, STOPS).run()
    assert progress.nodes["node001"].failed_in == "switched"
    assert world.machines["node001"].install == "" and world.machines["node001"].own == ""


def test_a_node_that_was_not_rebooted_never_is_for_going_back(tmp_path: Path) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, ONE)
    scene.hooks = [Drain(world, refuses=frozenset({"node001"}))]

    def away(progress: object) -> None:
        world.gone = (world.now, world.now + 100) if world.gone == (0.0, 0.0) else world.gone

    scene.watch = away
    progress = scene.run()
    assert progress.nodes["node001"].way == "back" and not world.calls["reboot"]


def test_on_the_way_back_hooks_are_asked_again(tmp_path: Path) -> None:
    world = World(("node001",), bad_images=frozenset({NEW}))
    scene = Scene(tmp_path, world, ONE)
    scene.run()
    assert world.calls["before"] == 2 and world.machines["node001"].installs == {NEW: 1, OLD: 1}


class Late(Drain):
    """Lets nodes go, and not any more when it's asked later."""

    def before(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
        found = super().before(nodes)
        return found if self.asked["node001"] <= 1 else dict.fromkeys(found, Answer("wait", "OSDs are down"))


def test_leave_to_go_does_not_hold_for_ever(tmp_path: Path) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, STOPS)
    scene.hooks = [Late(world)]

    point = world.point

    def point_and_lose(nodes: Sequence[str], image: str, install: str) -> None:
        point(nodes, image, install)
        world.gone = (world.now, world.now + 300)

    world.point = point_and_lose  # type: ignore[method-assign]
    progress = scene.run()
    assert progress.nodes["node001"].failed_in == "switched" and not world.calls["reboot"]
    assert "OSDs are down" in progress.nodes["node001"].why


def test_given_up_before_a_reboot_nothing_stays_armed(tmp_path: Path) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, ONE)
    point = world.point

    def point_and_die(nodes: Sequence[str], image: str, install: str) -> None:
        point(nodes, image, install)
        raise Killed

    world.point = point_and_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        scene.run()
    world.point = point  # type: ignore[method-assign]
    assert world.machines["node001"].install == "FULL"
    give_up(scene.folder, scene.order, world, [Drain(world)], "me", world.note, world.clock)
    assert world.machines["node001"].install == "" and world.machines["node001"].own == ""
    assert not world.held and folders.read(scene.folder.parent, 1).progress.outcome == "ended"


def test_taking_back_begins_with_what_is_down(tmp_path: Path) -> None:
    world = World(THREE, faults={"node003": "never returns"})
    scene = Scene(tmp_path, world, STOPS)
    assert scene.run().outcome == "stopped"
    order = back_order(folders.read(scene.folder.parent, 1), world.survey(), "me")
    assert order.batches == (("node003",), ("node001",), ("node002",))
    assert order.wanted == dict.fromkeys(THREE, OLD) and order.own == dict.fromkeys(THREE, "")


def test_taking_back_leaves_nobody_on_the_way(tmp_path: Path) -> None:
    world = World(THREE)
    scene = Scene(tmp_path, world, ONE)
    scene.watch = lambda now: _stop() if now.named("installing") and now.named("released") else None

    def _stop() -> None:
        raise Killed

    with pytest.raises(Killed):
        scene.run()
    kept = folders.read(scene.folder.parent, 1)
    with pytest.raises(UsageError, match="would be left on the way"):
        back_order(kept, world.survey(), "me", ["node001"])


def test_an_abort_is_heard_while_the_manager_is_away(tmp_path: Path) -> None:
    world = World(THREE, gone=(1050.0, 9000.0))
    scene = Scene(tmp_path, world, ONE)
    scene.watch = lambda now: folders.ask_to_abort(scene.folder, "me") if now.notes else None
    progress = scene.run()
    assert progress.outcome == "stopped" and world.now < 1200 and progress.is_aborting
    assert "while the cluster manager can't be asked" in progress.why


def test_a_manager_that_comes_and_goes_does_not_hold_limits_off(tmp_path: Path) -> None:
    world = World(("node001",), faults={"node001": "never returns"})
    scene = Scene(tmp_path, world, STOPS)
    pause = world.pause

    def flapping(seconds: float) -> None:
        pause(seconds)
        world.gone = (world.now, world.now + 1) if world.now % 50 < 5 else (0.0, 0.0)

    world.pause = flapping  # type: ignore[method-assign]
    assert scene.run().nodes["node001"].state == "failed" and world.now < 1400


def test_a_damaged_journal_of_a_rollout_that_has_ended_is_in_nobodys_way(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(THREE), ONE)
    scene.run()
    journal = scene.folder / "journal.jsonl"
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([lines[0], b"nonsense", *lines[2:]]))
    assert folders.begin(tmp_path, scene.order).name == "rollout-2"
    with pytest.raises(PipelineError, match="journal is damaged"):
        list(events(journal))


def test_the_time_in_which_the_manager_was_away_is_nobodys_fault(tmp_path: Path) -> None:
    world = World(("node001",), boot=340.0, gone=(1010.0, 1300.0))
    assert Scene(tmp_path, world, STOPS).run().nodes["node001"].state == "released"


def test_a_reboot_that_nobody_heard_of_is_sent_again(tmp_path: Path) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, STOPS)
    reboot = world.reboot

    def lost(nodes: Sequence[str]) -> None:
        world.reboot = reboot  # type: ignore[method-assign]
        raise MachineError("the connection was lost")

    world.reboot = lost  # type: ignore[method-assign]
    assert scene.run().nodes["node001"].state == "released"
    assert world.machines["node001"].installs == {NEW: 1}


def test_who_was_not_told_though_nobody_complained_is_told_once_more(tmp_path: Path) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, STOPS)
    reboot = world.reboot

    def swallowed(nodes: Sequence[str]) -> None:
        world.reboot = reboot  # type: ignore[method-assign]

    world.reboot = swallowed  # type: ignore[method-assign]
    assert scene.run().nodes["node001"].state == "released"
    assert world.machines["node001"].installs == {NEW: 1}


def test_who_goes_back_is_asked_by_every_hook_anew(tmp_path: Path) -> None:
    world = World(("node001",))
    scene = Scene(tmp_path, world, ONE)
    first = Drain(world, stuck=True)
    asked = []

    class Second(Drain):
        def after(self, nodes: Sequence[Node]) -> Mapping[str, Answer]:
            asked.append(world.now)
            return super().after(nodes)

    def heal(progress: object) -> None:
        first.stuck = not world.machines["node001"].installs.get(OLD)

    scene.hooks, scene.watch = [first, Second(world, name="second")], heal
    progress = scene.run()
    assert (progress.nodes["node001"].state, progress.nodes["node001"].way) == ("released", "back")
    assert len(asked) == 2, "when it was verified, and once more on its way back"
