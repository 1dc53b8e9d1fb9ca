"""A rollout in plain text and as a document."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from rollout_examples import NEW, T0, WAY, an_order, goes, how_it_is

from pipeline.cli.cluster_text import json_text
from pipeline.cli.rollout_text import document, plan_lines, status_lines
from pipeline.rollout.differing import differing
from pipeline.rollout.model import Finding, Node, Policy
from pipeline.rollout.spans import moment, zone
from pipeline.rollout.states import STATES, Event, Progress

ORDER = an_order()
FAILED = Event(
    T0 + 160,
    node="node003",
    state="failed",
    why="2 checks failed",
    failed_checks=("test_vfs", "test_agent"),
    facts={"ib_interface": "eth4"},
    log="logs/node003.log",
)


def in_its_second_batch() -> Progress:
    return how_it_is(
        ORDER,
        Event(T0, word="begun"),
        Event(T0, word="batch", batch=1),
        goes("node001", "released"),
        Event(T0 + 90, word="batch", batch=2),
        goes("node002", "preparing", T0 + 90),
        Event(T0 + 91, node="node002", why="nova: guests a, b still run there"),
        Event(T0 + 90, node="node002", state="preparing", why="ceph: 3 PGs are not active+clean"),
        goes("node003", "provisioned", T0 + 90),
        FAILED,
    )


def test_the_status_tells_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/node003.log").write_text("collected 9\nE  agent is dead\n\n")
    progress = in_its_second_batch()
    file = {"ib_interface": "eth6"}
    found = differing(progress, file, lambda name: file)
    lines = status_lines(ORDER, progress, now=T0 + 170, folder=tmp_path, differences=found)
    assert list(lines) == [
        "ib: rollout 3 to openstack-image-mellanox@2",
        f"  begun {moment(T0)} {zone(T0)} by root",
        "running; batch 2 of 2, 2 min 50 s, longer than nodes have taken until now",
        "  preparing  1  node002  for 1 min 20 s",
        "  released   1  node001",
        "  failed     1  node003",
        "failed:",
        "  node003: while it was being verified: 2 checks failed (test_vfs, test_agent)",
        "    log: logs/node003.log",
        "    | E  agent is dead",
        "waits:",
        "  node002: ceph: 3 PGs are not active+clean",
        "notes:",
        "  node002: nova: guests a, b still run there",
        "categories:",
        "  computes gets, when all its nodes are released, openstack-image-mellanox-2",
        "otherwise than in the cluster file:",
        "  node003: ib_interface is eth4; the cluster file says eth6",
        "if that is right, write into the cluster file and apply it:",
        "  [[node]]",
        '  names = "node003"',
        '  parameters = { ib_interface = "eth4" }',
        "next:",
        "  pipeline rollout abort ib --number 3  # begin nothing new; nodes that are on their way arrive",
    ]


def test_the_status_of_a_rollout_that_ended_says_how() -> None:
    done = [goes(name, "released", T0) for name in ("node001", "node002", "node003")]
    events = (Event(T0, word="begun"), Event(T0, word="batch", batch=2), *done)
    ended = (Event(T0 + 85, word="category", why="computes"), Event(T0 + 90, word="ended"))
    lines = list(status_lines(ORDER, how_it_is(ORDER, *events, *ended), now=T0 + 9999))
    assert lines[2:] == [
        "ended; batch 2 of 2, 1 min 30 s",
        "  released  3  node[001-003]",
        "categories:",
        "  computes has openstack-image-mellanox-2",
        "next:",
        "  pipeline rollout rollback ib --number 3  # take the nodes back to what they had",
    ]


def test_who_was_taken_back_is_not_told_as_released_of_the_new_one() -> None:
    """The canary failed, and of those that went beside it one had not; the category keeps what it has."""
    events = [
        Event(T0, word="begun"),
        *goes("node001", "provisioned"),
        Event(T0 + 90, node="node001", state="failed", why="the agent is dead"),
        *goes("node002", "released"),
        Event(T0 + 100, word="going back", why="the canary node001 failed"),
        *(
            Event(T0 + 110, node=name, state=state, way="back")
            for name in ("node001", "node002")
            for state in WAY
        ),
    ]
    lines = list(status_lines(ORDER, how_it_is(ORDER, events), now=T0 + 200))
    assert "  released (back)  2  node[001-002]" in lines and "  waiting          1  node003" in lines
    keeps = "  computes keeps its image, and does not get openstack-image-mellanox-2"
    assert keeps in lines
    ended = [*events, Event(T0 + 200, word="ended")]
    lines = list(status_lines(ORDER, how_it_is(ORDER, ended), now=T0 + 200))
    assert lines[2].startswith("ended, nodes were taken back: the canary node001 failed") and keeps in lines
    given_up = [*goes("node001", "released"), Event(T0 + 90, word="ended", why="given up by me")]
    assert keeps in status_lines(ORDER, how_it_is(ORDER, given_up), now=T0 + 200)


def test_of_a_rollout_that_was_killed_nobody_says_for_how_long_nodes_are_in_their_state() -> None:
    progress = how_it_is(ORDER, Event(T0, word="begun"), goes("node001", "installing"))
    lines = list(status_lines(ORDER, progress, now=T0 + 9999, is_running=False))
    assert lines[2:4] == ["interrupted; no batch has begun, 40 s", "  waiting     2  node[002-003]"]
    assert lines[4] == "  installing  1  node001"


def test_before_anything_is_through_the_time_left_is_unknown() -> None:
    progress = how_it_is(ORDER, Event(T0, word="begun"), Event(T0, word="batch", batch=1))
    lines = list(status_lines(ORDER, progress, now=T0 + 30))
    assert lines[2] == "running; batch 1 of 2, 30 s, time left unknown until a node is through"


def test_what_others_wrote_drives_no_terminal_and_shows_no_password(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\x1b[2J at http://me:secret@host/x\n")
    bad = Event(T0, node="node001", state="failed", why="\x1b]0;x\x07\nsecond", log="log")
    events = (bad, Event(T0, node="node002", why="guest \x9bm"), Event(T0, word="note", why="a\rb"))
    text = "\n".join(status_lines(ORDER, how_it_is(ORDER, *events), now=T0, folder=tmp_path))
    assert all(sign == "\n" or sign.isprintable() for sign in text)
    assert "secret" not in text and "http://***@host/x" in text


def test_the_document_has_every_node_and_the_failed_ones() -> None:
    found = json.loads(json_text(document(ORDER, in_its_second_batch(), now=T0 + 170)))
    assert found["outcome"] == "running" and found["batch"] == {"number": 2, "of": 2}
    assert list(found["counts"]) == list(STATES) and found["counts"]["failed"] == 1
    assert found["failed"] == [
        {
            "node": "node003",
            "way": "out",
            "failed_in": "provisioned",
            "why": "2 checks failed",
            "failed_checks": ["test_vfs", "test_agent"],
            "log": "logs/node003.log",
            "last_line": None,
        }
    ]
    first, second, third = found["nodes"]
    assert [node["name"] for node in found["nodes"]] == ["node001", "node002", "node003"]
    assert [node["state"] for node in found["nodes"]] == ["released", "preparing", "failed"]
    assert (first["image"], first["version"]) == (NEW, "openstack-image-mellanox@2")
    assert (second["version"], second["wanted_version"]) == ("openstack-image", "openstack-image-mellanox@2")
    assert (second["since"], second["seconds"], second["batch"]) == (T0 + 90, 80, 2)
    assert second["why"] == "ceph: 3 PGs are not active+clean"
    assert third["facts"] == {"ib_interface": "eth4"} and third["failed_in"] == "provisioned"
    assert found["next"][0]["command"] == "pipeline rollout abort ib --number 3"


def test_the_document_has_the_same_keys_in_every_rollout() -> None:
    one = document(ORDER, in_its_second_batch(), now=T0)
    other = document(ORDER, how_it_is(ORDER), now=T0, is_running=False, problems=[])
    assert [*one, "problems"] == list(other)
    assert {tuple(node) for node in (*one["nodes"], *other["nodes"])} == {tuple(one["nodes"][0])}
    assert other["began_at"] is None and other["seconds_left"] is None and other["batch"]["number"] is None


def test_the_plan_begins_with_findings_and_tells_equal_steps_once() -> None:
    steps = {
        "node001": ("ceph osd ok-to-stop 1 2", "nova service-disable node001 nova-compute"),
        "node002": ("nova service-disable node002 nova-compute", "ssh node0021 true"),
        "node003": ("nova service-disable node003 nova-compute", "ssh node0021 true"),
    }
    findings = (
        Finding("warning", "FULL wipes the disks of 3 nodes\nlocal changes are lost"),
        Finding(
            "error", "it is a datanode", "node003", "leave it out", "pipeline rollout start ib --nodes x"
        ),
    )
    assert list(plan_lines(ORDER, steps, findings)) == [
        "error: node003: it is a datanode",
        "  hint: leave it out",
        "  run: pipeline rollout start ib --nodes x",
        "warning: FULL wipes the disks of 3 nodes",
        "  local changes are lost",
        "ib: rollout 3 to openstack-image-mellanox@2",
        "  at most 2 away at once; FULL install; when one fails, it stops and failed nodes are taken back",
        "batch 1 of 2 (canary): node001",
        "batch 2 of 2: node[002-003]",
        "then category computes: openstack-image-mellanox-2",
        "for node001:",
        "  ceph osd ok-to-stop 1 2",
        "  nova service-disable node001 nova-compute",
        "for each NODE of node[002-003]:",
        "  nova service-disable NODE nova-compute",
        "  ssh node0021 true",
    ]


def test_of_a_plan_without_nodes_only_the_findings_are_told() -> None:
    nothing = msgspec.structs.replace(ORDER, nodes=(), batches=(), wanted={}, categories={}, number=0)
    found = Finding("error", "the cluster manager has no node009", "--nodes")
    assert list(plan_lines(nothing, {}, (found,))) == ["error: --nodes: the cluster manager has no node009"]


def test_the_plan_says_limits_what_is_down_already_and_what_failures_do() -> None:
    policy = Policy(1, 5, {"rack": 2}, failure_budget=3, on_failure="stop", install="AUTO")
    order = msgspec.structs.replace(
        ORDER, policy=policy, unavailable=(Node("node009", "computes"),), number=0
    )
    assert list(plan_lines(order, {}, ()))[:3] == [
        "ib: rollout to openstack-image-mellanox@2",
        "  at most 5 away at once, 2 of each rack; AUTO install; when more than 3 fail, it stops",
        "  down already, and counted: node009",
    ]
    one = msgspec.structs.replace(order, policy=Policy(1, 5, failure_budget=1, on_failure="stop"))
    assert "when more than 1 fails, it stops" in list(plan_lines(one, {}, ()))[1]


@pytest.mark.parametrize("names", [("node1.cluster", "node2.cluster"), ("node1", "node2")])
def test_a_name_is_replaced_where_it_stands_as_a_word(names: tuple[str, str]) -> None:
    order = an_order([names])
    alike = {name: (f"{name}:/x from {name}", "node12 and node2-ib") for name in names}
    lines = list(plan_lines(order, alike, ()))
    assert lines[-2:] == ["  NODE:/x from NODE", "  node12 and node2-ib"]
    assert lines[-3].startswith("for each NODE of node[1-2]")
