"""What syncinfo prints is known to nobody: many forms are read, and another is never taken for nothing."""

from __future__ import annotations

import pytest

from pipeline.cluster.drivers.bright.nodestates import blocks, inherited, seconds, status, syncs
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
        Answer(text, as_json=False).any_table()


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
