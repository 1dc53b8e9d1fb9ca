"""Two rollouts of one store at once: what both have away stays within the limits of each."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from heapq import merge
from itertools import groupby
from pathlib import Path
from threading import Condition, current_thread

import pytest
from msgspec.structs import replace

from pipeline.rollout import beside
from pipeline.rollout import folder as folders
from pipeline.rollout.batches import Room
from pipeline.rollout.journal import Journal, events
from pipeline.rollout.model import Node, Policy
from pipeline.rollout.states import Event, Fold, Progress
from tests.simulated_rollout import OLD, WAITS, Drain, Killed, Scene, World, kill_at_journal

FOUR = ("node001", "node002", "node003", "node004")
ONE = Policy(canary=1, max_unavailable=1, failure_budget=3, on_failure="stop", waits=WAITS)
SWITCH = Policy(canary=1, max_unavailable=4, domains={"switch": 1}, waits=WAITS)
BACK = Policy(canary=1, max_unavailable=1, on_failure="roll back all", waits=WAITS)
ABORT = "and nobody runs it: resume it, or give it up (pipeline rollout abort lab --number 1)"


class Turns:
    """Several rollouts go on in turns: next is always the one whose pause ends first."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.due: dict[object, float] = {}
        self.at: object = None
        self.changed = Condition()
        world.pause = self.pause  # type: ignore[method-assign]

    def run(self, *runs: Callable[[], Progress], later: float = 5.0) -> list[Progress]:
        """Their ends; each begins ``later`` than the one before it."""
        begun = self.world.now
        with ThreadPoolExecutor(len(runs)) as pool:
            found = [pool.submit(self._one, each, begun + later * at) for at, each in enumerate(runs)]
            with self.changed:
                assert self.changed.wait_for(lambda: len(self.due) == len(runs), 60)
                self._hand_on()
            return [each.result(60) for each in found]

    def _one(self, run: Callable[[], Progress], begins: float) -> Progress:
        try:
            self._wait(begins, hand_on=False)
            return run()
        finally:
            with self.changed:
                del self.due[current_thread()]
                self._hand_on()

    def pause(self, seconds: float) -> None:
        self._wait(self.world.now + seconds, hand_on=True)

    def _wait(self, until: float, *, hand_on: bool) -> None:
        with self.changed:
            self.due[current_thread()] = until
            if hand_on:
                self._hand_on()
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: self.at is current_thread(), 60)

    def _hand_on(self) -> None:
        if self.due:
            self.at = min(self.due, key=lambda who: self.due[who])
            self.world.now = max(self.world.now, self.due[self.at])
        self.changed.notify_all()


def scene(store: Path, world: World, names: Sequence[str], policy: Policy, cluster: str = "lab") -> Scene:
    """A rollout of some nodes of ``world``; if switches have a limit, all nodes are on one."""
    domains = {"switch": "s1"} if policy.domains else {}
    nodes = [Node(name, "web", OLD, domains=domains) for name in names]
    return Scene(store, world, policy, nodes, cluster=cluster)


def most_away(*scenes: Scene) -> int:
    """How many nodes all of them had away at once, by their journals; no limit of any may be passed."""
    nodes = {node.name: node for each in scenes for node in each.order.nodes}
    fold, most = Fold(nodes), 0
    told = merge(*(_told(each) for each in scenes), key=lambda event: event.at)
    for _, moment in groupby(told, lambda event: event.at):
        for event in moment:
            fold.take(event)
        away = [nodes[name] for name, progress in fold.nodes.items() if progress.is_away]
        for each in scenes:
            room = Room(each.order.policy)
            for node in away:
                assert not room.lacks(node), (node.name, room.lacks(node))
                room.take(node)
        most = max(most, len(away))
    return most


def _told(scene: Scene) -> Iterable[Event]:
    return events(scene.folder / folders.JOURNAL)


def released(progress: Progress) -> bool:
    return all(node.state == "released" and node.way == "out" for node in progress.nodes.values())


@pytest.mark.parametrize("policy", [ONE, SWITCH], ids=["max_unavailable", "domain"])
def test_both_together_never_have_more_away_than_the_limits_allow(tmp_path: Path, policy: Policy) -> None:
    world = World(FOUR)
    one, other = scene(tmp_path, world, FOUR[:2], policy), scene(tmp_path, world, FOUR[2:], policy)
    ends = Turns(world).run(one.run, other.run)
    assert all(released(progress) for progress in ends)
    assert most_away(one, other) == 1
    said = "waits for rollout 1 of lab: together they have as many nodes away as may be"
    assert any(progress.nodes["node003"].why == said for progress in other.seen)
    assert not any(progress.nodes["node004"].why for progress in other.seen[-1:])


def test_what_two_may_have_away_together_they_have(tmp_path: Path) -> None:
    world, policy = World(FOUR), replace(ONE, max_unavailable=3, canary=2)
    one, other = scene(tmp_path, world, FOUR[:2], policy), scene(tmp_path, world, FOUR[2:], policy)
    assert all(released(progress) for progress in Turns(world).run(one.run, other.run))
    assert most_away(one, other) == 3


def test_who_takes_nodes_is_alone_until_that_is_in_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    look, write = beside.Beside.look, Journal.write

    def is_alone() -> bool:
        with open(tmp_path / "clusters/rollouts.lock", "a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def looking(self: beside.Beside, is_up: Callable[[str], bool] = bool) -> list[beside.Other]:
        assert is_alone()
        return look(self, is_up)

    def writing(self: Journal, told: Iterable[Event]) -> None:
        kept = list(told)
        names = [event.node for event in kept if event.state == "preparing" and event.node not in taken]
        if names:
            assert is_alone()
            taken.extend(names)
        write(self, kept)

    monkeypatch.setattr(beside.Beside, "look", looking)
    monkeypatch.setattr(Journal, "write", writing)
    assert released(scene(tmp_path, World(FOUR), FOUR, ONE).run())
    assert taken == list(FOUR)


def killed_on_the_way(store: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A rollout that nobody runs, with node001 away."""
    found = scene(store, world, FOUR[:2], ONE)
    with monkeypatch.context() as patch:
        kill_at_journal(patch, 4, written=True)
        with pytest.raises(Killed):
            found.run()
    return found


def test_one_that_nobody_runs_is_not_waited_for_but_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(FOUR)
    dead = killed_on_the_way(tmp_path, world, monkeypatch)
    other = scene(tmp_path, world, FOUR[2:], ONE)
    progress = other.run()
    assert progress.outcome == "stopped"
    assert progress.why == (
        "node003 can't go: max_unavailable = 1 is used up; rollout 1 of lab has node001 away, " + ABORT
    )
    assert released(dead.run())
    assert released(other.run())
    assert most_away(dead, other) == 1


def test_given_up_it_holds_nothing_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(FOUR)
    dead = killed_on_the_way(tmp_path, world, monkeypatch)
    other = scene(tmp_path, world, FOUR[2:], ONE)
    dead.give_up()
    assert released(other.run())


def test_failed_nodes_of_both_keep_neither_waiting_for_ever(tmp_path: Path) -> None:
    world = World(FOUR, faults={"node001": "half", "node003": "half"})
    policy = replace(ONE, max_unavailable=2)
    one, other = scene(tmp_path, world, FOUR[:2], policy), scene(tmp_path, world, FOUR[2:], policy)
    # A canary that failed stops each of them: then nothing is waited for.
    for each in (one, other):
        each.order = replace(each.order, policy=replace(policy, canary=0))
    ends = Turns(world).run(one.run, other.run)
    assert [progress.outcome for progress in ends] == ["stopped", "stopped"]
    assert "node002 can't go: max_unavailable = 2 is used up; failed: node001" in ends[0].why
    assert "rollout 2 of lab has node003 away" in ends[0].why
    assert "rollout 1 of lab has node001 away, and none of them is on its way" in ends[1].why


def test_what_failed_in_one_that_ended_meanwhile_is_away_while_it_is_not_up(tmp_path: Path) -> None:
    world = World(FOUR, faults={"node001": "never returns"})
    one = scene(tmp_path, world, FOUR[:1], replace(ONE, canary=0))
    other = scene(tmp_path, world, FOUR[2:], ONE)
    ends = Turns(world).run(one.run, other.run)
    assert ends[0].outcome == "ended" and ends[1].outcome == "stopped"
    assert "rollout 1 of lab has node001 away, and is at its end" in ends[1].why
    world.faults.clear()
    world.now += 600
    assert released(other.run())


@pytest.mark.parametrize("policy", [ONE, SWITCH], ids=["max_unavailable", "domain"])
@pytest.mark.parametrize("ending", ["given up on the way", "ended with a failed node"])
def test_what_one_that_ended_has_left_down_counts_for_who_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: Policy, ending: str
) -> None:
    world = World(FOUR, faults={"node001": "never returns"})
    policy = replace(policy, canary=0, on_failure="stop", failure_budget=3)
    one, other = scene(tmp_path, world, FOUR[:1], policy), scene(tmp_path, world, FOUR[2:], policy)
    with monkeypatch.context() as patch:
        patch.setattr(world, "pause", lambda _: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            one.run()
    if policy.domains:  # by its category nothing is seen of it
        world.machines["node001"].category = "default"
        other.order = replace(other.order, neighbours=one.order.nodes)
    assert "rollout 1 of lab has node001 away" in other.run().why
    if ending == "given up on the way":
        assert one.give_up().nodes["node001"].state == "rebooting"
    else:
        assert one.run().outcome == "ended"
    progress = other.run()
    assert progress.outcome == "stopped" and "not of this rollout, and not up: node001" in progress.why
    assert not any(world.machines[name].installs for name in FOUR[2:])
    world.faults.clear()
    world.now += 600
    assert released(other.run())


def test_who_goes_back_waits_as_well(tmp_path: Path) -> None:
    world = World(FOUR)
    one, other = scene(tmp_path, world, FOUR[:2], BACK), scene(tmp_path, world, FOUR[2:], BACK)
    one.hooks = [Drain(world, refuses=frozenset({"node002"}))]
    waits = "waits for rollout 2 of lab: together they have as many nodes away as may be"
    with folders.held(other.folder) as journal:

        def watch(progress: Progress) -> None:
            theirs = folders.read(other.folder.parent, 2).progress.nodes["node003"].state
            if theirs == "waiting" and progress.nodes["node002"].state == "failed":
                journal.write([Event(1.0, node="node003", state="preparing")])
            elif theirs == "preparing" and waits in progress.notes:
                assert progress.nodes["node001"].way == "out"
                journal.write([Event(2.0, node="node003", state="released")])

        one.watch = watch
        progress = one.run()
    assert progress.notes.count(waits) == 1
    assert all(node.state == "released" and node.way == "back" for node in progress.nodes.values())
    assert world.machines["node001"].synced.image == OLD


def test_of_another_cluster_nodes_count_by_failure_domains_only(tmp_path: Path) -> None:
    world = World(FOUR)

    def away(policy: Policy, category: str) -> int:
        store = tmp_path / f"{category}-{bool(policy.domains)}"
        one = scene(store, world, FOUR[:2], policy)
        nodes = tuple(replace(node, category=category) for node in one.order.nodes)
        order = replace(one.order, nodes=nodes)
        other = scene(store, world, FOUR[2:], policy, cluster="mine")
        with folders.held(other.folder) as journal:
            journal.write([Event(1.0, node="node003", state="preparing")])
            found = beside.others(store, order)
            assert [[node.name for node in each.away] for each in found] == [["node003"]]
            return sum(each.is_same for each in found)

    assert away(ONE, "web") == 1, "its file may have had another name"
    assert away(ONE, "default") == 0


def test_a_plan_tells_of_others_and_does_not_count_what_they_bring_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(FOUR)
    dead = killed_on_the_way(tmp_path, world, monkeypatch)
    down = tuple(Node(name, "web", OLD) for name in ("node001", "node009"))
    order = replace(scene(tmp_path, world, FOUR[2:], ONE).order, unavailable=down)
    found = beside.others(tmp_path, order)
    assert [node.name for node in beside.without(order, found).unavailable] == ["node009"]
    [told] = beside.findings(order, found)
    assert told.severity == "warning" and told.command == "pipeline rollout abort lab --number 1"
    what = "rollout 1 of lab is not at its end, nobody runs it, and it has node001 away, within the limits"
    assert (told.what, told.where) == (what, str(dead.folder))
    with folders.held(dead.folder):
        [told] = beside.findings(order, beside.others(tmp_path, order))
    assert told.what.startswith("rollout 1 of lab is running, and has node001 away: this one waits where")
    assert told.command == "pipeline rollout status lab --number 1"
    assert not beside.others(tmp_path, order, dead.folder), "it is given up for this one"
    assert not beside.findings(dead.order, found), "that it has the same nodes is an error"


def test_a_journal_that_was_cut_is_read_anew(tmp_path: Path) -> None:
    other = scene(tmp_path, World(FOUR), FOUR[:2], ONE)
    mine = scene(tmp_path, World(FOUR), FOUR[2:], ONE)
    reading = beside.Beside(mine.folder, mine.order)
    file = other.folder / folders.JOURNAL
    journal = Journal(file)

    def away() -> list[str]:
        return [node.name for each in reading.look() for node in each.away]

    journal.write([Event(1.0, word="begun")])
    assert away() == []
    size = file.stat().st_size
    journal.write([Event(2.0, node="node001", state="preparing")])
    assert away() == ["node001"]
    with file.open("r+b") as cut:
        cut.truncate(size)
    journal.write([Event(2.0, node="node002", state="preparing")])
    with file.open("ab") as torn:
        torn.write(b'{"at":3.0,"node":"node001","st')
    assert away() == ["node002"]
    journal.close()
