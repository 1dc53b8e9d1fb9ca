"""From names to hooks: their order, and everything that is wrong at once."""

from __future__ import annotations

import pytest

from pipeline.cluster.drivers.bright.nodes import BrightNodes
from pipeline.cluster.rollout_written import CommandTable, HookTables, NovaTable, SlurmTable
from pipeline.errors import UsageError
from pipeline.rollout.hooks.opening import open_hooks
from tests.integration.hooks.services_lab import ServicesLab


def names(lab: ServicesLab, wanted: list[str], tables: HookTables) -> list[str]:
    manager = BrightNodes(lab.head)
    return [hook.name for hook in open_hooks(wanted, tables, lab.head, manager, folder=lab.folder)]


def test_hooks_come_in_the_order_of_their_names_and_ceph_last(lab: ServicesLab) -> None:
    tables = HookTables(command=(CommandTable("tell", before=("true",)),))
    assert names(lab, ["ceph", "tell", "slurm", "nova", "virtual"], tables) == [
        "tell",
        "slurm",
        "nova",
        "virtual",
        "ceph",
    ]
    assert names(lab, [], tables) == []
    assert lab.calls() == []


def test_all_that_is_wrong_is_told_at_once(lab: ServicesLab) -> None:
    tables = HookTables(
        nova=NovaTable(nodes="@none"),
        slurm=SlurmTable(nodes="node[1-"),
        command=(CommandTable("ceph"), CommandTable("tell"), CommandTable("tell")),
    )
    with pytest.raises(UsageError) as caught:
        names(lab, ["cephh", "nova", "slurm", "nova"], tables)
    told = str(caught.value)
    assert len(caught.value.problems) >= 6
    for words in ('unknown hook "cephh"', '"nova" is named twice', '"ceph" is taken', '"tell" is taken'):
        assert words in told
    assert 'no group "none"' in told and '"node[1-" is no node set' in told


def test_a_hook_that_a_rollout_was_begun_with_and_the_file_has_no_more_is_told(lab: ServicesLab) -> None:
    manager = BrightNodes(lab.head)
    with pytest.raises(UsageError) as caught:
        open_hooks(["tell", "nova"], HookTables(), lab.head, manager, folder=lab.folder, is_begun=True)
    (problem,) = caught.value.problems
    assert 'begun with the hook "tell", and the cluster file has no [[rollout.command]]' in problem.message
