"""The firmware step on real nodes over real ssh, with the lab's installer and adapters."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from pipeline.cluster import runs
from pipeline.cluster.fanout import Target, Way
from pipeline.cluster.firmware import choose, run_firmware
from pipeline.cluster.model import Firmware
from pipeline.cluster.nodescript import BUSY, LOCK, LOG, is_free
from pipeline.errors import UsageError
from pipeline.lab.nodes import adapter
from pipeline.lab.nodes.adapter import Flash
from pipeline.lab.nodes.nodes import Nodes
from tests.integration.firmware.conftest import NAMES, ORDER

BURNT = Flash("2.32.5100", sriov=True, vfs=16)

Run = Callable[..., runs.Record]


@pytest.fixture
def run(targets: tuple[Target, ...], tmp_path: Path) -> Run:
    def run(
        *,
        order: Firmware = ORDER,
        on: Sequence[Target] = targets,
        nodes: Sequence[str] | None = None,
        retry: bool = False,
        way: Way = Way(),  # noqa: B008
        show: Callable[[str, str], None] | None = None,
    ) -> runs.Record:
        chosen = choose(order, on, tmp_path / "runs", nodes=nodes, retry=retry)
        return run_firmware(order, chosen, tmp_path / "runs", cluster="c", way=way, show=show)

    return run


def statuses(record: runs.Record) -> dict[str, str]:
    return {name: record.results[name].status for name in sorted(record.results)}


def test_three_nodes_are_updated_and_a_second_run_says_up_to_date(
    run: Run, nodes: Nodes, tmp_path: Path
) -> None:
    shown: list[tuple[str, str]] = []
    assert "is not installed" not in nodes.run("node001", "rpm -q cm-config-intelcompliance-slave")
    first = run(show=lambda node, line: shown.append((node, line)))
    assert statuses(first) == dict.fromkeys(NAMES, "updated")
    for name in NAMES:
        assert adapter.read(nodes[name].folder) == BURNT
        assert "2.32.5100 (SR-IOV, 16 VFs)" in first.results[name].why
        log = (tmp_path / f"runs/firmware-1/{name}.log").read_text()
        # From the package's removal through the installer's own log to its end, and the same on the screen.
        for said in (
            "Removed:",
            "Do you want to continue?[y/N]:",
            "Installing kmod-srp",
            "fw_update.log",
            "general.log",
        ):
            assert said in log
        assert log.startswith("@pipeline:firmware-1 begin root@")
        assert log.endswith("@pipeline:firmware-1 end installer 0\n")
        assert [line for node, line in shown if node == name] == [
            line.removeprefix("@pipeline:firmware-1 ") for line in log.split("\n")[:-1]
        ]
    with pytest.raises(Exception, match="not installed"):
        nodes.run("node001", "rpm -q cm-config-intelcompliance-slave")
    assert runs.read(tmp_path / "runs/firmware-1") == first
    adapter.put_guest(nodes["node001"].folder, function := "0000:04:00.1")
    (nodes["node001"].folder / "adapters" / function / "physfn").symlink_to(f"../{adapter.ADDRESS}")
    adapter.put_guest(nodes["node002"].folder, function)
    try:
        second = run()
    finally:
        for name in NAMES[:2]:
            shutil.rmtree(nodes[name].folder / "adapters" / function)
    assert statuses(second) == dict.fromkeys(NAMES, "up to date")
    assert function not in (tmp_path / "runs/firmware-2/node001.log").read_text()
    assert "removing" not in (tmp_path / "runs/firmware-2/node001.log").read_text()


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("fail", "exit code 0, but burning: Fail : Burning FS2 image failed: Flash write error"),
        ("query", "exit code 0, but Query failed: MFE_CR_ERROR"),
        ("foreign", "exit code 0, but it has no firmware for 0000:04:00.0 (PSID: MT_1090120019)"),
    ],
)
def test_one_fails_though_the_installer_ends_with_0_and_retry_runs_only_that_one(
    run: Run, nodes: Nodes, tmp_path: Path, fault: adapter.Fault, why: str
) -> None:
    adapter.break_it(nodes["node002"].folder, fault)
    first = run()
    assert statuses(first) == {"node001": "updated", "node002": "failed", "node003": "updated"}
    assert first.results["node002"].why == why
    assert "end installer 0" in (tmp_path / "runs/firmware-1/node002.log").read_text()
    adapter.break_it(nodes["node002"].folder, "")
    second = run(retry=True)
    assert (second.names, second.retry_of) == (("node002",), 1)
    assert sorted(path.name for path in (tmp_path / "runs/firmware-2").glob("*.log")) == ["node002.log"]
    assert statuses(second) == dict.fromkeys(NAMES, "updated")
    assert run(retry=True).names == ()


def test_a_node_without_an_adapter_has_failed(run: Run, nodes: Nodes) -> None:
    for file in (nodes["node001"].folder / "adapters" / adapter.ADDRESS).iterdir():
        file.unlink()
    result = run(nodes=["node001"]).results["node001"]
    assert (result.status, result.why) == ("failed", "exit code 0, but the firmware could not be updated")


def test_what_the_installer_refuses_is_told_in_its_words(run: Run, nodes: Nodes) -> None:
    options = msgspec.structs.replace(ORDER, options=("--no-such-option",))
    assert "exit code 22 (it does not know one of the options)" in run(order=options).results["node001"].why
    nodes.run("node002", "rpm -e --nodeps tcsh")
    result = run(nodes=["node002"]).results["node002"]
    assert result.status == "failed"
    assert result.why.startswith("exit code 172 (a prerequisite is missing")
    assert "Error: One or more required packages" in result.why
    nowhere = msgspec.structs.replace(ORDER, directory="/cm/shared/ofed/it's $(touch /hit) `touch /hit`")
    assert "its directory is not there" in run(order=nowhere).results["node003"].why
    assert nodes.run("node003", "ls /").split().count("hit") == 0


def test_a_node_that_is_off_is_unreachable_and_the_others_are_not_held_up(run: Run, nodes: Nodes) -> None:
    nodes["node003"].stop()
    first = run()
    assert statuses(first) == {"node001": "updated", "node002": "updated", "node003": "unreachable"}
    assert "Connection refused" in first.results["node003"].why
    nodes["node003"].boot()
    nodes["node003"].wait()
    assert statuses(run(retry=True)) == dict.fromkeys(NAMES, "updated")


def test_a_node_that_goes_down_in_the_middle_is_told(run: Run, nodes: Nodes) -> None:
    adapter.break_it(nodes["node001"].folder, slow=30)

    def show(node: str, line: str) -> None:
        if "requiring firmware update" in line:
            nodes["node001"].stop()

    result = run(nodes=["node001"], show=show).results["node001"]
    assert result.status == "unreachable"
    assert result.why.startswith("the connection was lost in the middle")


def test_two_runs_at_once_run_it_once_on_a_node_and_the_second_says_who_holds_it(
    targets: tuple[Target, ...], nodes: Nodes, tmp_path: Path
) -> None:
    adapter.break_it(nodes["node001"].folder, slow=2)
    # The other one is another process, with its records elsewhere: only the node can know.
    with _child(targets[:1], tmp_path / "theirs") as other:
        _until(lambda: "Querying" in _log(tmp_path / "theirs/firmware-1/node001.log"))
        chosen = choose(ORDER, targets[:1], tmp_path / "runs")
        mine = run_firmware(ORDER, chosen, tmp_path / "runs").results["node001"]
        assert mine.status == "busy"
        assert f"process {other.pid}, since 20" in mine.why
        assert other.wait(60) == 0
    theirs = runs.read(tmp_path / "theirs/firmware-1").results["node001"]
    assert theirs.status == "updated"
    again = run_firmware(ORDER, choose(ORDER, targets[:1], tmp_path / "runs", retry=True), tmp_path / "runs")
    assert again.results["node001"].status == "up to date"


def test_one_that_was_started_by_hand_is_left_alone(run: Run, nodes: Nodes) -> None:
    adapter.break_it(nodes["node001"].folder, slow=3)
    typed = (
        "yum remove -y cm-config-intelcompliance-slave; "
        f'cd {ORDER.directory} && echo "y" | ./mlnxofedinstall --enable-sriov'
    )
    by_hand = subprocess.Popen(
        ["ssh", "-F", str(nodes.ssh_config), "node001", typed],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until(lambda: "mlnxofedinstall" in nodes.run("node001", "ps -e -o comm"))
        result = run(nodes=["node001"]).results["node001"]
        assert result.status == "busy"
        assert "mlnxofedinstall started by hand, process" in result.why
    finally:
        by_hand.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_the_record_is_true_and_the_node_finishes_what_was_begun(
    targets: tuple[Target, ...], nodes: Nodes, tmp_path: Path, number: signal.Signals
) -> None:
    for name in NAMES:
        adapter.break_it(nodes[name].folder, slow=8)
    folder = tmp_path / "runs/firmware-1"

    def free(name: str) -> int:
        return subprocess.run(["ssh", "-F", nodes.ssh_config, name, is_free()], check=False).returncode

    def burning() -> list[str]:
        return [name for name in NAMES if "requiring" in _log(folder / f"{name}.log")]

    with _child(targets, tmp_path / "runs", fanout=2) as child:
        _until(lambda: len(burning()) == 2)
        assert runs.is_running(folder)
        child.send_signal(number)
        child.wait(7)
    assert not runs.is_running(folder)
    begun = burning()
    (waiting,) = set(NAMES) - set(begun)
    record = runs.read(folder)
    assert statuses(record) == {waiting: "not run"} | dict.fromkeys(begun, "interrupted")
    # A rollout asks so before it reboots them.
    assert {name: free(name) for name in NAMES} == {waiting: 0} | dict.fromkeys(begun, BUSY)
    adapter.break_it(nodes[waiting].folder, "")
    # Nobody killed what was burning: it ends by itself, and until then it is not begun again.
    second = run_firmware(ORDER, choose(ORDER, targets, tmp_path / "runs", retry=True), tmp_path / "runs")
    assert statuses(second) == {waiting: "updated"} | dict.fromkeys(begun, "busy")
    for name in begun:
        _until(lambda name=name: "end installer" in nodes.run(name, f"tail -n 1 {LOG}"))  # type: ignore[misc]
        assert adapter.read(nodes[name].folder) == BURNT
        adapter.break_it(nodes[name].folder, "")
        _until(lambda name=name: free(name) == 0)  # type: ignore[misc]
    third = run_firmware(ORDER, choose(ORDER, targets, tmp_path / "runs", retry=True), tmp_path / "runs")
    assert set(third.names) == set(begun)
    assert statuses(third) == {waiting: "updated"} | dict.fromkeys(begun, "up to date")


def test_the_lock_is_free_when_the_work_has_ended_whatever_daemons_it_left(run: Run, nodes: Nodes) -> None:
    run(nodes=["node001"])
    nodes.run("node001", f"flock -n {LOCK} true")


def test_a_node_that_takes_too_long_is_told_and_goes_on(run: Run, nodes: Nodes) -> None:
    adapter.break_it(nodes["node001"].folder, slow=5)
    begun = time.monotonic()
    result = run(nodes=["node001"], way=Way(seconds=2)).results["node001"]
    assert time.monotonic() - begun < 5
    assert (result.status, "no end in time" in result.why) == ("failed", True)
    assert run(nodes=["node001"]).results["node001"].status == "busy"


def test_unknown_nodes_and_nothing_to_go_on_with_are_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="node01 is not among the nodes"):
        run(nodes=["node01"])
    with pytest.raises(UsageError, match="no run to go on with"):
        run(retry=True)
    run(on=(Target("nowhere", "127.0.0.1", 1),))
    with pytest.raises(UsageError, match="another directory, options or packages"):
        run(order=msgspec.structs.replace(ORDER, options=()), retry=True)


CHILD = """\
import sys
from pathlib import Path
import msgspec
from pipeline.cluster.fanout import Target, Way
from pipeline.cluster.firmware import choose, run_firmware
from pipeline.cluster.model import Firmware

kind = tuple[Firmware, list[Target], str, int]
order, targets, folder, fanout = msgspec.json.decode(sys.argv[1], type=kind)
run_firmware(order, choose(order, targets, Path(folder)), Path(folder), way=Way(fanout=fanout))
"""


def _child(targets: Sequence[Target], folder: Path, fanout: int = 64) -> subprocess.Popen[bytes]:
    words = msgspec.json.encode((ORDER, targets, str(folder), fanout)).decode()
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, words], stderr=subprocess.DEVNULL, env={**os.environ}
    )


def _log(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _until(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
