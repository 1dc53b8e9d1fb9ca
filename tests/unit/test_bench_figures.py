"""The benchmark's arithmetic: medians, ratios and what counts as met."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.measuring import BenchError, Row, Sample, in_turns, run
from tests.bench.report import shown

REPOSITORY = Path(__file__).parents[2]


def test_a_limit_bounds_the_ratio_where_there_is_a_peer_and_the_figure_where_there_is_none() -> None:
    beside = Row("x", (1.0, 9.0, 2.0), 0.5, "cp", (4.0, 5.0, 3.0))
    assert (beside.figure, beside.peers, beside.ratio, beside.met) == (2.0, 4.0, 0.5, True)
    alone = Row("x", (0.3, 0.1, 0.2), 0.15)
    assert (alone.ratio, alone.met) == (None, False)
    assert Row("x", (1.0,), None).met is None


def test_runs_are_taken_in_turns_every_other_round_the_other_way_round() -> None:
    order: list[str] = []

    def recorded(name: str) -> Sample:
        order.append(name)
        return Sample(len(order), 0, 0)

    ours, theirs = in_turns(2, lambda: recorded("ours"), lambda: recorded("theirs"))
    assert order == ["ours", "theirs", "theirs", "ours"]
    assert [sample.seconds for sample in ours] == [1, 4] and [sample.seconds for sample in theirs] == [2, 3]


def test_what_fails_is_never_measured(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="ended with 3:\nno"):
        run([sys.executable, "-c", "print('no'); raise SystemExit(3)"], tmp_path)


def test_the_memory_of_a_run_is_that_of_its_largest_process() -> None:
    # Measured from a small process: what pytest itself holds would count as the beginning of a child.
    child = "import sys, subprocess; subprocess.run([sys.executable, '-c', 'b = bytearray(60_000_000)'])"
    code = (
        "import sys; from pathlib import Path; from tests.bench.measuring import run\n"
        f"print(run([sys.executable, '-c', {child!r}], Path('/')).peak)"
    )
    measured = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert 60 < float(measured.stdout) < 100


def test_the_table_says_what_was_missed() -> None:
    text = shown([Row("slow thing", (2.0,), 1.1, "cp -a", (1.0,)), Row("quick thing", (0.004,), 0.05)])
    slow, quick = text.splitlines()[1:]
    assert slow.split() == ["slow", "thing", "2.00", "s", "1.00", "s", "cp", "-a", "2.00", "1.10", "NO", "1"]
    assert quick.split() == ["quick", "thing", "4", "ms", "50", "ms", "yes", "1"]
