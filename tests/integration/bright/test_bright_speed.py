"""Ten thousand nodes: as many calls as for three, and little time of our own."""

from __future__ import annotations

import time
from pathlib import Path

from pipeline.cluster.drivers.bright.session import Session
from pipeline.cluster.head import Head, Ran
from pipeline.cluster.objects import Ref, Wanted
from tests.integration.bright_head import LabHead


class Recorded:
    """A head node whose answers are known: only our own time is left."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.answers: dict[str, Ran] = {}

    answer_seconds = 300

    def run(self, argv: tuple[str, ...], *, seconds: float | None) -> Ran:
        return self.head.run(argv, seconds=seconds)

    def run_file(self, argv: tuple[str, ...], content: str, *, seconds: float | None) -> Ran:
        if content not in self.answers:
            self.answers[content] = self.head.run_file(argv, content, seconds=seconds)
        return self.answers[content]


def wanted(names: list[str]) -> list[Wanted]:
    return [Wanted(Ref("node", name), {"category": "default"}, make=False) for name in names]


def test_calls_do_not_grow_with_nodes_nor_does_reading_take_long(tmp_path: Path) -> None:
    calls = []
    for nodes, categories in ((3, 0), (10_000, 50)):
        lab = LabHead(tmp_path / str(nodes), nodes=nodes, categories=categories)
        names = sorted(
            ref.name for ref in lab.driver.read([]).objects if ref.kind == "node" and "vnode" not in ref.name
        )
        assert len(names) == nodes
        before = len(lab.calls())
        todo, found = lab.plan(wanted(names))
        assert len(todo) == nodes
        lab.driver.write(todo, found)
        assert lab.plan(wanted(names))[0] == ()
        calls.append(len(lab.calls()) - before)
        recorded = Recorded(lab.head)
        lab.driver._session = Session(recorded)  # type: ignore[arg-type]
        lab.driver.read(wanted(names))
        start = time.process_time()
        lab.driver.read(wanted(names))
        seconds = time.process_time() - start
    assert calls[0] == calls[1] == 3
    assert seconds < 0.5
    print(f"{seconds:.3f} s for 10,000 nodes")
