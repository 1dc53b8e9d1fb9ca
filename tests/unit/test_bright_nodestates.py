"""What syncinfo prints is known to nobody: many forms are read, and another is never taken for nothing."""

from __future__ import annotations

import struct
from io import BytesIO
from zoneinfo import ZoneInfo

import pytest

from pipeline.cluster.drivers.bright.moments import seconds
from pipeline.cluster.drivers.bright.nodestates import blocks, inherited, status, statuses, syncs
from pipeline.cluster.drivers.bright.parse import Answer, UnexpectedError
from pipeline.cluster.drivers.nodes import Sync

MOMENT = 1_700_000_000.0


@pytest.mark.parametrize(
    "text",
    [
        "1700000000",
        "1700000000000",
        "2023-11-14T22:13:20",
        "2023-11-14 22:13:20.000",
        "2023-11-14T23:13:20+01:00",
        "2023/11/14 22:13:20",
        "Tue Nov 14 22:13:20 2023",
        "Tue Nov 14 22:13:20 UTC 2023",
        "14 Nov 2023 22:13:20",
    ],
)
def test_a_time_is_read_in_many_forms(text: str) -> None:
    assert seconds(text) == MOMENT


@pytest.mark.parametrize("text", ["", "-", "never", "N/A"])
def test_no_time_is_never(text: str) -> None:
    assert seconds(text) == 0


def test_another_time_is_an_error() -> None:
    with pytest.raises(UnexpectedError, match="yesterday"):
        seconds("yesterday")


@pytest.mark.parametrize(
    ("cell", "condition", "text"),
    [
        ("[   UP   ]", "up", "UP"),
        (
            "[   UP   ] restart-required, health check failed",
            "up",
            "UP restart-required, health check failed",
        ),
        ("[  DOWN  ], unassigned", "down", "DOWN unassigned"),
        ("[     INSTALLING      ] (provisioning started)", "installing", "INSTALLING (provisioning started)"),
        ("[ INSTALLER_CALLINGINIT ] (switching)", "starting", "INSTALLER_CALLINGINIT (switching)"),
        ("[ SOMETHING_NEW ]", "unknown", "SOMETHING_NEW"),
        ("UP", "unknown", "UP"),
    ],
)
def test_a_status_is_a_condition_with_what_the_manager_says(cell: str, condition: str, text: str) -> None:
    found = status(cell)
    assert (found.condition, found.text) == (condition, text)


@pytest.mark.parametrize(
    "row",
    [
        {
            "hostname (key)": "n1",
            "softwareimage": "a",
            "mode": "FULL",
            "ended": "1700000000",
            "result": "done",
        },
        {"Node": "n1", "Image": "a", "Type": "full", "Last sync": "1700000000", "Status": "OK"},
        {"Device": "n1", "Software image": "a", "Install mode": "FULL", "End time": 1700000000},
    ],
)
def test_a_row_with_other_headers_is_the_same_provisioning(row: dict[str, object]) -> None:
    assert syncs([row]) == {"n1": Sync("a", "FULL", MOMENT, True)}


def test_a_provisioning_that_failed_says_so_and_one_that_never_was_is_not_good() -> None:
    failed = {"node": "n1", "image": "a", "ended": "1700000000", "result": "rsync error 12"}
    never = {"node": "n2", "image": "", "ended": "never", "result": ""}
    assert syncs([failed, never]) == {
        "n1": Sync("a", "", MOMENT, False, "rsync error 12"),
        "n2": Sync(),
    }


@pytest.mark.parametrize("row", [{"node": "n1", "image": "a"}, {"image": "a", "ended": "1700000000"}])
def test_a_row_without_the_node_or_the_time_is_an_error(row: dict[str, object]) -> None:
    with pytest.raises(UnexpectedError, match="without the node or the time"):
        syncs([row])


def test_a_cell_that_was_cut_off_is_an_error() -> None:
    text = "Node Image    Ended\n---- -------- ----------\nn1   opensta+ 1700000000\n"
    with pytest.raises(UnexpectedError, match="cut off"):
        syncs(Answer(text, as_json=False).any_table())


@pytest.mark.parametrize("head", ["node001:", "node001", "Node: node001", "Device node001"])
def test_a_block_of_lines_is_a_row(head: str) -> None:
    (row,) = blocks(f"{head}\n  Software image:   a\n  Mode = FULL\n  End time: 1700000000\n")
    assert syncs([row]) == {"node001": Sync("a", "FULL", MOMENT, True)}


@pytest.mark.parametrize("text", ["Provisioning is not possible.", "  Mode: FULL\n", "node001: a FULL x\n"])
def test_lines_that_are_no_blocks_are_an_error(text: str) -> None:
    with pytest.raises(UnexpectedError):
        blocks(text)


@pytest.mark.parametrize(
    ("cell", "value", "is_inherited"),
    [
        ("AUTO (Category)", "AUTO", True),
        ("image (category:default)", "image", True),
        ("image", "image", False),
        ("", "", False),
        (" (Category)", "", True),
    ],
)
def test_an_inherited_value_says_so_behind_it(cell: str, value: str, is_inherited: bool) -> None:
    assert inherited(cell) == (value, is_inherited)


def athens() -> ZoneInfo:
    rule = b"\nEET-2EEST,M3.5.0/3,M10.5.0/4\n"
    body = struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 7200, 0, 0) + b"EET\0"
    head = b"TZif2" + bytes(15)
    return ZoneInfo.from_file(BytesIO(head + body + head + body + rule))


@pytest.mark.parametrize(
    "text",
    [
        "1795395769",
        "Mon Nov 23 03:02:49 EET 2026",
        "Mon Nov 23 03:02:49 2026",
        "2026-11-23T03:02:49",
        "2026-11-23 03:02:49 EET",
        "Mon Nov 23 01:02:49 UTC 2026",
        "Mon Nov 23 03:02:49 +0200 2026",
        "2026-11-23T02:02:49+01:00",
    ],
)
def test_a_moment_is_one_number_however_it_is_written(text: str) -> None:
    assert seconds(text, athens) == 1795395769


def test_the_hour_that_comes_twice_goes_on_where_the_zone_is_told() -> None:
    told = ["03:59:59 EEST", "03:00:00 EET", "03:59:59 EET"]
    times = [seconds(f"Sun Oct 25 {one} 2026", athens) for one in told]
    assert [round(time - times[0]) for time in times] == [0, 1, 3600]


def test_a_zone_is_asked_for_only_where_a_time_has_none() -> None:
    def nobody() -> ZoneInfo:
        raise AssertionError

    assert seconds("2026-11-23T02:02:49+01:00", nobody) == seconds("1795395769", nobody)


def test_an_odd_row_is_left_out_and_rows_that_are_all_odd_are_an_error() -> None:
    good = {"node": "n1", "image": "a", "ended": "1700000000"}
    odd = {"node": "n2", "image": "a", "ended": "17 o'clock"}
    runs = {"node": "n3", "image": "a", "ended": "in progress"}
    assert list(syncs([odd, good, runs, {"node": "n4"}])) == ["n1"]
    assert syncs([runs]) == {}
    with pytest.raises(UnexpectedError, match="17 o'clock"):
        syncs([runs, odd])


def test_an_odd_line_is_odd_for_its_node_only() -> None:
    lines = ["n1 ..... [   UP   ]", "n2 ..... what", "  more", "n3 [ UP"]
    found = statuses(lines, ["n1", "n2", "n3", "n4"])
    assert {name: (one.condition, one.text) for name, one in found.items()} == {
        "n1": ("up", "UP"),
        "n2": ("unknown", "..... what"),
        "n3": ("unknown", "[ UP"),
    }
    with pytest.raises(UnexpectedError, match="what"):
        statuses(lines[1:3], ["n1"])
