"""Which nodes a task is for, and how ssh gets there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pipeline.cli.cluster_run import counts, table
from pipeline.cluster import runs
from pipeline.cluster.fanout import Target, Way
from pipeline.cluster.firmware import choose
from pipeline.cluster.livenodes import (
    as_configuration,
    asked,
    beyond,
    is_through_head,
    members,
    needs_manager,
    refuse_unknown,
    targets,
    way,
)
from pipeline.cluster.model import Cluster, Firmware
from pipeline.cluster.objects import Ref, Wanted
from pipeline.cluster.opening import head
from pipeline.cluster.outcome import Result
from pipeline.errors import PipelineError, UsageError
from pipeline.recipe.model import HeadSite, Site
from pipeline.recipe.site import load_site
from pipeline.store.store import Store

ORDER = Firmware(("compute",), "node001", True, "/cm/shared/ofed")
CLUSTER = Cluster(
    "c",
    "",
    Path("c.toml"),
    {},
    (
        Wanted(Ref("node", "node003"), {"category": "compute"}),
        Wanted(Ref("node", "node002"), {"category": "compute"}),
    ),
    firmware=ORDER,
)


def test_members_are_those_of_the_file_and_those_that_are_there() -> None:
    there = {
        Ref("node", "node002"): {"category": "old"},
        Ref("node", "node004"): {"category": "compute"},
        Ref("node", "node005"): {},
    }
    found = members(CLUSTER, there)
    assert found == {"compute": ("node002", "node003", "node004"), "old": ("node002",)}
    assert beyond(ORDER, CLUSTER, there) == ("node004: in compute now, but not by the cluster file",)
    assert beyond(ORDER, msgspec.structs.replace(CLUSTER, wanted=()), there) == ()


def test_the_manager_is_asked_whenever_nodes_are_named() -> None:
    assert needs_manager(ORDER)
    assert needs_manager(Firmware((), "node001", False, "/x"))
    assert not needs_manager(Firmware((), "", True, "/x"))


def test_names_that_are_no_nodes_are_refused_with_the_nearest() -> None:
    there = {Ref("node", "node001"): {}, Ref("category", "node00l"): {}}
    refuse_unknown(["node001", "master"], there)
    with pytest.raises(UsageError, match=r'no node "node00l" .did you mean "node001"') as raised:
        refuse_unknown(["node001", "node00l", "other"], there)
    assert len(raised.value.problems) == 2


def test_nodes_of_categories_come_first_and_the_head_node_last_each_once() -> None:
    found = targets(ORDER, members(CLUSTER, {}), ["node001", "node002"], HeadSite(), lab=False)
    assert [target.name for target in found] == ["node002", "node003", "node001", "master"]
    assert [target.local for target in found] == [False, False, False, True]


def test_in_the_lab_the_head_node_is_left_out() -> None:
    found = targets(ORDER, members(CLUSTER, {}), ["node001"], HeadSite(), lab=True)
    assert [target.name for target in found] == ["node002", "node003", "node001"]


def test_only_the_labs_nodes_are_reached_in_the_lab_unless_it_has_a_real_head_node(tmp_path: Path) -> None:
    def site(head: HeadSite, lab: Path | None) -> Site:
        return Site(tmp_path / "pipeline.toml", tmp_path, tmp_path, tmp_path, lab=lab, head=head)

    assert way(site(HeadSite(), tmp_path), ()).configuration == tmp_path / "nodes/ssh_config"
    for other in (site(HeadSite(), None), site(HeadSite(address="root@head"), tmp_path)):
        assert way(other, ()).configuration is None


def test_without_its_head_node_the_lab_asks_no_program_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "pipeline.toml").write_text('[site]\nstore = "s"\nimages = "i"\n[lab]\nhome = "lab"\n')
    with pytest.raises(UsageError, match="the lab has no head node"):
        head(load_site(tmp_path / "pipeline.toml"))


def test_nodes_are_reached_through_a_head_node_elsewhere() -> None:
    head = HeadSite(address="ssh://root@head:2222", ssh_options=("-i", "/root/.ssh/my key"))
    *nodes, last = targets(ORDER, members(CLUSTER, {}), [], head, lab=False)
    command = "ssh -o BatchMode=yes -i '/root/.ssh/my key' -p 2222 -l root -W [%h]:%p head"
    assert nodes[0].options == (f"ProxyCommand={command}",)
    assert is_through_head(nodes)
    assert last == Target("master", "head", 2222, ("User=root", "IdentityFile=/root/.ssh/my key"))


def test_a_category_without_nodes_is_refused() -> None:
    with pytest.raises(UsageError, match="no nodes are in compute"):
        targets(ORDER, {}, [], HeadSite(), lab=False)


def test_ssh_options_become_configuration_and_others_are_refused() -> None:
    words = ("-oPort=1", "-o", "User = me", "-p22", "-J", "jump")
    assert as_configuration(words) == ("Port=1", "User=me", "Port=22", "ProxyJump=jump")
    with pytest.raises(UsageError, match="'-X'"):
        as_configuration(("-X",))


@pytest.mark.parametrize(
    ("order", "names", "message"),
    [
        (Firmware((), "", False, "relative"), ("n",), "is not absolute"),
        (Firmware((), "", False, "/x", ("--all",)), ("n",), "can't be the name of a package"),
        (Firmware((), "", False, "/x", ("qlgc*",)), ("n",), "can't be the name of a package"),
        (Firmware((), "", False, "/x\ny"), ("n",), "can't be a word of a command"),
        (Firmware((), "", False, "/x", (), ("",)), ("n",), "can't be a word of a command"),
        (Firmware((), "", False, "/x"), ("n", "n"), "n is there twice"),
        (Firmware((), "", False, "/x"), ("-oProxyCommand=x",), "is no name of a node"),
        (Firmware((), "", False, "/x"), ("a/../b",), "is no name of a node"),
    ],
)
def test_what_no_node_could_be_told_is_refused(
    order: Firmware, names: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        choose(order, [Target(name) for name in names], tmp_path)


def _record(**results: Result) -> runs.Record:
    return runs.Record(1, "c", "me", ORDER, tuple(results), 0.0, dict(results))


def test_the_table_begins_with_those_that_need_somebody() -> None:
    record = _record(
        a=Result("updated", "2.32.5100 (SR-IOV, 16 VFs)", seconds=2.5),
        b=Result("failed", "exit code 0, but no \x1b[2Jadapter", seconds=3),
        c=Result("unreachable", "no route"),
    )
    assert table(record).splitlines() == [
        "NODE  RESULT         TIME",
        r"b     failed       3.00 s  exit code 0, but no \x1b[2Jadapter",
        "c     unreachable          no route",
        "a     updated      2.50 s  2.32.5100 (SR-IOV, 16 VFs)",
        "1 updated, 1 unreachable, 1 failed",
    ]
    assert counts(_record()) == "no nodes"


def test_a_record_that_lacks_results_is_completed_by_the_logs(tmp_path: Path) -> None:
    with runs.new_folder(tmp_path) as (number, folder):
        assert (number, runs.is_running(folder)) == (1, True)
        record = runs.Record(1, "c", "me", ORDER, ("a", "b", "c", "d"), 0.0, {"a": Result("updated")})
        runs.write(folder, record)
        end = "@pipeline:firmware-1 begin me\nUpdating FW ... Done\n@pipeline:firmware-1 end installer 0\n"
        runs.log_of(folder, "b").write_text(end)
        runs.log_of(folder, "c").write_text("@pipeline:firmware-1 begin me\nInstall")
    assert not runs.is_running(folder)
    (last,) = runs.kept(tmp_path)
    assert {name: result.status for name, result in last.results.items()} == {
        "a": "updated",
        "b": "updated",
        "c": "interrupted",
        "d": "not run",
    }


def test_a_run_without_a_record_is_passed_over_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    with runs.new_folder(tmp_path) as (_, first):
        runs.write(first, _record(a=Result("updated")))
    with runs.new_folder(tmp_path) as (number, second):
        assert number == 2
    assert [record.number for record in runs.kept(tmp_path)] == [1]
    (second / runs.RECORD).write_text("{")
    with pytest.raises(PipelineError, match="damaged"):
        list(runs.kept(tmp_path))


def test_the_manager_is_asked_for_the_files_categories_and_the_steps() -> None:
    cluster = Cluster(
        "c", "", Path("c.toml"), {}, (Wanted(Ref("category", "net"), {"image": "web"}), *CLUSTER.wanted)
    )
    assert asked(ORDER, cluster) == tuple(
        Wanted(Ref("category", name), make=False) for name in ("net", "compute")
    )


NODES = ("node001", "node002", "node003", "master")
TARGETS = tuple(Target(name) for name in NODES)


def _kept(folder: Path, order: Firmware = ORDER, retry_of: int | None = None, **results: str) -> None:
    """A run of these nodes; results of those whose name begins with ``was_`` are copies."""
    told = {name.removeprefix("was_"): Result(status) for name, status in results.items()}  # type: ignore[arg-type]
    names = tuple(name for name in results if not name.startswith("was_"))
    with runs.new_folder(folder) as (number, there):
        runs.write(there, runs.Record(number, "c", "me", order, names, 0.0, told, 1.0, retry_of))


def _left(folder: Path, order: Firmware = ORDER) -> list[str]:
    return [target.name for target in choose(order, TARGETS, folder, retry=True).targets]


def test_a_retry_goes_by_the_newest_run_of_each_node_whichever_run_was_the_last(tmp_path: Path) -> None:
    _kept(tmp_path, node001="updated", node002="updated", node003="failed", master="updated")
    _kept(tmp_path, node003="failed")
    chosen = choose(ORDER, TARGETS, tmp_path, retry=True)
    assert [target.name for target in chosen.targets] == ["node003"]
    assert (set(chosen.before), chosen.retry_of) == ({"node001", "node002", "master"}, 2)
    _kept(tmp_path, node003="updated")
    assert _left(tmp_path) == []
    _kept(tmp_path, node001="failed")
    assert _left(tmp_path) == ["node001"]


def test_a_copy_of_an_earlier_result_counts_only_where_nothing_else_is_known(tmp_path: Path) -> None:
    _kept(tmp_path, node001="updated", node002="updated", node003="failed")
    _kept(tmp_path, node001="failed")  # while the next one was under way
    _kept(tmp_path, was_node001="updated", was_master="up to date", node003="updated", retry_of=1)
    assert _left(tmp_path) == ["node001"]


def test_what_was_done_with_other_work_is_not_done(tmp_path: Path) -> None:
    other = Firmware(("compute",), "node001", True, "/cm/shared/newer")
    _kept(tmp_path, node001="updated", node002="updated", node003="updated", master="updated")
    with pytest.raises(UsageError, match="the last run, firmware-1, was for another directory"):
        choose(other, TARGETS, tmp_path, retry=True)
    _kept(tmp_path, other, node002="updated")
    assert _left(tmp_path) == ["node002"]
    assert _left(tmp_path, other) == ["node001", "node003", "master"]


def test_few_logs_are_open_however_many_nodes_write(tmp_path: Path) -> None:
    logs = runs.Logs(tmp_path)
    names = [f"node{number}" for number in range(3 * runs.Logs.MOST)]
    for line in (b"one", b"two"):
        for name in names:
            logs.write(name, line)
    assert {logs.end(name) for name in names} == {"one\ntwo\n"}
    assert Way().fanout == 64


def test_a_run_before_the_first_build_does_not_stand_in_a_new_stores_way(tmp_path: Path) -> None:
    with runs.new_folder(tmp_path / "store/clusters/c/runs"):
        pass
    Store.open(tmp_path / "store")
