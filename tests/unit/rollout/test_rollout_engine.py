"""The rollout as it runs: limits, the way back, kills at any moment."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.errors import MachineError, UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.batches import Room, arrange
from pipeline.rollout.journal import Journal, events
from pipeline.rollout.model import Node, Order, Policy
from pipeline.rollout.states import Event, Fold
from tests.simulated_rollout import NEW, OLD, WAITS, Drain, Scene, World, kill_at_journal

FOUR = ("node001", "node002", "node003", "node004")
ONE_BY_ONE = Policy(canary=1, max_unavailable=1, waits=WAITS)
TWO = Policy(canary=1, max_unavailable=2, failure_budget=1, waits=WAITS)


def most_away(order: Order, told: Iterable[Event]) -> int:
    """How many nodes were away at once, at most; raises when a failure domain had more than it may."""
    fold = Fold(node.name for node in order.nodes)
    nodes = {node.name: node for node in order.nodes}
    most = 0
    for event in told:
        fold.take(event)
        away = [nodes[name] for name, progress in fold.nodes.items() if progress.is_away]
        room = Room(order.policy, order.unavailable)
        for node in away:
            assert not room.lacks(node), (node.name, room.lacks(node))
            room.take(node)
        most = max(most, len(away))
    return most


def test_all_nodes_come_to_the_new_version_and_their_category_follows(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR), ONE_BY_ONE)
    progress = scene.run()
    assert progress.outcome == "ended" and progress.why == ""
    assert {node.state for node in progress.nodes.values()} == {"released"}
    assert scene.world.category == NEW and scene.world.switched == [("web", NEW)]
    assert all(machine.own == "" for machine in scene.world.machines.values())
    assert all(machine.installs == {NEW: 1} for machine in scene.world.machines.values())
    assert not scene.world.held
    assert progress.nodes["node001"].facts == {"interface": "eth6"}
    assert most_away(scene.order, events(scene.folder / "journal.jsonl")) == 1


def test_each_node_goes_through_all_states(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(("node001",)), ONE_BY_ONE)
    scene.run()
    states = [event.state for event in events(scene.folder / "journal.jsonl") if event.state]
    assert list(dict.fromkeys(states)) == [
        "preparing", "prepared", "switched", "rebooting", "installing", "up", "provisioned", "verified",
        "released",
    ]  # fmt: skip


def test_a_bad_version_is_stopped_at_the_canary_and_taken_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR, bad_images=frozenset({NEW})), TWO)
    progress = scene.run()
    assert progress.outcome == "ended"
    assert "the canary node001 failed: the agent is dead" in progress.why
    assert progress.nodes["node001"].way == "back" and progress.nodes["node001"].state == "released"
    assert scene.world.machines["node001"].installs == {NEW: 1, OLD: 1}
    assert [progress.nodes[name].state for name in FOUR[1:]] == ["waiting"] * 3
    assert scene.world.category == OLD and not scene.world.held
    assert scene.world.machines["node001"].own == ""


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("never returns", "its installation has not begun"),
        ("install fails", "INSTALLER_FAILED"),
        ("half", "its provisioning failed: rsync: 23"),
        ("wrong image", "it was provisioned from web-1, not from web-2"),
        ("not pointed", "it is locked"),
    ],
)
def test_a_node_that_fails_within_the_budget_is_left_and_the_rest_goes_on(
    tmp_path: Path, fault: str, why: str
) -> None:
    scene = Scene(tmp_path, World(FOUR, faults={"node003": fault}), TWO)
    progress = scene.run()
    assert progress.outcome == "ended" and progress.why == "1 node failed"
    assert why in progress.nodes["node003"].why
    assert [progress.nodes[name].state for name in FOUR] == ["released", "released", "failed", "released"]
    assert scene.world.held == {"node003": "left"}
    assert scene.world.category == OLD, "not all of its nodes have the new one"
    assert "keeps its image" in progress.notes[-1]


def test_over_budget_all_that_were_touched_go_back(tmp_path: Path) -> None:
    policy = Policy(max_unavailable=2, failure_budget=0, on_failure="roll back all", waits=WAITS)
    scene = Scene(tmp_path, World(FOUR, faults={"node003": "half"}), policy)
    scene.world.faults["node003"] = "half"
    progress = scene.run()
    assert progress.outcome == "ended"
    assert progress.nodes["node001"].way == "back" and progress.nodes["node001"].state == "released"
    assert scene.world.machines["node001"].synced.image == OLD
    assert progress.nodes["node003"].state == "failed", "half an install is what it gets each time"
    assert progress.nodes["node004"].state == "waiting"
    assert most_away(scene.order, events(scene.folder / "journal.jsonl")) == 2


def test_a_node_that_was_not_rebooted_is_only_set_back(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR), ONE_BY_ONE)
    scene.hooks = [Drain(scene.world, refuses=frozenset({"node001"}))]
    progress = scene.run()
    assert "somebody works there" in progress.why
    assert progress.nodes["node001"].state == "released" and progress.nodes["node001"].way == "back"
    assert not scene.world.machines["node001"].installs and not scene.world.calls["reboot"]


def test_stopped_by_policy_it_can_be_resumed_with_what_failed(tmp_path: Path) -> None:
    policy = Policy(on_failure="stop", waits=WAITS)
    scene = Scene(tmp_path, World(FOUR, faults={"node002": "half"}), policy)
    assert scene.run().outcome == "stopped"
    assert scene.run().outcome == "stopped", "nothing has changed"
    scene.world.faults.clear()
    progress = scene.run(retry=True)
    assert progress.outcome == "ended" and {node.state for node in progress.nodes.values()} == {"released"}
    assert scene.world.category == NEW and not scene.world.held


def test_failed_nodes_use_up_the_limit(tmp_path: Path) -> None:
    policy = Policy(canary=1, max_unavailable=1, failure_budget=3, on_failure="stop", waits=WAITS)
    scene = Scene(tmp_path, World(FOUR, faults={"node002": "half"}), policy)
    progress = scene.run()
    assert progress.outcome == "stopped"
    assert progress.why == "node003 can't go: max_unavailable = 1 is used up; failed: node002"


def test_who_aborts_has_nothing_new_begun(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR), TWO)
    scene.hooks = [Drain(scene.world, slow=3)]
    scene.watch = lambda progress: (
        folders.ask_to_abort(scene.folder, "somebody") if progress.named("installing") else None
    )
    progress = scene.run()
    assert progress.outcome == "stopped" and progress.why == "stopped by somebody"
    assert [progress.nodes[name].state for name in FOUR] == ["released"] + ["waiting"] * 3
    scene.watch = lambda progress: None
    assert {node.state for node in scene.run().nodes.values()} == {"released"}


@pytest.mark.parametrize("whole", [False, True])
def test_an_abort_while_the_last_node_is_on_its_way_leaves_no_node_held(tmp_path: Path, whole: bool) -> None:
    """It is at its end, unless the category is still to be switched, which is told."""
    scene = Scene(tmp_path, World(("node001",)), ONE_BY_ONE)
    scene.order = scene.order if whole else replace(scene.order, categories={})
    scene.watch = lambda progress: (
        folders.ask_to_abort(scene.folder, "somebody") if progress.named("installing") else None
    )
    progress = scene.run()
    assert progress.is_aborting and progress.nodes["node001"].state == "released"
    if not whole:
        assert progress.outcome == "ended" and folders.unfinished(tmp_path) == []
        return
    assert progress.outcome == "stopped" and scene.world.category == OLD
    assert progress.why == f"stopped by somebody; still to be switched: web to {NEW}"
    scene.watch = lambda progress: None
    assert scene.run().outcome == "ended" and scene.world.category == NEW


def test_an_abort_while_the_last_node_is_on_its_way_back_is_its_end(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR, bad_images=frozenset({NEW})), ONE_BY_ONE)
    scene.watch = lambda progress: (
        folders.ask_to_abort(scene.folder, "somebody")
        if progress.is_going_back and progress.named("installing")
        else None
    )
    progress = scene.run()
    assert progress.outcome == "ended" and scene.world.category == OLD
    assert [progress.nodes[name].way for name in FOUR] == ["back"] + ["out"] * 3
    assert [progress.nodes[name].state for name in FOUR] == ["released"] + ["waiting"] * 3


def test_who_aborts_right_when_it_is_resumed_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told that nothing new is begun as soon as a process holds the rollout."""
    scene = Scene(tmp_path, World(FOUR), TWO)
    folders.ask_to_abort(scene.folder, "somebody long ago")

    def held_by_now(path: Path) -> Journal:
        assert folders.is_running(scene.folder)
        folders.ask_to_abort(scene.folder, "somebody")
        return Journal(path)

    monkeypatch.setattr(folders, "Journal", held_by_now)
    progress = scene.run()
    assert (progress.outcome, progress.why) == ("stopped", "stopped by somebody")
    assert {node.state for node in progress.nodes.values()} == {"waiting"}
    monkeypatch.undo()
    assert scene.run().outcome == "ended"


def test_who_is_only_about_to_go_stays_when_it_is_aborted(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR), TWO)
    scene.hooks = [Drain(scene.world, slow=3)]
    scene.watch = lambda progress: folders.ask_to_abort(scene.folder, "somebody")
    progress = scene.run()
    assert {node.state for node in progress.nodes.values()} == {"waiting"}
    assert not scene.world.held and not scene.world.calls["point"]


def test_what_can_not_be_undone_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR), ONE_BY_ONE)
    scene.hooks = [Drain(scene.world, slow=10**6, stuck=True)]
    scene.watch = lambda progress: folders.ask_to_abort(scene.folder, "somebody")
    progress = scene.run()
    assert progress.outcome == "stopped" and progress.nodes["node001"].state == "failed"
    assert progress.nodes["node001"].why == "it could not be left as it was: drain: it is not well"
    assert scene.world.held == {"node001": "left"}


def test_slow_hooks_are_waited_for_and_their_reason_is_told(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(("node001",)), ONE_BY_ONE)
    scene.hooks = [Drain(scene.world, slow=2)]
    assert scene.run().nodes["node001"].state == "released"
    assert any(progress.nodes["node001"].why == "drain: a job runs" for progress in scene.seen)


def test_while_the_manager_is_away_no_node_fails(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR, gone=(1050.0, 2500.0)), ONE_BY_ONE)
    progress = scene.run()
    assert {node.state for node in progress.nodes.values()} == {"released"}
    assert progress.notes == (
        "the cluster manager can't be asked: the head node does not answer",
        "the cluster manager answers again",
    )


def test_a_manager_that_stays_away_stops_it_and_it_can_be_resumed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR, gone=(1050.0, 9000.0)), ONE_BY_ONE)
    with pytest.raises(MachineError, match="does not answer"):
        scene.run()
    assert folders.read(scene.folder.parent, 1).progress.outcome == "stopped"
    scene.world.now = 9000.0
    assert {node.state for node in scene.run().nodes.values()} == {"released"}


@pytest.mark.parametrize("bad", [False, True], ids=["good version", "bad version"])
def test_killed_at_any_moment_nothing_is_repeated_nor_forgotten(tmp_path: Path, bad: bool) -> None:
    whole = Scene(tmp_path / "whole", World(FOUR[:3], bad_images=frozenset({NEW} if bad else ())), TWO)
    expected = {name: (node.state, node.way) for name, node in whole.run_to_the_end().nodes.items()}
    for moment in range(1, whole.world.count + 1):
        world = World(FOUR[:3], bad_images=frozenset({NEW} if bad else ()))
        scene = Scene(tmp_path / str(moment), world, TWO)
        progress = scene.run_to_the_end(moment)
        assert {name: (node.state, node.way) for name, node in progress.nodes.items()} == expected, moment
        for machine in world.machines.values():
            assert all(count == 1 for count in machine.installs.values()), (moment, machine)
            assert machine.rebooted is None and not machine.install and not machine.own, moment
        assert not world.held and world.category == (OLD if bad else NEW), moment
        assert world.noted == world.category, moment
        assert progress.switched == (() if bad else ("web",)) and not progress.switching, moment
        assert most_away(scene.order, events(scene.folder / "journal.jsonl")) <= 2


def test_a_line_that_was_being_written_when_power_went_is_none(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.write([Event(1.0, word="begun")])
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"at":2.0,"wo')
    assert [event.at for event in events(path)] == [1.0]
    journal = Journal(path)
    journal.write([Event(3.0, word="ended")])
    journal.close()
    assert [event.at for event in events(path)] == [1.0, 3.0]


def test_two_rollouts_of_the_same_nodes_are_refused(tmp_path: Path) -> None:
    scene = Scene(tmp_path, World(FOUR), ONE_BY_ONE)
    with pytest.raises(UsageError, match="rollout 1 of lab, to which they belong"):
        folders.begin(tmp_path, scene.order)
    scene.run()
    assert folders.begin(tmp_path, scene.order).name == "rollout-2"


def test_failure_domains_share_out_batches() -> None:
    nodes = [Node(f"n{number}", "web", domains={"rack": f"r{number % 2}"}) for number in range(6)]
    policy = Policy(canary=1, max_unavailable=4, domains={"rack": 1})
    batches = arrange(nodes, policy)
    assert batches[0] == ("n0",)
    of = {node.name: node.domains["rack"] for node in nodes}
    assert all(len({of[name] for name in batch}) == len(batch) for batch in batches)
    assert sorted(name for batch in batches for name in batch) == sorted(of)


def test_hosts_of_osds_go_one_at_a_time_and_the_others_first() -> None:
    nodes = [Node(f"n{number}", "web", osds=(number,) if number < 3 else ()) for number in range(6)]
    batches = arrange(nodes, Policy(canary=1, max_unavailable=3))
    assert batches[0] == ("n3",)
    assert all(sum(name in ("n0", "n1", "n2") for name in batch) <= 1 for batch in batches)


def test_canaries_are_of_each_category(tmp_path: Path) -> None:
    nodes = [Node("a1", "a", OLD, osds=(1,)), *(Node(name, name[0], OLD) for name in ("a2", "b1", "b2"))]
    assert arrange(nodes, Policy(canary=1, max_unavailable=1)) == (("a2",), ("b1",), ("b2",), ("a1",))


def test_when_one_canary_fails_those_that_did_not_are_taken_back_as_well(tmp_path: Path) -> None:
    nodes = [Node("a1", "web", OLD), Node("b1", "db", OLD), Node("a2", "web", OLD)]
    world = World(("a1", "b1", "a2"), faults={"b1": "wrong image"})
    scene = Scene(tmp_path, world, ONE_BY_ONE, nodes)
    progress = scene.run()
    assert progress.nodes["a1"].way == "back" and world.machines["a1"].synced.image == OLD
    assert progress.nodes["b1"].way == "back" and progress.nodes["a2"].state == "waiting"


def test_nodes_that_could_never_go_are_refused_at_once() -> None:
    nodes = [Node("a", "web", domains={"rack": "r1"}), Node("b", "web", domains={"rack": "r2"})]
    down = Node("c", "web", domains={"rack": "r1"})
    with pytest.raises(UsageError) as refused:
        arrange(nodes, Policy(max_unavailable=2, domains={"rack": 1}), [down])
    [problem] = refused.value.problems
    assert problem.where == "a" and "rack r1: 1 may be away at once" in problem.message


@pytest.mark.parametrize("written", [False, True], ids=["before its write", "after its write"])
def test_killed_at_the_journal_nothing_is_repeated_nor_forgotten(
    tmp_path: Path, written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        writes = kill_at_journal(patch, 0, written=written)
        Scene(tmp_path / "whole", World(FOUR[:3]), TWO).run()
    for moment in range(1, len(writes) + 1):
        with monkeypatch.context() as patch:
            kill_at_journal(patch, moment, written=written)
            scene = Scene(tmp_path / str(moment), World(FOUR[:3]), TWO)
            progress = scene.run_to_the_end()
        assert {(node.state, node.way) for node in progress.nodes.values()} == {("released", "out")}, moment
        assert all(machine.installs == {NEW: 1} for machine in scene.world.machines.values()), moment
        assert not scene.world.held and scene.world.category == NEW, moment


TEN_THOUSAND = """
import re, sys, time
from pathlib import Path
from pipeline.rollout.model import Node, Policy
from tests.simulated_rollout import OLD, WAITS, Scene, World

names = [f"node{number:05}" for number in range(10_000)]
nodes = [Node(name, "web", OLD, domains={"rack": name[4:8]}) for name in names]
policy = Policy(canary=5, max_unavailable=500, domains={"rack": 3}, waits=WAITS)
begun = time.process_time()
scene = Scene(Path(sys.argv[1]), World(names), policy, nodes)
scene.watch = lambda progress: None
scene.run()
seconds = time.process_time() - begun
# Not ru_maxrss: that keeps, over exec, what the process had that started this one, such as a pytest.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(seconds, peak, scene.world.calls["statuses"])
"""


def test_ten_thousand_nodes_take_less_than_a_minute_and_never_exceed_the_limit(tmp_path: Path) -> None:
    """The program's own time and memory: the manager, the hook and the verification answer at once."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", TEN_THOUSAND, str(tmp_path)]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    seconds, megabytes, calls = map(float, ran.stdout.split())
    kept = folders.read(folders.rollouts(tmp_path, "lab"), 1)
    assert {node.state for node in kept.progress.nodes.values()} == {"released"}
    assert most_away_quickly(kept.order, events(kept.folder / "journal.jsonl")) <= 500
    assert calls < 1000, "all nodes are asked for in one call"
    assert seconds < 60 and megabytes < 300


def most_away_quickly(order: Order, told: Iterable[Event]) -> int:
    """As ``most_away``, for many nodes: counted as events come, without the program's own bookkeeping."""
    nodes = {node.name: node for node in order.nodes}
    away: set[str] = set()
    racks: Counter[str] = Counter()
    most = 0
    for event in told:
        if event.state is None or (event.state in ("waiting", "released")) == (event.node not in away):
            continue
        rack = nodes[event.node].domains["rack"]
        step = -1 if event.node in away else 1
        (away.discard if step < 0 else away.add)(event.node)
        racks[rack] += step
        assert racks[rack] <= order.policy.domains["rack"]
        most = max(most, len(away))
    return most
