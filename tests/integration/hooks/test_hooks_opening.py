"""From names to hooks: their order, and everything that is wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.cluster.drivers.bright.nodes import BrightNodes
from pipeline.cluster.rollout_written import CommandTable, HookTables, NovaTable, SlurmTable
from pipeline.errors import UsageError
from pipeline.rollout.hooks.opening import open_hooks
from tests.integration.hooks.services_lab import THREE, TWO, ServicesLab, states


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


TELL = ("sh", "-c", 'echo "$0 $ROLLOUT_NODES" >> "$1"')


@pytest.mark.parametrize("name", ["nova", "slurm", "tell"])
def test_what_was_begun_with_a_node_is_undone_whatever_the_file_says_by_now(
    lab: ServicesLab, tmp_path: Path, name: str
) -> None:
    told = tmp_path / "told"
    tell = CommandTable("tell", before=(*TELL, "before", str(told)), after=(*TELL, "after", str(told)))
    lab.tables = HookTables(command=(tell,))
    assert states(lab.hook(name).before([TWO])) == {"node002": "done"}
    narrow = replace(tell, nodes="node001")
    tables = {
        "nova": NovaTable(nodes="node001"),
        "slurm": SlurmTable(categories=("x",)),
        "command": (narrow,),
    }
    later = lab.hook(name, **tables)
    assert later.applies(TWO) and not later.applies(THREE)
    assert states(later.after([TWO])) == {"node002": "done"}
    assert not lab.now()["computes"].get("node002", {}).get("disabled")
    assert lab.run("sinfo", "-h", "-N", "-n", "node002", "-o", "%T").out.strip() in ("idle", "")
    if name == "tell":
        assert told.read_text().splitlines() == ["before node002", "after node002"]
    assert not lab.hook(name, **tables).applies(TWO), "there is nothing left to be undone"
