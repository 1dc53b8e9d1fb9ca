"""Ten thousand nodes are asked in one call, and cost little time of our own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pipeline.cluster.drivers.bright.nodes import BrightNodes
from pipeline.cluster.head import Head, Ran
from pipeline.lab.head import state
from pipeline.lab.head.switches import Switches
from tests.integration.bright_head import LabHead

COUNT = 10_000
NODES = [f"node{number:03}" for number in range(1, COUNT + 1)]


class Recorded:
    """A head node whose answers are known: only our own time is left."""

    answer_seconds = 300
    label = "head node"

    def __init__(self, head: Head) -> None:
        self.head = head
        self.answers: dict[str, Ran] = {}
        self.run = head.run

    def run_file(self, argv: tuple[str, ...], content: str, *, seconds: float | None) -> Ran:
        if content not in self.answers:
            self.answers[content] = self.head.run_file(argv, content, seconds=seconds)
        return self.answers[content]


def taken(work: Callable[[], object]) -> float:
    """Seconds of this process for something that was done once before."""
    work()
    begun = time.process_time()
    work()
    return time.process_time() - begun


def test_all_nodes_are_asked_in_one_call_and_little_time(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, nodes=COUNT, categories=50)
    _provisioned(tmp_path)
    nodes = BrightNodes(Recorded(lab.head))  # type: ignore[arg-type]
    nodes.synced(NODES[:1])
    before = len(lab.calls())
    spent = {"statuses": taken(lambda: nodes.statuses(NODES))}
    assert len(lab.calls()) == before + 1
    spent["synced"] = taken(lambda: nodes.synced(NODES))
    assert len(lab.calls()) == before + 1  # the same question as for one node
    spent["survey"] = taken(nodes.survey)
    assert len(lab.calls()) == before + 6
    print({name: round(seconds, 3) for name, seconds in spent.items()})
    assert nodes.statuses(NODES)["node9999"].condition == "up"
    assert nodes.synced(NODES)["node9999"].is_good
    assert max(spent["statuses"], spent["synced"]) < 0.5
    assert spent["survey"] < 2


def test_padded_tables_take_no_longer(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(json="illegal", syncinfo="short", events="always"), COUNT, 50)
    _provisioned(tmp_path)
    nodes = BrightNodes(Recorded(lab.head))  # type: ignore[arg-type]
    nodes.synced(NODES[:1])
    assert taken(lambda: nodes.statuses(NODES)) < 1
    assert taken(lambda: nodes.synced(NODES)) < 1
    assert nodes.synced(NODES)["node9999"].image == "openstack-image"


def test_nodes_are_pointed_in_calls_that_do_not_grow(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, nodes=2000)
    nodes = BrightNodes(lab.head)
    names = NODES[:2000]
    before = len(lab.calls())
    nodes.point(names, "default-image", "FULL")
    nodes.reboot(names)
    assert len(lab.calls()) == before + 5
    assert len({one.ended for one in nodes.synced(names).values() if one.is_good}) > 1


def _provisioned(directory: Path) -> None:
    store = state.Store(str(directory))
    with store.changing() as now:
        for number, node in enumerate(NODES):
            now["syncs"][node] = {
                "image": "openstack-image",
                "mode": "FULL",
                "ended": 1e9 + number,
                "ok": True,
            }
        store.touch()
