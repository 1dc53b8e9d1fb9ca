"""A site's own programs: what they are told, and what their exit codes mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cluster.rollout_written import CommandTable
from pipeline.errors import MachineError
from pipeline.rollout.parts import Hook
from tests.integration.hooks.services_lab import ONE, THREE, TWO, ServicesLab, states

TELL = ("sh", "-c", 'echo "$0 $ROLLOUT_NODES $ROLLOUT_NODE $ROLLOUT_REASON" >> "$1"; exit "$2"')


def hook(lab: ServicesLab, **table: object) -> Hook:
    return lab.hook("tell", command=(CommandTable("tell", **table),))  # type: ignore[arg-type]


@pytest.mark.parametrize(("code", "state"), [("0", "done"), ("75", "wait"), ("1", "no"), ("126", "no")])
def test_it_runs_once_for_all_and_its_exit_code_is_the_answer(
    lab: ServicesLab, tmp_path: Path, code: str, state: str
) -> None:
    file = str(tmp_path / "told")
    found = hook(lab, before=(*TELL, "b", file, code), after=(*TELL, "a", file, code))
    assert set(states(found.before([ONE, TWO, THREE])).values()) == {state}
    assert set(states(found.after([ONE, THREE])).values()) == {state}
    told = Path(file).read_text().splitlines()
    assert told == [
        "b node[001-003]  pipeline rollout 12",
        "a node[001,003]  pipeline rollout 12",
    ]


def test_each_node_can_have_its_own_run_and_answer(lab: ServicesLab) -> None:
    script = 'echo "not $ROLLOUT_NODE" >&2; [ "$ROLLOUT_NODE" = node001 ] || exit 75'
    answers = hook(lab, before=("sh", "-c", script), each=True).before([ONE, TWO])
    assert states(answers) == {"node001": "done", "node002": "wait"}
    assert answers["node002"].why == "tell: not node002"


def test_nodes_that_stay_failed_have_a_command_of_their_own(lab: ServicesLab, tmp_path: Path) -> None:
    found = hook(lab, leave=(*TELL, "left", str(tmp_path / "told"), "0"))
    assert set(states({**found.before([TWO]), **found.after([TWO])}).values()) == {"done"}
    assert not (tmp_path / "told").exists()
    found.leave([TWO])
    assert (tmp_path / "told").read_text() == "left node002  pipeline rollout 12\n"


def test_what_it_finds_is_told_before_anything(lab: ServicesLab) -> None:
    assert hook(lab, find=("true",), before=("true",)).find([TWO]) == []
    (found,) = hook(lab, find=("sh", "-c", "echo first; echo the licence ends; exit 1")).find([TWO])
    assert found.severity == "error" and found.what.endswith("says no: the licence ends")
    assert found.command.startswith("env ROLLOUT_NODES=node002 ")


def test_a_program_that_is_not_there_is_told_before_anything(lab: ServicesLab) -> None:
    found = hook(lab, before=("true",), after=("no-such-program", "x"))
    (told,) = found.find([TWO])
    assert told.what.endswith("no program no-such-program")
    with pytest.raises(MachineError, match="no-such-program"):
        found.after([TWO])


def test_the_steps_say_what_will_be_run(lab: ServicesLab) -> None:
    found = hook(lab, before=("wall", "soon"), after=("wall", "back"), leave=("page", "ops"))
    env = "env ROLLOUT_NODES=node002 'ROLLOUT_REASON=pipeline rollout 12'"
    assert found.steps(TWO) == (f"{env} wall soon", f"after: {env} wall back", f"if it fails: {env} page ops")
