"""``pipeline cluster run firmware``: on which nodes; nothing is run."""

from __future__ import annotations

import pytest

from tests.integration.cluster_site import COMPUTE, Cluster, edit

GROUP = ('nodes = "node001"\nhead = true', 'nodes = "@net"\nhead = true')
GROUPS = ("[firmware]", '[groups]\nnet = "node001"\n\n[firmware]')


def nodes(site: Cluster, *words: str) -> list[str]:
    found = site.cluster("run", "firmware", "--dry-run", "--json", *words)
    assert found.exit_code == 0, found.err
    names: list[str] = found.json()["nodes"]
    return names


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_set_of_nodes_is_not_all_of_them(site: Cluster, empty: str) -> None:
    refused = site.cluster("run", "firmware", "--nodes", empty, "--dry-run")
    assert refused.exit_code == 2
    assert "the node set is empty" in refused.err
    assert refused.out == ""


def test_a_node_that_was_moved_into_the_category_by_hand_is_among_them(site: Cluster) -> None:
    assert site.cluster("apply").exit_code == 0
    assert nodes(site) == ["node002", "node003", "node001", "master"]
    site.cmsh("device\nuse vnode001\nset category " + COMPUTE + "\ncommit\n")
    found = site.cluster("run", "firmware", "--dry-run", "--json")
    assert found.json()["nodes"] == ["node002", "node003", "vnode001", "node001", "master"]
    assert f"note: vnode001: in {COMPUTE} now, but not by the cluster file" in found.err


def test_groups_of_the_file_are_known_to_the_step_and_on_the_command_line(site: Cluster) -> None:
    edit(site, GROUP, GROUPS)
    assert nodes(site) == ["node002", "node003", "node001", "master"]
    assert nodes(site, "--nodes", "@net") == ["node001"]


def test_a_node_of_the_step_that_is_nothing_is_told_by_a_plan_and_before_a_run(site: Cluster) -> None:
    edit(site, ('nodes = "node001"\nhead = true', 'nodes = "node00l"\nhead = true'))
    for words in (("plan",), ("run", "firmware", "--dry-run")):
        refused = site.cluster(*words)
        assert refused.exit_code == 2
        assert 'no node "node00l" (did you mean "node00' in refused.err


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "1e30"])
def test_a_time_that_is_none_is_refused(site: Cluster, seconds: str) -> None:
    refused = site.cluster("run", "firmware", "--dry-run", f"--timeout={seconds}")
    assert refused.exit_code == 2
    assert "--timeout" in refused.err


@pytest.mark.parametrize("text", [None, "[routes\n"])
def test_a_topology_that_is_none_is_refused_without_a_run_too(site: Cluster, text: str | None) -> None:
    if text is not None:
        site.write("topology.conf", text)
    refused = site.cluster("run", "firmware", "--dry-run", "--topology", "topology.conf")
    assert refused.exit_code == 2
    assert "topology.conf: no topology of ClusterShell" in refused.err


def test_in_the_lab_nobody_but_its_nodes_is_asked_and_what_is_not_up_is_told(site: Cluster) -> None:
    """Where the resolver knows these names, or the user's ssh does, they are those of real machines."""
    (site.path / "lab").mkdir()
    site.head.rename(site.path / "lab/head")
    site.write("pipeline.toml", '[site]\nstore = "store"\nimages = "images"\n[lab]\nhome = "lab"\n')
    asked = site.cluster("run", "firmware", "--json")
    assert asked.exit_code == 1
    told = {name: (one["status"], one["why"]) for name, one in asked.json()["results"].items()}
    nothing = ("unreachable", "it is not up in the lab: pipeline lab up")
    assert told == dict.fromkeys(("node001", "node002", "node003"), nothing)
    assert "note: master: left out, the lab's head node is a directory and no machine" in asked.err
    edit(site, ('categories = ["openstack-compute-hosts-mellanox"]\nnodes = "node001"\n', ""))
    refused = site.cluster("run", "firmware")
    assert refused.exit_code == 2 and "no node is left" in refused.err
