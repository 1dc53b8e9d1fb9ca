"""Slurm's nodes: drained, waited for, resumed if it was a rollout that drained them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster.head import Head
from pipeline.cluster.rollout_written import SlurmTable
from pipeline.errors import PipelineError
from pipeline.rollout.parts import Answer
from tests.integration.hooks.services_lab import ONE, THREE, TWO, ServicesLab, killed_everywhere, states

EVERYONE = [ONE, TWO, THREE]


def sinfo(lab: ServicesLab) -> list[str]:
    return lab.run("sinfo", "-h", "-N", "-o", "%N|%T|%E").out.splitlines()


def job(ends: float = 0.0) -> dict[str, Any]:
    return {"id": "1234", "user": "alice", "nodes": ["node002", "node003"], "ends": ends}


def stays(state: str) -> str:
    return f"Slurm has it {state}, not by a rollout, and it stays so: bad DIMM"


def test_nodes_are_drained_by_one_call_and_resumed_by_one(lab: ServicesLab) -> None:
    hook = lab.hook("slurm")
    assert hook.find([TWO, THREE]) == []
    for _ in range(2):
        assert set(states(hook.before(EVERYONE)).values()) == {"done"}
    assert sinfo(lab) == ["node002|drained|pipeline rollout 12", "node003|drained|pipeline rollout 12"]
    for _ in range(2):
        assert set(states(hook.after(EVERYONE)).values()) == {"done"}
    assert sinfo(lab) == ["node002|idle|none", "node003|idle|none"]
    assert len(lab.ran("scontrol")) == 2


def test_it_waits_for_jobs_and_names_them(lab: ServicesLab) -> None:
    lab.change(lambda now: now["jobs"].append(job()))
    hook = lab.hook("slurm")
    answers = hook.before([TWO])
    assert (answers["node002"].state, answers["node002"].why) == (
        "wait",
        "Slurm: jobs run on it: 1234 of alice",
    )
    assert sinfo(lab)[0] == "node002|draining|pipeline rollout 12"
    lab.change(lambda now: now["jobs"].clear())
    assert states(hook.before([TWO])) == {"node002": "done"}


def test_what_somebody_else_drained_stays_so_and_is_waited_for(lab: ServicesLab) -> None:
    lab.run("scontrol", "update", "nodename=node002", "state=drain", "reason=bad DIMM")
    lab.change(lambda now: now["jobs"].append(job()))
    hook = lab.hook("slurm")
    assert states(hook.before([TWO])) == {"node002": "wait"}
    lab.change(lambda now: now["jobs"].clear())
    answer = hook.before([TWO])["node002"]
    assert answer.notes == (stays("drained"),)
    assert states(hook.after([TWO])) == {"node002": "done"}
    assert sinfo(lab)[0] == "node002|drained|bad DIMM"
    assert len(lab.ran("scontrol")) == 1


@pytest.mark.parametrize("state", ["down", "fail"])
def test_what_somebody_has_taken_out_of_service_is_never_put_into_it(lab: ServicesLab, state: str) -> None:
    lab.run("scontrol", "update", "nodename=node002", f"state={state}", "reason=bad DIMM")
    hook = lab.hook("slurm")
    (found,) = hook.find([TWO, THREE])
    assert (found.severity, found.where, found.what) == ("warning", "node002", stays(state))
    for answers in (hook.before([TWO, THREE]), hook.before([TWO]), hook.after([TWO, THREE])):
        assert answers["node002"] == Answer("done", notes=(stays(state),))
        assert sinfo(lab)[0] == f"node002|{state}|bad DIMM"
    assert sinfo(lab)[1] == "node003|idle|none"


@pytest.mark.parametrize("state", ["down", "drain"])
def test_what_somebody_takes_out_of_service_meanwhile_stays_so(lab: ServicesLab, state: str) -> None:
    hook = lab.hook("slurm")
    hook.before([TWO])
    lab.run("scontrol", "update", "nodename=node002", "state=resume")
    lab.run("scontrol", "update", "nodename=node002", f"state={state}", "reason=bad DIMM")
    theirs = sinfo(lab)[0]
    assert states(hook.before([TWO])) == states(hook.after([TWO])) == {"node002": "done"}
    assert sinfo(lab)[0] == theirs


def test_a_node_that_was_given_back_is_drained_again(lab: ServicesLab) -> None:
    hook = lab.hook("slurm")
    for _ in range(2):
        assert states(hook.before([TWO])) == {"node002": "done"}
        assert sinfo(lab)[0] == "node002|drained|pipeline rollout 12"
        assert states(hook.after([TWO])) == {"node002": "done"}
        assert sinfo(lab)[0] == "node002|idle|none"


def test_a_drained_node_that_slurm_does_not_list_is_waited_for(lab: ServicesLab) -> None:
    hook = lab.hook("slurm")
    hook.before([TWO, THREE])
    slots = lab.now()["slots"]
    lab.change(lambda now: now["slots"].pop("node002"))
    for answers in (hook.before([TWO, THREE]), hook.after([TWO, THREE])):
        assert states(answers) == {"node002": "wait", "node003": "done"}
        assert "sinfo doesn't list it" in answers["node002"].why
    lab.change(lambda now: now["slots"].update(node002=slots["node002"]))
    assert states(lab.hook("slurm").after([TWO])) == {"node002": "done"}
    assert sinfo(lab) == ["node002|idle|none", "node003|idle|none"]


def test_it_is_resumed_only_when_its_slurmd_answers(lab: ServicesLab) -> None:
    hook = lab.hook("slurm")
    hook.before([TWO, THREE])
    lab.is_down("node002")
    assert states(hook.after([TWO, THREE])) == {"node002": "wait", "node003": "done"}
    assert sinfo(lab) == ["node002|drained*|pipeline rollout 12", "node003|idle|none"]
    lab.boot("node002")
    assert states(hook.after([TWO, THREE])) == {"node002": "done", "node003": "done"}
    assert sinfo(lab) == ["node002|idle|none", "node003|idle|none"]


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize(
    ("reason", "is_ours"),
    [
        ("Node unexpectedly rebooted", True),
        ("bad DIMM", False),
        ("pipeline rollout is broken here - Joe", False),
    ],
)
def test_a_reason_that_slurm_put_in_our_place_is_ours_and_no_other_one(
    lab: ServicesLab, reason: str, is_ours: bool, drain: bool
) -> None:
    hook = lab.hook("slurm")
    hook.before([TWO])
    lab.is_down("node002")
    lab.change(lambda now: now["slots"]["node002"].update(drain=drain, down=True, reason=reason))
    lab.boot("node002")
    left = f"node002|{'drained' if drain else 'down'}|{'Node unexpectedly rebooted' if not drain else reason}"
    assert sinfo(lab)[0] == left
    assert states(hook.after([TWO])) == {"node002": "done"}
    assert sinfo(lab)[0] == ("node002|idle|none" if is_ours or not drain else left)


def test_killed_at_any_program_it_is_resumed_in_the_end(tmp_path: Path) -> None:
    numbers = itertools.count()

    def before(lab: ServicesLab, head: Head | None) -> None:
        assert states(lab.hook("slurm", head=head).before([TWO])) == {"node002": "done"}
        assert sinfo(lab)[0].startswith("node002|drained|")

    def after(lab: ServicesLab, head: Head | None) -> None:
        assert states(lab.hook("slurm", head=head).after([TWO])) == {"node002": "done"}

    for lab in killed_everywhere(lambda: ServicesLab(tmp_path / str(next(numbers))), [before, after]):
        assert sinfo(lab)[0] == "node002|idle|none"


def test_a_node_that_stays_failed_gets_no_jobs_until_a_later_rollout_releases_it(lab: ServicesLab) -> None:
    lab.hook("slurm").before([TWO])
    answer = lab.hook("slurm").leave([TWO])["node002"]
    assert (answer.state, answer.notes) == ("done", ("it stays drained in Slurm: pipeline rollout 12",))
    later = lab.hook("slurm", number=13)
    assert later.before([TWO])["node002"].notes == ()
    later.after([TWO])
    assert sinfo(lab)[0] == "node002|idle|none"


def test_a_node_that_is_down_is_drained_so_that_no_job_comes_before_it_is_released(lab: ServicesLab) -> None:
    lab.is_down("node002")
    assert states(lab.hook("slurm").before([TWO])) == {"node002": "done"}
    lab.boot("node002")
    assert sinfo(lab)[0] == "node002|drained|pipeline rollout 12"


def test_a_slurm_that_is_silent_is_told(lab: ServicesLab) -> None:
    lab.switch(silent=("slurm",))
    (found,) = lab.hook("slurm").find([TWO])
    assert found.severity == "error" and "Unable to contact slurm controller" in found.what
    with pytest.raises(PipelineError):
        lab.hook("slurm").before([TWO])


def test_nodes_that_are_none_of_slurm_s(lab: ServicesLab) -> None:
    hook = lab.hook("slurm", slurm=SlurmTable(nodes="node[002-003]"))
    assert [hook.applies(node) for node in EVERYONE] == [False, True, True]
    (found,) = lab.hook("slurm").find(EVERYONE)
    assert (found.severity, found.where) == ("warning", "node001")
    assert found.what == "Slurm has no node of this name: it is not drained, and jobs there are lost"
    (note,) = lab.hook("slurm").before([ONE])["node001"].notes
    assert note == "Slurm: sinfo doesn't list it: it was not drained"
    assert "scontrol update nodename=node002 state=drain 'reason=pipeline rollout 12'" in hook.steps(TWO)
