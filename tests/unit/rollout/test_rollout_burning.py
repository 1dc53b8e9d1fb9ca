"""A rollout reboots no node on which firmware is burnt, and none is burnt where a rollout is to reboot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.cluster import runs
from pipeline.cluster.drivers.nodes import NodeManager, NodeStatus
from pipeline.cluster.fanout import Target
from pipeline.cluster.firmware import choose, run_firmware
from pipeline.cluster.model import Firmware
from pipeline.cluster.nodescript import BUSY
from pipeline.cluster.outcome import Result
from pipeline.errors import UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.burning import Burning, refuse_rolling
from pipeline.rollout.model import Node
from pipeline.rollout.states import Event
from tests.unit.rollout.rollout_examples import T0, an_order, goes

WORK = Firmware((), "", False, "/cm/shared/ofed")
NODES = tuple(Node(f"node00{number}", "computes", "old") for number in range(1, 8))
BEGIN, END = "@pipeline:firmware-1 begin me\n", "@pipeline:firmware-1 end installer 0\n"
LOGS = {
    "node001": BEGIN,
    "node002": f"{BEGIN}burns\n",
    "node003": f"{BEGIN}{END}",
    "node004": "ssh: no route\n",
    "node005": "@pipeline:firmware-1 busy somebody\n",
    "node007": f"{BEGIN}burns\n",
}
RESULTS = {
    "node002": Result("interrupted"),
    "node003": Result("failed", "a check"),
    "node004": Result("unreachable"),
    "node005": Result("busy"),
    "node007": Result("failed", "no end in time"),
}


class World:
    """Nodes as they answer, and what they were asked."""

    def __init__(self) -> None:
        self.codes: dict[str, int | None] = {}
        self.conditions: dict[str, Any] = {}
        self.asked: list[list[str]] = []

    def ask(self, names: Sequence[str]) -> Mapping[str, tuple[int | None, str]]:
        self.asked.append(sorted(names))
        return {name: (self.codes.get(name, 0), "said") for name in names}

    def statuses(self, names: Sequence[str]) -> Mapping[str, NodeStatus]:
        return {name: NodeStatus(self.conditions.get(name, "up")) for name in names}


@contextmanager
def a_run(store: Path, results: Mapping[str, Result], logs: Mapping[str, str]) -> Iterator[None]:
    """A firmware run of all nodes while the block lasts; afterwards one that was killed."""
    with runs.new_folder(store / "clusters/c/runs") as (number, folder):
        names = tuple(node.name for node in NODES)
        runs.write(folder, runs.Record(number, "c", "me@here", WORK, names, 0.0, dict(results)))
        for name, text in logs.items():
            runs.log_of(folder, name).write_text(text)
        yield


def hook(store: Path, world: World) -> Burning:
    return Burning(store, world.ask, cast(NodeManager, world))


def answers(of: Burning) -> dict[str, str]:
    return {name: f"{one.state} {one.why}".strip() for name, one in of.before(NODES).items()}


def test_where_a_run_is_under_way_no_node_goes_and_nobody_is_asked(tmp_path: Path) -> None:
    world = World()
    one = hook(tmp_path, world)
    assert one.find(NODES) == []
    with a_run(tmp_path, {"node003": RESULTS["node003"], "node006": Result("updated")}, LOGS):
        [error] = one.find(NODES)
        assert (error.severity, error.where) == ("error", "node[001-002,004-005,007]")
        assert error.what == "firmware-1 of c is under way there: me@here"
        told = answers(one)
    assert told["node001"] == "wait firmware-1 of c burns there: me@here"
    assert told["node003"] == told["node006"] == "done"
    assert world.asked == []


def test_one_that_was_left_before_its_end_is_asked_of_the_nodes_that_may_still_burn(tmp_path: Path) -> None:
    world = World()
    one = hook(tmp_path, world)
    with a_run(tmp_path, RESULTS, LOGS):
        pass
    [warning] = one.find(NODES)
    assert (warning.severity, warning.where) == ("warning", "node[001-002,005,007]")
    assert world.asked == []
    world.codes = {"node001": BUSY, "node002": 255, "node005": None}
    world.conditions = {"node005": "down"}
    told = answers(one)
    assert world.asked == [["node001", "node002", "node005", "node007"]]
    assert told == dict.fromkeys((node.name for node in NODES), "done") | {
        "node001": "wait what firmware-1 of c has begun there still burns",
        "node002": "wait whether firmware-1 of c still burns there can't be known: said",
    }
    world.codes, world.conditions = {}, {}
    assert set(answers(one).values()) == {"done"}
    assert world.asked[1:] == [["node001", "node002", "node005"]]
    assert one.find(NODES) == []


def test_what_a_later_run_has_come_to_its_end_with_is_over(tmp_path: Path) -> None:
    with a_run(tmp_path, RESULTS, LOGS):
        pass
    with a_run(tmp_path, dict.fromkeys(LOGS, Result("up to date")), {}):
        pass
    assert hook(tmp_path, World()).find(NODES) == []


def a_rollout(store: Path) -> Path:
    """One whose node001 is done, whose node002 is on its way, and that has yet to come to node003."""
    folder = folders.begin(store, an_order())
    with folders.held(folder) as journal:
        journal.write([Event(T0, word="begun"), *goes("node001", "released"), *goes("node002", "installing")])
    return folder


def test_nodes_of_an_unfinished_rollout_are_not_burnt_before_they_are_released(tmp_path: Path) -> None:
    folder = a_rollout(tmp_path)
    refuse_rolling(tmp_path, ["node001", "node009"])
    with pytest.raises(UsageError) as raised:
        refuse_rolling(tmp_path, [f"node00{number}" for number in range(1, 10)])
    [problem] = raised.value.problems
    assert problem.message.startswith("node[002-003]: rollout 1 of ib has them on their way, or has yet to")
    assert problem.command == "pipeline rollout status ib --number 1"
    (folder / folders.ORDER).write_text("{")
    with pytest.raises(UsageError, match="node009: rollout 1 of ib"):
        refuse_rolling(tmp_path, ["node009"])
    with folders.held(folder) as journal:
        journal.write([Event(T0, word="ended")])
    refuse_rolling(tmp_path, ["node002"])


def test_a_rollout_that_begins_at_the_same_time_is_seen_and_no_run_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "clusters/ib/runs"
    seen: list[str] = []

    def refuse() -> None:
        """The rollout begins in the moment after this run was noted, and sees it."""
        a_rollout(tmp_path)
        seen.extend(each.where for each in hook(tmp_path, World()).find(NODES))
        refuse_rolling(tmp_path, ["node002"])

    chosen = choose(WORK, (Target("node002"),), place)
    with pytest.raises(UsageError, match="node002: rollout 1 of ib"):
        run_firmware(WORK, chosen, place, refuse=refuse)
    assert seen == ["node002"]
    assert runs.numbers(place) == []
