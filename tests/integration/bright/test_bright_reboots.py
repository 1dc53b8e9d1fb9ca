"""No healthy node loses its power, and no willing one is told to have refused, whatever its neighbours do."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from pipeline.cluster.drivers.bright.nodes import BrightNodes
from pipeline.cluster.drivers.bright.ranges import folded
from pipeline.cluster.head import Ran
from pipeline.errors import MachineError, PipelineError
from pipeline.lab.head import power, state
from pipeline.lab.head.nodes import expand
from tests.integration.bright.changed_answers import Change, Send, nodes_with
from tests.integration.bright_head import LabHead

PAIR = ("node001", "node002")
NODES = tuple(f"node{number:03}" for number in range(1, 31))


def actions(lab: LabHead) -> dict[str, list[str]]:
    """What was done with power, by node."""
    found: dict[str, list[str]] = {}
    for one in state.records(str(lab.directory)):
        found.setdefault(one["node"], []).append(one["action"])
    return found


def test_many_that_refuse_keep_none_back_and_lose_no_power(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, nodes=30)
    unwilling = NODES[::3]
    lab.faults(refused_reboots=unwilling)
    with pytest.raises(PipelineError) as caught:
        BrightNodes(lab.head).reboot(NODES)
    assert [problem.where for problem in caught.value.problems] == list(unwilling)
    assert all("Reboot failed for" in problem.message for problem in caught.value.problems)
    assert actions(lab) == {node: ["reboot"] for node in NODES if node not in unwilling}


@pytest.mark.parametrize(
    "word", ["INSTALLER_FAILED", "DOWN", "INSTALLING", "BOOTING", "INSTALLER_CALLINGINIT"]
)
def test_only_what_is_said_not_to_be_up_is_reset(tmp_path: Path, word: power.StateWord) -> None:
    lab = LabHead(tmp_path)
    power.put_status(lab.directory, "node002", word)
    BrightNodes(lab.head).reboot(PAIR)
    assert actions(lab) == {"node001": ["reboot"], "node002": ["power reset"]}


@pytest.mark.parametrize("shown", ["", "node002 ...... [ SOMETHING_NEW ]\n"])
def test_a_node_of_which_nothing_is_known_keeps_its_power(tmp_path: Path, shown: str) -> None:
    lab = LabHead(tmp_path)

    def change(send: Send, asked: str) -> Ran:
        ran = send(asked)
        out = re.sub(r"(?m)^node002 .*\n", shown, ran.out) if "device\nstatus" in asked else ran.out
        return Ran(ran.code, out, ran.err)

    nodes_with(lab.head, change).reboot(PAIR)
    assert actions(lab) == {node: ["reboot"] for node in PAIR}
    lab.faults(refused_reboots=("node002",))
    with pytest.raises(PipelineError, match="Reboot failed for") as caught:
        nodes_with(lab.head, change).reboot(PAIR)
    assert [problem.where for problem in caught.value.problems] == ["node002"]
    assert "power reset" not in actions(lab)["node002"]


@pytest.mark.parametrize(
    ("lines", "code"), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (1, 137), (2, -9), (4, 143)]
)
def test_an_answer_that_is_lost_is_no_refusal(tmp_path: Path, lines: int, code: int) -> None:
    lab = LabHead(tmp_path)

    def change(send: Send, asked: str) -> Ran:
        ran = send(asked)
        if "reboot" not in asked:
            return ran
        kept = [line for line in ran.out.splitlines(True) if "[notice]" not in line]
        return Ran(code, "".join(kept[:lines]), "")

    nodes_with(lab.head, change).reboot(PAIR)
    assert actions(lab) == {node: ["reboot"] for node in PAIR}


def test_a_remark_of_a_reboot_is_no_refusal(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)

    def change(send: Send, asked: str) -> Ran:
        ran = send(asked)
        said = "Reboot in progress (was UP, health check failed) for:"
        return Ran(ran.code, ran.out.replace("Reboot in progress for:", said), ran.err)

    nodes_with(lab.head, change).reboot(PAIR)
    assert actions(lab) == {node: ["reboot"] for node in PAIR}


def test_a_node_that_can_not_be_reached_is_not_the_manager(tmp_path: Path) -> None:
    """Words about a node's own daemon; then the connection is asked for, and the others go on."""
    lab = LabHead(tmp_path)
    lab.faults(refused_reboots=("node001",))

    def change(send: Send, asked: str) -> Ran:
        ran = send(asked)
        return Ran(ran.code, ran.out, re.sub(r"Reboot failed for.*", "Error: connection refused", ran.err))

    nodes_with(lab.head, change).reboot((*PAIR, "node003"))
    assert actions(lab) == {"node002": ["reboot"], "node003": ["reboot"]}

    def lost(send: Send, asked: str) -> Ran:
        ran = send(asked)
        return ran if "device\nstatus" in asked else Ran(1, ran.out[:8], "Not connected!\n")

    with pytest.raises(MachineError, match="no connection"):
        nodes_with(lab.head, lost).reboot(PAIR)


def holding(bad: frozenset[str]) -> Change:
    """A cmsh that ends at each of these nodes when something is set there."""

    def change(send: Send, asked: str) -> Ran:
        names = re.search(r"foreach -n (\S+) \(get hostname; set", asked)
        if names is None:
            return send(asked)
        todo = expand(names[1], lambda path: "")
        at = next((at for at, name in enumerate(todo) if name in bad), len(todo))
        out = send(asked.replace(names[1], folded(todo[:at]))).out if at else ""
        if at == len(todo):
            return Ran(0, out, "")
        return Ran(1, f"{out}{todo[at]}\n", f"{todo[at]} is locked: not allowed\n")

    return change


def test_many_that_can_not_be_pointed_keep_none_back(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, nodes=30)
    bad = frozenset(NODES[2:22:2])
    with pytest.raises(PipelineError) as caught:
        nodes_with(lab.head, holding(bad)).point(NODES, "default-image", "FULL")
    assert {problem.where for problem in caught.value.problems} == bad
    for problem in caught.value.problems:
        assert f"{problem.where} is locked: not allowed" in problem.message
    facts = BrightNodes(lab.head).survey().nodes
    assert Counter(facts[node].next_install_mode for node in NODES) == {"FULL": 20, "": 10}


def test_a_name_that_ends_a_whole_loop_is_found(tmp_path: Path) -> None:
    """A node is removed between the list and the loop: no other one is told to have refused."""
    lab = LabHead(tmp_path, nodes=30)

    def change(send: Send, asked: str) -> Ran:
        ran = send(asked)
        gone = "node100 .... [   UP   ]\nname" if "device\nstatus" in asked else "name"
        return Ran(ran.code, ran.out.replace("name", gone, 1), ran.err)

    with pytest.raises(PipelineError, match="node100") as caught:
        nodes_with(lab.head, change).reboot([*NODES, "node100"])
    assert [problem.where for problem in caught.value.problems] == ["node100"]
    assert actions(lab) == {node: ["reboot"] for node in NODES}


def test_what_was_lost_is_set_once_more(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    lost: list[str] = []

    def change(send: Send, asked: str) -> Ran:
        if "; set " in asked and not lost:
            lost.append(asked)
            return Ran(0, "", "")
        return send(asked)

    nodes_with(lab.head, change).point(PAIR, "default-image", "FULL")
    facts = BrightNodes(lab.head).survey().nodes
    assert lost and {facts[node].own_image for node in PAIR} == {"default-image"}
