"""What is worked out about a rollout: how it stands, time left, what nodes have, what to run next."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from rollout_examples import NEW, OLD, T0, an_order, goes, how_it_is

from pipeline.recipe.model import Parameter
from pipeline.rollout.differing import differing, to_write
from pipeline.rollout.logs import checks, last_lines, telling_line
from pipeline.rollout.model import Check, Verdict
from pipeline.rollout.spans import span
from pipeline.rollout.states import Event
from pipeline.rollout.summary import failures_of, installed, summarize, time_left, waits

ORDER = an_order()
BEGUN = (Event(T0, word="begun"), Event(T0, word="batch", batch=1))


def test_time_left_is_unknown_until_a_node_is_through() -> None:
    progress = how_it_is(ORDER, *BEGUN, goes("node001", "verified"))
    assert time_left(ORDER, progress, T0 + 100) is None
    assert summarize(ORDER, progress, T0 + 100).seconds_left is None


def test_time_left_is_what_nodes_have_taken_for_those_on_their_way_and_for_batches_to_come() -> None:
    order = an_order([("a",), ("b", "c"), ("d", "e")])
    done = (*BEGUN, goes("a", "released"))  # in 80 s
    assert time_left(order, how_it_is(order, *done), T0 + 80) == 160
    second = (*done, Event(T0 + 80, word="batch", batch=2), goes("b", "rebooting", T0 + 80))
    second = (*second, goes("c", "preparing", T0 + 100))
    assert time_left(order, how_it_is(order, *second), T0 + 120) == 60 + 80
    late = how_it_is(order, *second)
    assert time_left(order, late, T0 + 1000) == 80  # what takes longer than before is not guessed at


def test_nodes_that_limits_hold_back_in_a_batch_are_counted_once_more() -> None:
    order = an_order([("a",), ("b", "c")])
    events = (*BEGUN, goes("a", "released"), Event(T0 + 80, word="batch", batch=2), goes("b", "up", T0 + 80))
    assert time_left(order, how_it_is(order, *events), T0 + 150) == 80


@pytest.mark.parametrize("word", ["abort", "going back"])
def test_after_an_abort_batches_that_will_not_begin_take_no_time(word: str) -> None:
    events = (*BEGUN, goes("node001", "released"), Event(T0 + 90, word=word))  # type: ignore[arg-type]
    assert time_left(ORDER, how_it_is(ORDER, *events), T0 + 100) == 0


def test_a_node_that_was_taken_back_still_says_why_it_failed() -> None:
    failed = Event(T0 + 90, node="node001", state="failed", why="no agent", failed_checks=("test_agent",))
    back = [
        Event(T0 + 100, node="node001", state="prepared", way="back"),
        Event(T0 + 110, node="node001", state="switched", way="back", image=OLD),
        Event(T0 + 120, node="node001", state="rebooting", way="back"),
        Event(T0 + 130, node="node001", state="provisioned", way="back", image=OLD),
        Event(T0 + 140, node="node001", state="released", way="back"),
    ]
    progress = how_it_is(ORDER, *BEGUN, goes("node001", "provisioned"), failed, back)
    told = summarize(ORDER, progress, T0 + 150)
    assert told.failed == ()
    [taken] = told.taken_back
    assert str(taken) == "while it was being verified: no agent (test_agent)"
    assert time_left(ORDER, progress, T0 + 150) == 40  # as its way back took; a batch is to come


def test_a_node_that_fails_on_both_ways_tells_both() -> None:
    events = [
        Event(T0 + 90, node="node001", state="failed", why="no agent"),
        Event(T0 + 100, node="node001", state="prepared", way="back"),
        Event(T0 + 110, node="node001", state="failed", way="back", why="it is locked"),
    ]
    progress = how_it_is(ORDER, *BEGUN, goes("node001", "provisioned"), events)
    both = [str(each) for each in failures_of("node001", progress.nodes["node001"])]
    assert both == [
        "while it was being verified: no agent",
        "while its image was being set on its way back: it is locked",
    ]
    told = summarize(ORDER, progress, T0 + 120)
    assert [each.why for each in told.failed] == ["it is locked"] and not told.taken_back


def test_what_a_node_has_is_known_before_its_reboot_and_after_the_proof_only() -> None:
    node = ORDER.nodes[0]

    def has(*events: object) -> str:
        progress = how_it_is(ORDER, *BEGUN, *events)  # type: ignore[arg-type]
        return installed(node, progress.nodes["node001"])

    assert has() == has(goes("node001", "switched")) == OLD
    assert has(goes("node001", "rebooting")) == has(goes("node001", "up")) == ""
    assert has(goes("node001", "provisioned")) == has(goes("node001", "released")) == NEW
    failed = Event(T0 + 90, node="node001", state="failed", why="x")
    assert has(goes("node001", "prepared"), failed) == OLD
    assert has(goes("node001", "installing"), failed) == ""
    turned = Event(T0 + 95, node="node001", state="prepared", way="back")
    assert has(goes("node001", "installing"), failed, turned) == ""
    assert has(goes("node001", "prepared"), failed, turned) == OLD
    untouched = Event(T0 + 99, node="node001", state="released", way="back")
    assert has(goes("node001", "prepared"), failed, turned, untouched) == OLD


def test_equal_reasons_to_wait_are_one_and_settled_nodes_wait_for_nothing() -> None:
    why = "ceph: 3 PGs are not active+clean"
    events = [
        Event(T0 + n, node=name, state="preparing", why=why) for n, name in enumerate(["node002", "node003"])
    ]
    failed = Event(T0 + 9, node="node001", state="failed", why="gone")
    [said] = waits(how_it_is(ORDER, *BEGUN, goes("node001", "up"), failed, events))
    assert (said.text, said.nodes) == (why, ("node002", "node003"))


def test_the_next_command_follows_from_how_it_stands() -> None:
    def commands(*events: object, is_running: bool = True) -> list[str]:
        progress = how_it_is(ORDER, *BEGUN, *events)  # type: ignore[arg-type]
        found = summarize(ORDER, progress, T0, is_running=is_running).following
        told = [each.command.removeprefix("pipeline rollout ") for each in found]
        assert all("--number 3" in one or one.startswith("start") for one in told), "another may be newer"
        return [one.removesuffix(" --number 3") for one in told]

    assert commands() == ["abort ib"]
    assert commands(Event(T0, word="abort")) == []
    assert commands(is_running=False) == ["resume ib", "abort ib"], "no node has anything to be taken back"
    going = goes("node001", "up")
    assert commands(going, is_running=False) == ["resume ib", "rollback ib", "abort ib"]
    assert commands(going, Event(T0, word="stopped")) == ["resume ib", "rollback ib", "abort ib"]
    ended = Event(T0 + 200, word="ended")
    assert commands(goes("node001", "released"), ended) == ["rollback ib"]
    lost = [Event(T0 + 90, node=name, state="failed", why="x") for name in ("node002", "node003")]
    again = "start ib --image openstack-image-mellanox@2 --nodes 'node[002-003]'"
    assert commands(lost, ended) == [again], "nothing was done to them"
    begun = [goes(name, "rebooting") for name in ("node002", "node003")]
    assert commands(*begun, *lost, ended) == [again, "rollback ib"]


def test_a_rollout_that_was_killed_is_interrupted_and_its_clock_stands() -> None:
    progress = how_it_is(ORDER, *BEGUN, goes("node001", "up"))
    told = summarize(ORDER, progress, T0 + 5000, is_running=False)
    assert (told.how, told.seconds) == ("interrupted", 50)


def test_facts_that_the_file_contradicts_become_lines_to_write() -> None:
    common: dict[str, Parameter] = {"ib_interface": "eth6", "vfs": 16}
    own: dict[str, dict[str, Parameter]] = {"node002": {**common, "ib_interface": "eth5"}}
    found = {
        "node001": {"ib_interface": "eth4", "vfs": "8", "firmware": "2.30"},
        "node002": {"ib_interface": "eth4", "vfs": "16"},
        "node003": {"ib_interface": "eth6", "vfs": "16"},
    }
    events = [Event(T0, node=name, state="verified", facts=facts) for name, facts in found.items()]
    differences = differing(how_it_is(ORDER, events), common, lambda name: own.get(name, common))
    assert [str(each) for each in differences] == [
        "node001: ib_interface is eth4; the cluster file says eth6",
        "node001: vfs is 8; the cluster file says 16",
        "node002: ib_interface is eth4; [[node]] of the cluster file says eth5",
    ]
    assert to_write(differences) == (
        "[[node]]",
        'names = "node001"',
        'parameters = { ib_interface = "eth4", vfs = 8 }',
    )


def test_what_a_node_says_is_text_in_the_lines_to_write() -> None:
    said = 'eth4"\n[evil]'
    progress = how_it_is(ORDER, [Event(T0, node="node001", state="verified", facts={"n": said})])
    [_, _, line] = to_write(differing(progress, {"n": 6}, lambda name: {"n": 6}))
    assert line == 'parameters = { n = "eth4\\"\\n[evil]" }'


def test_the_last_lines_are_those_of_checks_that_failed(tmp_path: Path) -> None:
    verdict = Verdict(
        False,
        "1 failed",
        (Check("test_a", "passed", "all is well"), Check("test_b", "failed", "E  dead\nE  agent: None\n\n")),
    )
    (tmp_path / "node001.json").write_bytes(msgspec.json.encode(verdict))
    assert last_lines("node001.json", tmp_path) == ("E  agent: None",)
    assert telling_line("node001.json", tmp_path) == "test_b: dead"
    assert last_lines("node001.json", tmp_path, 9) == ("test_b: E  dead", "E  agent: None")
    assert [check.name for check in checks("node001.json", tmp_path)] == ["test_a", "test_b"]
    (tmp_path / "node002.json").write_bytes(msgspec.json.encode(Verdict(False, "it can't be reached")))
    assert last_lines("node002.json", tmp_path) == ("it can't be reached",)
    assert telling_line("node002.json", tmp_path) == "it can't be reached"


@pytest.mark.parametrize(
    ("why", "line"),
    [
        ("test_x.py:9: assert [1] == [2]\n  [\n-     1,\n+     2,\n  ]", "a: test_x.py:9: assert [1] == [2]"),
        (
            "    def test_a():\n>       assert 0\nE       assert 0\nE       more\n\n  ...Full output",
            "a: assert 0",
        ),
        ("Every line\nis plain", "a: Every line"),
    ],
)
def test_the_line_of_a_failure_is_the_one_that_says_what_failed(tmp_path: Path, why: str, line: str) -> None:
    verdict = Verdict(False, "", (Check("a", "failed", why), Check("b", "failed", "E later")))
    (tmp_path / "node001.json").write_bytes(msgspec.json.encode(verdict))
    assert telling_line("node001.json", tmp_path) == line


def test_a_log_of_plain_text_that_is_long_torn_or_gone_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * 200_000 + b"\nlast \xff\n\n")
    assert last_lines("a.log", tmp_path) == ("last \ufffd",)
    assert telling_line("a.log", tmp_path) == "last \ufffd"
    (tmp_path / "b.json").write_text('{"passed": fal\nthe end')
    assert last_lines("b.json", tmp_path) == ("the end",)
    assert last_lines("gone.log", tmp_path) == last_lines("", tmp_path) == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (7500, "2 h 05 min"), (273600, "3 d 04 h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
