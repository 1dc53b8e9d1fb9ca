"""Hypervisors, by both clients: disabled for our reason, enabled again only if it is ours, guests told."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.cluster.head import Head
from pipeline.cluster.rollout_written import NovaTable
from pipeline.errors import PipelineError
from pipeline.rollout.model import Node
from tests.integration.hooks.services_lab import ONE, THREE, TWO, ServicesLab, killed_everywhere, states

GUEST = {"id": "8b1c", "name": "mpi-1", "host": "node002", "status": "ACTIVE"}

BOTH_CLIENTS = pytest.mark.parametrize("client", ["openstack", "nova"])


def with_client(lab: ServicesLab, client: str) -> ServicesLab:
    """A head node where only this client is installed."""
    other = {"openstack": "nova", "nova": "openstack"}[client]
    (lab.directory / "bin" / other).unlink()
    return lab


def compute(lab: ServicesLab, host: str) -> tuple[bool, str]:
    one = lab.now()["computes"][host]
    return one["disabled"], one["reason"]


@BOTH_CLIENTS
def test_a_host_is_disabled_and_enabled_when_its_compute_is_up_again(lab: ServicesLab, client: str) -> None:
    hook = with_client(lab, client).hook("nova")
    everyone = [ONE, TWO, THREE]
    assert hook.find(everyone) == []
    assert set(states(hook.before(everyone)).values()) == {"done"}
    assert compute(lab, "node002") == compute(lab, "node003") == (True, "pipeline rollout 12")
    assert set(states(hook.before(everyone)).values()) == {"done"}
    lab.is_down("node002")
    assert states(hook.after(everyone)) == {"node001": "done", "node002": "wait", "node003": "done"}
    assert compute(lab, "node002") == (True, "pipeline rollout 12")
    assert compute(lab, "node003") == (False, "")
    lab.is_up("node002")
    for _ in range(2):
        assert set(states(hook.after(everyone)).values()) == {"done"}
    assert compute(lab, "node002") == (False, "")


@BOTH_CLIENTS
@pytest.mark.parametrize("reason", ["bad DIMM", "pipeline rollout is broken here, do not enable - Joe"])
def test_what_somebody_else_disabled_stays_disabled(lab: ServicesLab, client: str, reason: str) -> None:
    hook = with_client(lab, client).hook("nova")
    lab.change(lambda now: now["computes"].update(node002={"disabled": True, "reason": reason}))
    answer = hook.before([TWO])["node002"]
    note = f"Nova has it disabled, not by a rollout, and it stays so: {reason}"
    assert (answer.state, answer.notes) == ("done", (note,))
    assert hook.after([TWO])["node002"].notes == (note,)
    assert compute(lab, "node002") == (True, reason)


def test_what_a_rollout_disabled_that_is_not_known_here_stays_disabled(lab: ServicesLab) -> None:
    hook = lab.hook("nova")
    lab.change(lambda now: now["computes"].update(node002={"disabled": True, "reason": "pipeline rollout 7"}))
    for answers in (hook.before([TWO]), hook.after([TWO])):
        (note,) = answers["node002"].notes
        assert note.endswith("nova.json, and it stays so: pipeline rollout 7")
    assert compute(lab, "node002") == (True, "pipeline rollout 7")


@BOTH_CLIENTS
def test_a_disabled_host_that_nova_does_not_list_is_waited_for(lab: ServicesLab, client: str) -> None:
    hook = with_client(lab, client).hook("nova")
    hook.before([ONE, TWO, THREE])
    kept = lab.now()["computes"]["node002"]
    lab.change(lambda now: now["computes"].pop("node002"))
    for answers in (hook.before([ONE, TWO, THREE]), hook.after([ONE, TWO, THREE])):
        assert states(answers) == {"node001": "done", "node002": "wait", "node003": "done"}
        assert "Nova doesn't list its nova-compute" in answers["node002"].why
    lab.change(lambda now: now["computes"].update(node002=kept))
    assert states(lab.hook("nova").after([TWO])) == {"node002": "done"}
    assert compute(lab, "node002") == (False, "")
    lab.change(lambda now: now["computes"].clear())
    assert set(states(lab.hook("nova").after([TWO, THREE])).values()) == {"done"}


def test_a_host_that_was_given_back_is_disabled_again(lab: ServicesLab) -> None:
    hook = lab.hook("nova")
    for _ in range(2):
        assert states(hook.before([TWO])) == {"node002": "done"}
        assert compute(lab, "node002")[0]
        assert states(hook.after([TWO])) == {"node002": "done"}
        assert compute(lab, "node002") == (False, "")


@BOTH_CLIENTS
@pytest.mark.parametrize(("guests", "state"), [("report", "done"), ("wait", "wait"), ("refuse", "no")])
def test_guests_are_reported_waited_for_or_refused(
    lab: ServicesLab, client: str, guests: str, state: str
) -> None:
    with_client(lab, client)
    lab.change(lambda now: now["guests"].append(GUEST))
    hook = lab.hook("nova", nova=NovaTable(guests=guests))  # type: ignore[arg-type]
    (found,) = hook.find([TWO, THREE])
    assert (found.severity, found.where) == ("error" if guests == "refuse" else "warning", "node002")
    answers = hook.before([TWO, THREE])
    assert states(answers) == {"node002": state, "node003": "done"}
    told = answers["node002"].why or " ".join(answers["node002"].notes)
    assert "mpi-1 (ACTIVE)" in told
    assert compute(lab, "node002")[0] is (guests != "refuse")
    lab.change(lambda now: now["guests"].clear())
    assert states(hook.before([TWO])) == {"node002": "done"}


@BOTH_CLIENTS
def test_missing_credentials_are_told_before_anything(lab: ServicesLab, client: str) -> None:
    with_client(lab, client).switch(credentials=True)
    (found,) = lab.hook("nova").find([TWO])
    assert found.severity == "error" and "openrc of [rollout.nova]" in found.hint
    with pytest.raises(PipelineError):
        lab.hook("nova").before([TWO])
    openrc = lab.directory / "root/root/openrc.sh"
    openrc.parent.mkdir()
    openrc.write_text("export OS_AUTH_URL=http://masterdoop:5000/v2.0 OS_USERNAME=admin OS_PASSWORD=x\n")
    hook = lab.hook("nova", nova=NovaTable(openrc="/root/openrc.sh"))
    assert hook.find([TWO]) == []
    assert states(hook.before([TWO])) == {"node002": "done"}
    (missing,) = lab.hook("nova", nova=NovaTable(openrc="/root/none.sh")).find([TWO])
    assert "none.sh" in missing.what


def test_a_cloud_of_clouds_yaml_can_be_named(lab: ServicesLab) -> None:
    lab.switch(credentials=True)
    assert lab.hook("nova", nova=NovaTable(cloud="lab")).find([TWO]) == []
    (found,) = lab.hook("nova", nova=NovaTable(cloud="other")).find([TWO])
    assert "Cloud other was not found." in found.what


def test_killed_at_any_program_it_is_enabled_in_the_end(tmp_path: Path) -> None:
    numbers = itertools.count()

    def before(lab: ServicesLab, head: Head | None) -> None:
        assert states(lab.hook("nova", head=head).before([TWO])) == {"node002": "done"}
        assert compute(lab, "node002")[0]

    def after(lab: ServicesLab, head: Head | None) -> None:
        assert states(lab.hook("nova", head=head).after([TWO])) == {"node002": "done"}

    for lab in killed_everywhere(lambda: ServicesLab(tmp_path / str(next(numbers))), [before, after]):
        assert compute(lab, "node002") == (False, "")


def test_a_host_that_stays_failed_gets_no_guests_until_a_later_rollout_releases_it(lab: ServicesLab) -> None:
    lab.hook("nova").before([TWO])
    answer = lab.hook("nova").leave([TWO])["node002"]
    assert (answer.state, answer.notes) == ("done", ("it stays disabled in Nova: pipeline rollout 12",))
    later = lab.hook("nova", number=13)
    assert later.before([TWO])["node002"].notes == ()
    later.after([TWO])
    assert compute(lab, "node002") == (False, "")


def test_one_host_that_nova_refuses_keeps_no_other(lab: ServicesLab) -> None:
    program = lab.directory / "bin/openstack"
    real = program.rename(program.with_name("openstack.real"))
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--disable*node002*) echo no >&2; exit 1;; esac\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    answers = lab.hook("nova").before([TWO, THREE])
    assert states(answers) == {"node002": "wait", "node003": "done"}
    assert answers["node002"].why.endswith("ended with exit code 1: no")


def test_nodes_without_a_compute_and_virtual_ones_are_not_nova_s(lab: ServicesLab) -> None:
    hook = lab.hook("nova", nova=NovaTable(categories=("openstack-compute-hosts",)))
    virtual = Node("vnode001", "openstack-compute-hosts", is_virtual=True)
    assert [hook.applies(node) for node in (ONE, TWO, virtual)] == [False, True, False]
    (found,) = lab.hook("nova").find([ONE])
    assert found.severity == "warning" and found.what == "Nova: the node has no nova-compute"
    (found,) = lab.hook("nova").find([ONE, replace(ONE, name="node009")])
    assert found.what == "Nova: none of 2 nodes has a nova-compute"
    assert states(lab.hook("nova").before([ONE])) == {"node001": "done"}


def test_hosts_are_known_with_their_domain(lab: ServicesLab) -> None:
    lab.change(lambda now: now.update(computes={"node002.cluster": {"disabled": False, "reason": ""}}))
    assert states(lab.hook("nova").before([TWO])) == {"node002": "done"}
    assert compute(lab, "node002.cluster")[0]


def test_the_steps_are_the_commands_that_will_be_run(lab: ServicesLab) -> None:
    first, *_, last = lab.hook("nova").steps(TWO)
    assert first == (
        "openstack compute service set --disable --disable-reason 'pipeline rollout 12' node002 nova-compute"
    )
    assert last == "after: openstack compute service set --enable node002 nova-compute"
    for program in ("nova", "openstack"):
        (lab.directory / "bin" / program).unlink()
    (told,) = lab.hook("nova").steps(TWO)
    assert "neither openstack nor nova" in told
