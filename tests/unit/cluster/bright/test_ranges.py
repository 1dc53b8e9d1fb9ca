"""Names of nodes, folded."""

from __future__ import annotations

import time

import pytest

from pipeline.cluster.drivers.bright.ranges import folded


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["node002", "node003"], "node002..node003"),
        (["node003", "node001", "node002"], "node001..node003"),
        (["node001"], "node001"),
        (["node001", "node003"], "node001,node003"),
        (["node9", "node10"], "node9,node10"),
        (["a", "node01", "b2c"], "node01,a,b2c"),
        (["r1n1", "r1n2", "r2n1"], "r1n1..r1n2,r2n1"),
        (["x1", "x1"], "x1"),
    ],
    ids=str,
)
def test_a_list_of_names_as_cmsh_writes_it(names: list[str], text: str) -> None:
    assert folded(names) == text


def test_ten_thousand_nodes_are_one_range_at_once() -> None:
    start = time.perf_counter()
    assert folded(f"node{number:05d}" for number in range(1, 10_001)) == "node00001..node10000"
    assert time.perf_counter() - start < 0.2
