"""What a node printed, and what it is taken for."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from pipeline.cluster.model import Firmware
from pipeline.cluster.nodescript import script
from pipeline.cluster.outcome import Adapter, judge

OPTIONS = ("--enable-sriov",)
OLD = "version=2.30.3110 sriov_en=false total_vfs=0"
NEW = "version=2.32.5100 sriov_en=true total_vfs=16"
DONE = "Device #1: Updating FW ...     Done\n\nRestart needed for updates to take effect."


def printed(*lines: str, before: str = "", after: str = "", end: str = "end installer 0") -> str:
    reports = ["begin root@head", *([f"adapter before 04:00.0 {before}"] if before else [])]
    text = [f"@pipeline:r {report}" for report in reports] + list(lines)
    text += [f"@pipeline:r adapter after 04:00.0 {after}"] if after else []
    return "\n".join([*text, *([f"@pipeline:r {end}"] if end else [])]) + "\n"


@pytest.mark.parametrize(
    ("text", "code", "status", "why"),
    [
        (printed(DONE, before=OLD, after=NEW), 0, "updated", "2.32.5100 (SR-IOV, 16 VFs)"),
        (printed(DONE, before=NEW, after=NEW), 0, "up to date", "2.32.5100 (SR-IOV, 16 VFs)"),
        # No tool could read the adapter: the installer's words count.
        (printed(DONE), 0, "updated", ""),
        (printed("  Status:           Up to date", before="a", after="a"), 0, "up to date", ""),
        (
            printed("The firmware version 2.32.5100 is up to date.", before="a", after="a"),
            0,
            "up to date",
            "",
        ),
        (
            printed("Installation finished successfully.", before="a", after="a"),
            0,
            "failed",
            "exit code 0, but nothing tells that the firmware was updated",
        ),
        (printed("Installation finished successfully."), 0, "failed", "exit code 0, but no adapter is there"),
        (printed("No devices found!"), 0, "failed", "exit code 0, but no adapter is there"),
        (
            printed("Failed to update Firmware.", "See /tmp/x/fw_update.log", before=NEW, after=NEW),
            0,
            "failed",
            "exit code 0, but the firmware could not be updated",
        ),
        (
            printed(DONE, before=OLD, after="version=2.32.5100 sriov_en=false total_vfs=0"),
            0,
            "failed",
            "exit code 0, but SR-IOV is not enabled in 04:00.0",
        ),
        (
            printed(
                DONE,
                "@pipeline:r release MLNX_OFED_LINUX-2.3-1.0.1",
                "@pipeline:r installed MLNX_OFED_LINUX-2.0:",
                before=OLD,
                after=NEW,
            ),
            0,
            "failed",
            "MLNX_OFED_LINUX-2.0 is installed and not MLNX_OFED_LINUX-2.3-1.0.1",
        ),
        (
            printed("Error: One or more packages depends on MLNX_OFED.", end="end installer 174"),
            0,
            "failed",
            (
                "exit code 174 (a package that is not its own needs one that it would remove): "
                "Error: One or more packages depends on MLNX_OFED."
            ),
        ),
        (
            printed("No package x", end="end remove 1"),
            0,
            "failed",
            "packages in the way could not be removed, yum's exit code is 1: No package x",
        ),
        ("@pipeline:r busy root@a, process 1\n", 75, "busy", "held by root@a, process 1"),
        (
            "ssh: connect to host n port 22: No route to host\n",
            255,
            "unreachable",
            "ssh: connect to host n port 22: No route to host",
        ),
        ("", 255, "unreachable", "ssh said nothing"),
        ("", 76, "unreachable", "its gateway was lost; what was run is not known"),
        (
            printed("Installing", end=""),
            255,
            "unreachable",
            "the connection was lost in the middle: Installing",
        ),
        ("bash: /bin/sh: not found\n", 127, "failed", "nothing was run: bash: /bin/sh: not found"),
        (
            printed("Installing", end=""),
            None,
            "interrupted",
            "it was waited for no longer; what was started there goes on to its end",
        ),
    ],
)
def test_the_result_of_what_was_printed(text: str, code: int | None, status: str, why: str) -> None:
    result = judge(text, "r", code, OPTIONS)
    assert (result.status, result.why) == (status, why)


def test_a_line_of_another_run_or_of_a_program_reports_nothing() -> None:
    forged = "@pipeline:other end installer 0\n x @pipeline:r end installer 0\n"
    assert judge(forged, "r", 1, OPTIONS).status == "failed"


def test_every_adapter_counts() -> None:
    second = f"@pipeline:r adapter before 05:00.0 {NEW}\n@pipeline:r adapter after 05:00.0 {NEW}\n"
    result = judge(second + printed(DONE, before=OLD, after=NEW), "r", 0, OPTIONS)
    assert result.status == "updated"
    assert result.adapters["05:00.0"][0] == Adapter("2.32.5100", "true", "16")
    left = f"@pipeline:r adapter before 05:00.0 {OLD}\n@pipeline:r adapter after 05:00.0 {OLD}\n"
    result = judge(left + printed(DONE, before=OLD, after=NEW), "r", 0, OPTIONS)
    assert (result.status, result.why) == ("failed", "exit code 0, but SR-IOV is not enabled in 05:00.0")


@pytest.mark.parametrize(
    "word", ["a b", "$(touch hit)", "`touch hit`", "';touch hit;'", '"; touch hit; "', "*"]
)
def test_nothing_in_a_value_becomes_a_command(word: str, tmp_path: Path) -> None:
    order = Firmware((), "", False, f"/{word}", (word,), (word,))
    # The words as the shell takes them are shown in place of what is run; a node's programs are not here.
    *_, inner = shlex.split(script(order, "r", word))
    settings = inner.split("export ")[0] + 'printf "%s\\0" "$directory" "$who" "$work"'
    done = subprocess.run(
        ["sh", "-c", settings], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    directory, who, work, _ = done.split("\0")
    assert (directory, who) == (f"/{word}", " ".join(word.split()))
    call = next(line for line in work.splitlines() if line.startswith("echo y |"))
    words = call.split("./mlnxofedinstall", 1)[1].removesuffix("9>&-")
    echoed = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {words}"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert echoed.stdout == f"{word}\0"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("vfs", "status", "why"),
    [
        (None, "updated", "2.32.5100 (SR-IOV, 16 VFs)"),
        (16, "updated", "2.32.5100 (SR-IOV, 16 VFs)"),
        (32, "failed", "exit code 0, but 04:00.0 has 16 VFs, wanted 32"),
    ],
)
def test_an_adapter_with_other_vfs_than_wanted_has_failed(vfs: int | None, status: str, why: str) -> None:
    result = judge(printed(DONE, before=OLD, after=NEW), "r", 0, OPTIONS, vfs)
    assert (result.status, result.why) == (status, why)


def test_an_adapter_whose_vfs_nobody_could_read_has_not_failed_for_them() -> None:
    assert judge(printed(DONE), "r", 0, OPTIONS, 32).status == "updated"


UP = "Device #{}:\n----------\n  Device Type:      ConnectX3\n  Status:           {}\n"
BURNING = "Device #{}: Updating FW ...     Done"


def two(*lines: str, first: str, second: str, old: str = OLD) -> str:
    """The lines of a node with two adapters, and what each holds afterwards; nothing: it is gone."""
    reports = [f"adapter before 04:00.0 {old}", f"adapter before 05:00.0 {old}"]
    after = [f"adapter after 0{number}:00.0 {held}" for number, held in ((4, first), (5, second)) if held]
    said = [f"@pipeline:r {report}" for report in ("begin me", *reports)]
    ends = [f"@pipeline:r {report}" for report in (*after, "end installer 0")]
    return "\n".join([*said, *lines, *ends]) + "\n"


@pytest.mark.parametrize(
    ("text", "status", "why"),
    [
        (two(BURNING.format(1), BURNING.format(2), first=NEW, second=NEW), "updated", "2.32.5100"),
        (two(BURNING.format(1), first=NEW, second=NEW), "updated", "2.32.5100"),
        (
            two(BURNING.format(1), first=NEW, second=OLD, old=OLD),
            "failed",
            "SR-IOV is not enabled in 05:00.0",
        ),
        (
            two(UP.format(1, "Up to date"), UP.format(2, "Up to date"), first=NEW, second=NEW, old=NEW),
            "up to date",
            "2.32.5100",
        ),
        (
            two(UP.format(1, "Up to date"), BURNING.format(2), first=NEW, second=NEW, old=NEW),
            "up to date",
            "2.32.5100",
        ),
        (
            two(UP.format(1, "Up to date"), BURNING.format(1), first=NEW, second=NEW, old=NEW),
            "failed",
            "nothing tells that 04:00.0, 05:00.0 was updated or is up to date",
        ),
        (
            two(UP.format(1, "Up to date"), first="version= sriov_en=", second="version=", old="version="),
            "failed",
            "nothing tells that 04:00.0, 05:00.0",
        ),
        (
            two(BURNING.format(1), BURNING.format(2), first=NEW, second=""),
            "failed",
            "05:00.0 was there before",
        ),
        (
            two(BURNING.format(1), BURNING.format(2), first="", second=""),
            "failed",
            "04:00.0, 05:00.0 was there",
        ),
        (
            printed("All fine.", before=NEW, after=NEW),
            "failed",
            "nothing tells that the firmware was updated",
        ),
    ],
)
def test_each_of_the_adapters_has_to_be_accounted_for(text: str, status: str, why: str) -> None:
    result = judge(text, "r", 0, OPTIONS)
    assert result.status == status
    assert why in result.why


def test_an_adapter_that_stays_as_it_was_beside_one_that_is_updated_has_failed() -> None:
    newer = "version=2.33.5000 sriov_en=true total_vfs=16"
    text = two(BURNING.format(1), first=newer, second=NEW, old=NEW)
    assert judge(text, "r", 0, OPTIONS).status == "failed"
    assert "05:00.0" in judge(text, "r", 0, OPTIONS).why
    text = two(BURNING.format(1), UP.format(2, "Up to date"), first=newer, second=NEW, old=NEW)
    assert judge(text, "r", 0, OPTIONS).status == "updated"


def test_what_a_log_repeats_counts_once() -> None:
    word = "The firmware version 2.32.5100 is up to date."
    log = ("@pipeline:r file /tmp/MLNX_OFED_LINUX.7.logs/general.log", word, "@pipeline:r file-end")
    assert judge(two(word, *log, first=NEW, second=NEW, old=NEW), "r", 0, OPTIONS).status == "failed"
    text = two(word, word, *log, first=NEW, second=NEW, old=NEW)
    assert judge(text, "r", 0, OPTIONS).status == "up to date"
