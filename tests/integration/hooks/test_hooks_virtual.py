"""Virtual nodes, through Bright on the lab's head node: no instance before, and their interface there."""

from __future__ import annotations

import pytest

from pipeline.cluster.drivers.bright.nodes import BrightNodes
from pipeline.cluster.rollout_written import VirtualTable
from pipeline.rollout.model import Node
from tests.integration.hooks.services_lab import TWO, ServicesLab, states

ONE = Node("vnode001", "virtual-nodes", is_virtual=True)
OTHER = Node("vnode002", "virtual-nodes", is_virtual=True)


def start(lab: ServicesLab, name: str) -> str:
    """Give a virtual node an instance."""
    manager = BrightNodes(lab.head)
    manager.power_on([name])
    return manager.instances([name])[name]


def test_a_node_with_an_instance_is_refused(lab: ServicesLab) -> None:
    instance = start(lab, "vnode001")
    assert instance
    hook = lab.hook("virtual", virtual=VirtualTable(power_on=True))
    (found,) = hook.find([ONE, OTHER])
    assert (found.severity, found.where) == ("error", "vnode001")
    assert instance in found.what and "terminate = true" in found.hint
    answers = hook.before([ONE, OTHER])
    assert states(answers) == {"vnode001": "no", "vnode002": "done"}
    assert BrightNodes(lab.head).instances(["vnode001"]) == {"vnode001": instance}


def test_an_instance_is_terminated_when_asked_to_and_only_once(lab: ServicesLab) -> None:
    start(lab, "vnode001")
    hook = lab.hook("virtual", virtual=VirtualTable(terminate=True, power_on=True))
    assert [one.severity for one in hook.find([ONE, OTHER])] == ["warning"]
    assert states(hook.before([ONE, OTHER])) == {"vnode001": "wait", "vnode002": "done"}
    assert states(hook.before([ONE, OTHER])) == {"vnode001": "done", "vnode002": "done"}
    assert BrightNodes(lab.head).instances(["vnode001"]) == {"vnode001": ""}
    assert set(states({**hook.after([ONE]), **hook.leave([OTHER])}).values()) == {"done"}


def test_a_new_process_terminates_again_what_is_still_there(lab: ServicesLab) -> None:
    table = VirtualTable(terminate=True, power_on=True)
    start(lab, "vnode001")
    assert states(lab.hook("virtual", virtual=table).before([ONE])) == {"vnode001": "wait"}
    assert states(lab.hook("virtual", virtual=table).before([ONE])) == {"vnode001": "done"}


def test_the_instance_that_a_node_was_given_meanwhile_is_terminated_as_well(lab: ServicesLab) -> None:
    hook = lab.hook("virtual", virtual=VirtualTable(terminate=True, power_on=True))
    for _ in range(2):  # out, and on the way back
        start(lab, "vnode001")
        assert states(hook.before([ONE])) == {"vnode001": "wait"}
        assert states(hook.before([ONE])) == {"vnode001": "done"}


def test_nodes_that_are_not_to_be_started_are_refused(lab: ServicesLab) -> None:
    (found,) = lab.hook("virtual").find([ONE, OTHER])
    assert (found.severity, found.where) == ("error", "vnode[001-002]")
    assert "power_on = true" in found.hint


def test_each_must_have_its_interface(lab: ServicesLab) -> None:
    made = "device use vnode001; interfaces; add physical ib0; set network internalnet; commit"
    assert lab.run("cmsh", "-n", "-c", made).code == 0
    hook = lab.hook("virtual", virtual=VirtualTable(power_on=True, interface="ib0"))
    (found,) = hook.find([ONE, OTHER])
    assert (found.severity, found.what, found.where) == ("error", "it has no interface ib0", "vnode002")


@pytest.mark.parametrize(("node", "applies"), [(ONE, True), (TWO, False)])
def test_only_virtual_nodes_are_asked_for(lab: ServicesLab, node: Node, applies: bool) -> None:
    assert lab.hook("virtual").applies(node) is applies
