"""Hosts with OSDs, on every release: one at a time, with noout of their own, never before all is clean."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from pipeline.cluster.head import Head, Ran
from pipeline.cluster.rollout_written import CephTable
from pipeline.errors import PipelineError
from pipeline.lab.services.switches import CEPHS
from pipeline.rollout.hooks.cephstate import osds_of, osds_on, strange_hosts
from pipeline.rollout.model import Node
from pipeline.rollout.parts import Answer
from tests.integration.hooks.services_lab import (
    THREE,
    TWO,
    ServicesLab,
    killed_everywhere,
    states,
)

EVERY_RELEASE = pytest.mark.parametrize("release", CEPHS)
AT_BOTH_ENDS = pytest.mark.parametrize("release", [CEPHS[0], CEPHS[-1]])
HAVE_OK_TO_STOP = pytest.mark.parametrize("release", CEPHS[1:])


def noout(lab: ServicesLab) -> tuple[list[str], list[str]]:
    """The cluster's flags, and the OSDs that have noout."""
    now = lab.now()
    return now["flags"], [number for number, osd in now["osds"].items() if osd["noout"]]


@EVERY_RELEASE
def test_a_host_goes_and_comes_back_and_only_then_the_next_one_goes(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release, clean_seconds=3600)
    lab.change(lambda now: [osd.update(since=-3600.0) for osd in now["osds"].values()])
    hook = lab.hook("ceph")
    assert states(hook.before([TWO, THREE])) == {"node002": "done", "node003": "wait"}
    assert noout(lab) == ((["noout"], []) if release == "icehouse" else ([], ["0", "1"]))
    assert states(hook.before([TWO, THREE])) == {"node002": "done", "node003": "wait"}
    lab.is_down("node002")
    answers = hook.after([TWO])
    assert answers["node002"].state == "wait"
    assert "osd.0, osd.1 not up" in answers["node002"].why
    lab.is_up("node002")
    answer = hook.after([TWO])["node002"]
    assert (answer.state, "active+recovering" in answer.why) == ("wait", True)
    assert noout(lab) != ([], [])
    assert states(hook.before([THREE])) == {"node003": "wait"}
    lab.switch(ceph=release)
    assert states(hook.after([TWO])) == {"node002": "done"}
    assert noout(lab) == ([], [])
    assert lab.run("ceph", "health").out == "HEALTH_OK\n"
    assert states(hook.before([THREE])) == {"node003": "done"}
    assert lab.now()["most_away"] == 1


class Meanwhile(Head, frozen=True):
    """Between who was seen away and what is set, another process is at the same."""

    does: Callable[[], object] = list

    def run(self, argv: Sequence[str], stdin: str = "", *, seconds: float | None = None) -> Ran:
        if "ok-to-stop" in argv:
            self.does()
        return super().run(argv, stdin, seconds=seconds)


def test_of_two_rollouts_that_ask_at_the_same_moment_one_takes_its_host(lab: ServicesLab) -> None:
    lab.switch(ceph="nautilus")
    told: list[dict[str, Answer]] = []
    other = lab.hook("ceph", number=13)
    at = lab.head
    head = Meanwhile(at.address, at.root, at.programs, does=lambda: told.append(dict(other.before([THREE]))))
    assert states(lab.hook("ceph", head=head).before([TWO])) == {"node002": "done"}
    assert told[0]["node003"].state == "wait"
    assert "another rollout asks Ceph" in told[0]["node003"].why
    assert states(other.before([THREE])) == {"node003": "wait"}
    assert noout(lab) == ([], ["0", "1"])
    lab.boot("node002")
    assert states(lab.hook("ceph").after([TWO])) == {"node002": "done"}
    assert states(other.before([THREE])) == {"node003": "done"}


@pytest.mark.parametrize("release", ["nautilus"])
def test_killed_at_any_program_it_goes_on_and_leaves_nothing_behind(tmp_path: Path, release: str) -> None:
    numbers = itertools.count()

    def make() -> ServicesLab:
        lab = ServicesLab(tmp_path / str(next(numbers)))
        lab.switch(ceph=release)
        return lab

    def before(lab: ServicesLab, head: Head | None) -> None:
        assert states(lab.hook("ceph", head=head).before([TWO])) == {"node002": "done"}

    def after(lab: ServicesLab, head: Head | None) -> None:
        assert states(lab.hook("ceph", head=head).after([TWO])) == {"node002": "done"}

    for lab in killed_everywhere(make, [before, lambda lab, _: lab.boot("node002"), after]):
        assert noout(lab) == ([], [])
        assert not lab.hook("ceph").find([THREE]) or release == "icehouse"


@EVERY_RELEASE
def test_noout_that_was_there_before_stays(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release)
    assert lab.run("ceph", "osd", "set", "noout").code == 0
    if release != "icehouse":
        lab.change(lambda now: now["osds"]["1"].update(noout=True))
    there = noout(lab)
    hook = lab.hook("ceph")
    assert states(hook.before([TWO])) == {"node002": "done"}
    lab.boot("node002")
    assert states(hook.after([TWO])) == {"node002": "done"}
    assert noout(lab) == there


@pytest.mark.parametrize("release", CEPHS[1:])
def test_osds_that_are_away_are_not_taken_out(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release, out_seconds=0)
    lab.hook("ceph").before([TWO])
    lab.is_down("node002")
    lab.run("ceph", "status")
    assert [osd["in"] for osd in lab.now()["osds"].values()] == [True] * 4
    lab.is_down("node003")
    lab.run("ceph", "status")
    assert [osd["in"] for osd in lab.now()["osds"].values()] == [True, True, False, False]


@EVERY_RELEASE
@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"health": {"POOL_NO_REDUNDANCY": "1 pool(s) have no replicas configured"}}, "have no replicas"),
        ({"health": {"MON_DOWN": "1/3 mons down"}, "errors": ("MON_DOWN",)}, "HEALTH_ERR: "),
        ({"unclean": 3}, "3 active+remapped+backfill_wait"),
    ],
)
def test_an_unwell_ceph_lets_nobody_go_and_says_so_beforehand(
    lab: ServicesLab, release: str, trouble: dict[str, object], said: str
) -> None:
    lab.switch(ceph=release, **trouble)
    hook = lab.hook("ceph")
    found = hook.find([TWO, THREE])
    assert said in next(one.what for one in found if one.severity == "error")
    answer = hook.before([TWO])["node002"]
    assert answer.state == "wait" and said in answer.why
    assert noout(lab) == ([], [])
    lab.switch(ceph=release)
    assert states(hook.before([TWO])) == {"node002": "done"}


@EVERY_RELEASE
def test_a_warning_that_the_site_accepts_keeps_nobody(lab: ServicesLab, release: str) -> None:
    text = "1 pool(s) have no replicas configured"
    lab.switch(ceph=release, health={"POOL_NO_REDUNDANCY": text})
    accept = "no replicas" if release == "icehouse" else "POOL_NO_REDUNDANCY"
    hook = lab.hook("ceph", ceph=CephTable(accept=(accept,)))
    assert [one for one in hook.find([TWO]) if one.severity == "error"] == []
    assert states(hook.before([TWO])) == {"node002": "done"}
    lab.boot("node002")
    assert states(hook.after([TWO])) == {"node002": "done"}
    lab.switch(ceph=release, health={"POOL_NO_REDUNDANCY": text}, errors=("POOL_NO_REDUNDANCY",))
    assert states(hook.before([TWO])) == {"node002": "wait"}


@AT_BOTH_ENDS
def test_an_osd_that_stays_down_keeps_its_host_and_all_others(lab: ServicesLab, release: str) -> None:
    hook = lab.hook("ceph")
    lab.switch(ceph=release)
    hook.before([TWO])
    lab.switch(ceph=release, stuck=(1,))
    lab.boot("node002")
    answer = hook.after([TWO])["node002"]
    assert answer.state == "wait" and "osd.1 not up" in answer.why and "osd.0" not in answer.why.split(";")[0]
    assert states(hook.before([THREE])) == {"node003": "wait"}
    assert noout(lab) != ([], [])


@AT_BOTH_ENDS
def test_a_placement_group_that_never_is_clean_keeps_it(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release)
    hook = lab.hook("ceph")
    hook.before([TWO])
    lab.switch(ceph=release, unclean=1)
    lab.boot("node002")
    assert "1 active+remapped+backfill_wait" in hook.after([TWO])["node002"].why
    assert noout(lab) != ([], [])


@AT_BOTH_ENDS
def test_with_its_noout_taken_back_it_waits_for_the_health(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release)
    hook = lab.hook("ceph")
    hook.before([TWO])
    lab.boot("node002")
    lab.switch(ceph=release, health={"MON_DOWN": "1/3 mons down"})
    for _ in range(2):
        answer = hook.after([TWO])["node002"]
        assert answer.state == "wait" and "1/3 mons down" in answer.why
        assert noout(lab) == ([], [])
    assert states(hook.before([THREE])) == {"node003": "wait"}
    lab.switch(ceph=release)
    assert states(hook.after([TWO])) == {"node002": "done"}


@HAVE_OK_TO_STOP
def test_osds_that_ceph_can_not_do_without_stay(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release)
    both = Node("node002", "compute", osds=(0, 2))
    hook = lab.hook("ceph")
    (found,) = hook.find([both])
    assert (found.severity, found.where) == ("error", "node002")
    answer = hook.before([both])["node002"]
    assert answer.state == "wait" and answer.why.startswith("Ceph can't do without its OSDs: ")
    assert "PGs" in answer.why or "37 placement groups" in answer.why
    assert noout(lab) == ([], [])


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "[]",
        "{}",
        "<html>",
        '{"ok_to_stop": "false"}',
        '{"ok_to_stop": 1}',
        "[" * 10_000,
        "OSD(s) 0 are ok",
    ],
    ids=["nothing", "list", "object", "page", "word", "number", "deep", "other words"],
)
def test_only_a_clear_answer_lets_osds_be_stopped(lab: ServicesLab, answer: str) -> None:
    _answers(lab, answer)
    (found,) = lab.hook("ceph").find([TWO])
    assert found.severity == "error" and "ok-to-stop 0 1 -f json gave an answer that is not" in found.what
    with pytest.raises(PipelineError, match="is not understood"):
        lab.hook("ceph").before([TWO])
    assert noout(lab) == ([], [])


@pytest.mark.parametrize("where", ["", " >&2"], ids=["output", "errors"])
def test_the_plain_words_of_luminous_are_known_on_either_output(lab: ServicesLab, where: str) -> None:
    _answers(lab, "OSD(s) 0,1 are ok to stop without reducing availability or risking data", where)
    assert states(lab.hook("ceph").before([TWO])) == {"node002": "done"}


def test_what_may_be_stopped_and_ends_with_an_error_may_not(lab: ServicesLab) -> None:
    _answers(lab, '{"ok_to_stop": true}', "; exit 1")
    with pytest.raises(PipelineError, match="exit code 1"):
        lab.hook("ceph").before([TWO])


def _answers(lab: ServicesLab, answer: str, more: str = "", word: str = "ok-to-stop") -> None:
    """From now on ``ceph osd WORD``, or ``ceph WORD``, says this; all else is as ever."""
    program = lab.directory / "bin/ceph"
    first, rest = program.read_text().split("\n", 1)
    says = f"case $1,$2 in {word},*|osd,{word}) echo '{answer}'{more}; exit ;; esac"
    program.write_text(f"{first}\n{says}\n{rest}")


def test_a_release_without_ok_to_stop_says_so_and_goes_by_the_placement_groups(lab: ServicesLab) -> None:
    lab.switch(ceph="icehouse")
    hook = lab.hook("ceph")
    (found,) = hook.find([TWO])
    assert (found.severity, 'no "osd ok-to-stop"' in found.what) == ("warning", True)
    notes = hook.before([TWO])["node002"].notes
    assert [words in note for words, note in zip(("can't tell", "for all OSDs only"), notes, strict=True)]


@AT_BOTH_ENDS
def test_a_host_that_is_down_already_may_be_taken_and_comes_back(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release)
    lab.is_down("node002")
    hook = lab.hook("ceph")
    assert {one.severity for one in hook.find([TWO, THREE])} == {"warning"}
    assert {one.severity for one in hook.find([THREE])} >= {"error"}
    assert states(hook.before([THREE])) == {"node003": "wait"}
    assert states(hook.before([TWO])) == {"node002": "done"}
    lab.is_up("node002")
    assert states(hook.after([TWO])) == {"node002": "done"}
    assert noout(lab) == ([], [])


@EVERY_RELEASE
def test_only_the_way_that_was_used_is_taken_back(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release)
    if release != "icehouse":
        lab.change(lambda now: [now["osds"][number].update(noout=True) for number in "01"])
    hook = lab.hook("ceph")
    hook.before([TWO])
    lab.boot("node002")
    if release != "icehouse":
        lab.run("ceph", "osd", "set", "noout")
    there = ([], []) if release == "icehouse" else (["noout"], ["0", "1"])
    assert states(hook.after([TWO])) == {"node002": "done"}
    assert noout(lab) == there


@EVERY_RELEASE
def test_a_host_that_was_taken_is_asked_for_again_by_how_ceph_is_now(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release)
    for _ in range(3):
        assert states(lab.hook("ceph").before([TWO])) == {"node002": "done"}
    set_by_us = noout(lab)
    lab.switch(ceph=release, unclean=3)
    answer = lab.hook("ceph").before([TWO])["node002"]
    assert (answer.state, "3 active+remapped+backfill_wait" in answer.why) == ("wait", True)
    lab.switch(ceph=release)
    lab.is_down("node003")
    assert "osd.2, osd.3 are down" in lab.hook("ceph").before([TWO])["node002"].why
    assert noout(lab) == set_by_us
    lab.is_down("node002")
    assert states(lab.hook("ceph").before([TWO])) == {"node002": "done"}
    lab.boot("node002")
    lab.boot("node003")
    assert states(lab.hook("ceph").after([TWO])) == {"node002": "done"}
    assert noout(lab) == ([], [])


@HAVE_OK_TO_STOP
def test_a_host_goes_back_with_an_osd_and_a_monitor_that_did_not_come_up(
    lab: ServicesLab, release: str
) -> None:
    unwell = {"health": {"MON_DOWN": "1/3 mons down"}}
    lab.switch(ceph=release)
    lab.hook("ceph").before([TWO])
    lab.switch(ceph=release, stuck=(1,), **unwell)
    lab.boot("node002")
    assert states(lab.hook("ceph").before([TWO])) == {"node002": "done"}
    assert states(lab.hook("ceph", number=13).before([TWO])) == {"node002": "wait"}
    assert states(lab.hook("ceph").leave([TWO])) == {"node002": "done"}
    assert noout(lab) == ([], [])
    assert states(lab.hook("ceph").before([TWO])) == {"node002": "done"}
    assert noout(lab) == ([], ["0", "1"])
    assert states(lab.hook("ceph").after([TWO])) == {"node002": "wait"}
    lab.switch(ceph=release, out_seconds=0)
    lab.boot("node002")
    assert states(lab.hook("ceph").after([TWO])) == {"node002": "done"}
    assert noout(lab) == ([], [])


def test_a_host_that_was_left_is_not_waited_for_when_it_never_went_again(lab: ServicesLab) -> None:
    lab.hook("ceph").before([TWO])
    lab.is_down("node002")
    lab.hook("ceph").leave([TWO])
    lab.is_down("node003")
    assert states(lab.hook("ceph").after([TWO])) == {"node002": "done"}


def test_osds_that_ceph_does_not_list_are_no_reason_to_go(lab: ServicesLab) -> None:
    kept = lab.now()["osds"]
    lab.change(lambda now: [now["osds"].pop(number) for number in "01"])
    answer = lab.hook("ceph").before([TWO])["node002"]
    assert (answer.state, answer.why) == ("wait", "Ceph doesn't list osd.0, osd.1")
    lab.change(lambda now: now.update(osds=kept))
    assert states(lab.hook("ceph").before([TWO])) == {"node002": "done"}


@AT_BOTH_ENDS
def test_a_host_that_stays_failed_keeps_no_noout_and_the_next_goes_when_data_is_elsewhere(
    lab: ServicesLab, release: str
) -> None:
    lab.switch(ceph=release)
    hook = lab.hook("ceph")
    hook.before([TWO])
    lab.is_down("node002")
    answer = hook.leave([TWO])["node002"]
    assert answer.state == "done" and answer.notes
    assert noout(lab) == ([], [])
    assert states(hook.leave([TWO])) == {"node002": "done"}
    assert states(hook.before([THREE])) == {"node003": "wait"}
    lab.switch(ceph=release, out_seconds=0)
    lab.run("ceph", "status")
    assert states(hook.before([THREE])) == {"node003": "done"}


def test_noout_that_can_not_be_taken_back_is_told_with_its_command(lab: ServicesLab) -> None:
    hook = lab.hook("ceph")
    hook.before([TWO])
    lab.switch(silent=("ceph",))
    answer = hook.leave([TWO])["node002"]
    stays = "noout stays until this is run: ceph osd unset-group noout osd.0 osd.1; "
    assert answer.state == "wait" and answer.why.startswith(stays)
    lab.switch()
    assert states(hook.leave([TWO])) == {"node002": "done"} and noout(lab) == ([], [])


def test_what_another_rollout_left_is_told_and_taken_over_with_its_node(lab: ServicesLab) -> None:
    lab.hook("ceph", number=12).before([TWO])
    later = lab.hook("ceph", number=13)
    (found,) = later.find([THREE])
    assert (found.severity, found.where) == ("error", "node002")
    assert found.command == "ceph osd unset-group noout osd.0 osd.1"
    (found,) = later.find([TWO, THREE])
    assert (found.severity, found.where) == ("error", "node002")
    assert found.command == f"pipeline rollout start {lab.folder.parent.name} --nodes node002"
    assert later.find([TWO]) == [] and lab.hook("ceph", number=12).find([THREE, TWO]) == []
    assert states(later.before([TWO])) == {"node002": "done"}
    assert states(later.after([TWO])) == {"node002": "done"}
    assert noout(lab) == ([], [])


@AT_BOTH_ENDS
def test_a_host_that_is_down_already_waits_for_no_other_one(lab: ServicesLab, release: str) -> None:
    lab.switch(ceph=release)
    lab.hook("ceph").before([TWO])
    assert states(lab.hook("ceph").before([THREE])) == {"node003": "wait"}
    lab.is_down("node003")
    assert states(lab.hook("ceph").before([THREE])) == {"node003": "done"}
    lab.boot("node003")
    assert states(lab.hook("ceph").after([THREE, TWO])) in (
        {"node002": "done", "node003": "done"},
        {"node002": "done", "node003": "wait"},
    )
    assert states(lab.hook("ceph").after([THREE])) == {"node003": "done"}
    assert noout(lab) == ([], [])


def test_a_node_that_never_went_has_nothing_to_be_undone(lab: ServicesLab) -> None:
    lab.switch(unclean=2)
    hook = lab.hook("ceph")
    assert states(hook.before([TWO])) == {"node002": "wait"}
    assert states(hook.after([TWO])) == {"node002": "done"}
    assert states(hook.leave([TWO])) == {"node002": "done"}


def test_a_ceph_that_is_silent_is_told_and_asked_again(lab: ServicesLab) -> None:
    lab.switch(silent=("ceph",))
    hook = lab.hook("ceph")
    (found,) = hook.find([TWO])
    assert found.severity == "error" and "error connecting to the cluster" in found.what
    with pytest.raises(PipelineError, match="error connecting to the cluster"):
        hook.before([TWO])


@pytest.mark.parametrize(
    "answer",
    ["", "[]", "{}", '{"health": 1}', "not JSON", "[" * 10_000],
    ids=["nothing", "list", "object", "number", "words", "deep"],
)
def test_an_answer_that_nobody_knows_is_told(lab: ServicesLab, answer: str) -> None:
    program = lab.directory / "bin/ceph"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    (found,) = lab.hook("ceph").find([TWO])
    assert "is not understood" in found.what


def test_the_osds_of_nodes_are_found_by_their_hosts(lab: ServicesLab) -> None:
    hosts = osds_of(lab.head)
    assert hosts == {"node002": (0, 1), "node003": (2, 3)}
    full = {f"{name}.cluster": osds for name, osds in hosts.items()}
    assert [osds_on(name, full) for name in ("node002", "node003.eth", "node001")] == [(0, 1), (2, 3), ()]


def put_below(lab: ServicesLab, number: str, bucket: str) -> None:
    lab.change(lambda now: now["osds"][number].update(bucket=bucket))


@EVERY_RELEASE
def test_osds_below_another_name_are_found_by_the_machine_on_which_they_run(
    lab: ServicesLab, release: str
) -> None:
    lab.switch(ceph=release)
    put_below(lab, "0", "node002-ssd")
    put_below(lab, "1", "node002-sata")
    put_below(lab, "3", "node003-ssd")
    hosts = osds_of(lab.head)
    names = ["node001", "node002", "node003"]
    if release == "icehouse":  # it doesn't tell where they run
        assert [osds_on(name, hosts) for name in names] == [(), (), (2,)]
        assert strange_hosts(names, hosts) == {
            "node002-sata": "node002",
            "node002-ssd": "node002",
            "node003-ssd": "node003",
        }
        assert strange_hosts([*names, "node002-ssd"], hosts).keys() == {"node002-sata", "node003-ssd"}
    else:
        assert [osds_on(name, hosts) for name in names] == [(), (0, 1), (2, 3)]
        assert strange_hosts(names, hosts) == {}


def test_only_hosts_with_osds_are_asked_for(lab: ServicesLab) -> None:
    hook = lab.hook("ceph")
    assert [hook.applies(node) for node in (TWO, msgspec.structs.replace(TWO, osds=()))] == [True, False]
    steps = hook.steps(TWO)
    assert "ceph osd ok-to-stop 0 1 -f json" in steps
    assert "after: ceph osd unset-group noout osd.0 osd.1" in steps


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("dump", '{"osds": [{"osd": 1e999, "up": 1, "in": 1}]}'),
        ("dump", '{"osds": [{"osd": 0, "up": "0", "in": 1}]}'),
        ("dump", '{"osds": [{"osd": 0, "up": 1, "in": "false"}]}'),
        ("status", '{"health": {"status": "HEALTH_OK"}, "pgmap": {"num_pgs": 1e999}}'),
    ],
)
def test_a_number_that_is_none_is_told(lab: ServicesLab, word: str, answer: str) -> None:
    _answers(lab, answer, word=word)
    (found,) = lab.hook("ceph").find([TWO])
    assert "is not understood" in found.what
    with pytest.raises(PipelineError, match="is not understood"):
        lab.hook("ceph").before([TWO])


def test_a_host_of_which_osds_are_no_numbers_is_told(lab: ServicesLab) -> None:
    _answers(lab, '{"nodes": [{"name": "node002", "type": "host", "children": [1e999]}]}', word="tree")
    with pytest.raises(PipelineError, match="is not understood"):
        osds_of(lab.head)


@pytest.mark.parametrize(
    "file", [b"{", b"[]", b'{"a": {"b": "\xff"}}', b"[" * 100_000], ids=["torn", "list", "no text", "deep"]
)
def test_a_damaged_note_is_told(lab: ServicesLab, file: bytes) -> None:
    lab.folder.mkdir()
    (lab.folder / "ceph.json").write_bytes(file)
    with pytest.raises(PipelineError, match="can't be read"):
        lab.hook("ceph").before([TWO])
