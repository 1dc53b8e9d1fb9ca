"""opensm itself reads the generated files, and gives the nodes of a simulated fabric their PKeys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from fabric import NODES, Run, swept, understood
from generated import OPENSM, PARTITIONS, cluster, cluster_with, whole_file

from pipeline.cluster.words import with_words

FULL = 0x8000
"""The bit of a PKey that says full membership."""

MANAGEMENT = 0x7FFF

BOTH = "ib=0x5, ipoib, defmember=both : ALL_CAS;\n"
"""A partition of which a port is to be a full and a limited member at once."""


def full(segments: range) -> Mapping[str, frozenset[int]]:
    """Each node a full member of these segments' partitions and of the management's."""
    pkeys = frozenset(FULL | number for number in (*segments, MANAGEMENT))
    return dict.fromkeys(NODES, pkeys)


def accepted(run: Run) -> bool:
    return "PARSE ERROR" not in run.out and "in error" not in run.log and "SUBNET UP" in run.log


def test_each_segment_is_a_partition_with_all_nodes_as_full_members(tmp_path: Path) -> None:
    run = swept(tmp_path, whole_file(cluster(), PARTITIONS), whole_file(cluster(), OPENSM))
    assert accepted(run)
    assert run.pkeys == full(range(1, 11))


def test_another_range_gives_other_partitions(tmp_path: Path) -> None:
    wider = cluster_with(tmp_path / "project", {}, {'ib_vlan_range = "1:10"': 'ib_vlan_range = "1:60"'})
    run = swept(tmp_path, whole_file(wider, PARTITIONS), "")
    assert accepted(run)
    assert run.pkeys == full(range(1, 61))


@pytest.mark.parametrize(
    "broken",
    [
        "vlan1=0x1, ipoib, sl=0, defmember=full",
        "vlan1=one, ipoib : ALL_CAS;",
        "a line of somebody else's",
    ],
)
def test_one_broken_line_costs_every_partition(tmp_path: Path, broken: str) -> None:
    run = swept(tmp_path, whole_file(cluster(), PARTITIONS) + broken + "\n", "")
    assert not accepted(run)
    assert run.pkeys == full(range(0))


def test_opensm_understands_its_options(tmp_path: Path) -> None:
    assert understood(tmp_path, whole_file(cluster(), OPENSM))["allow_both_pkeys"] == "TRUE"


@pytest.mark.parametrize(
    "said", ["", "#allow_both_pkeys TRUE", "allow_both_pkeys true", "allow_both_pkeys 1"]
)
def test_only_the_word_true_is_true_for_opensm(tmp_path: Path, said: str) -> None:
    assert understood(tmp_path, said + "\n")["allow_both_pkeys"] == "FALSE"


def test_the_option_is_set_in_the_file_that_opensm_itself_makes(tmp_path: Path) -> None:
    made = "".join(f"{key} {value}\n" for key, value in understood(tmp_path, "").items())
    run = swept(tmp_path, BOTH, with_words(made, ("allow_both_pkeys TRUE",)))
    assert accepted(run)
    assert all({0x0005, FULL | 0x0005} <= pkeys for pkeys in run.pkeys.values())


def test_without_the_option_a_node_has_one_membership(tmp_path: Path) -> None:
    run = swept(tmp_path, BOTH, "")
    assert all(0x0005 not in pkeys and FULL | 0x0005 in pkeys for pkeys in run.pkeys.values())
