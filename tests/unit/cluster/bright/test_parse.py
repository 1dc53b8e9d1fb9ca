"""What cmsh prints, as data."""

from __future__ import annotations

import pytest

from pipeline.cluster.drivers.bright.parse import (
    STATUS,
    Answer,
    Refusal,
    UnexpectedError,
    plain,
    refusals,
    troubles,
    unreachable,
)

EVENT = "Mon Jul 18 16:13:04 2011 [notice] basecm11: Provisioning completed on node node001"

DEVICES = """\
hostname (key)   category         type
---------------- ---------------- ------------
bcm-nv-air                        HeadNode
compute0         default          PhysicalNode
"""


def test_events_between_lines_are_no_data() -> None:
    assert plain(f"a\n{EVENT}\nb\n") == "a\nb\n"
    assert plain(EVENT.replace("2011", "CEST 2011") + "\n") == ""


def test_a_padded_table_is_read_by_the_dashes() -> None:
    answer = Answer(DEVICES, as_json=False)
    assert answer.table(("hostname", "category", "type")) == [
        {"hostname": "bcm-nv-air", "category": "", "type": "HeadNode"},
        {"hostname": "compute0", "category": "default", "type": "PhysicalNode"},
    ]
    assert answer.rest() == ""


def test_tables_one_behind_the_other() -> None:
    answer = Answer(DEVICES + f"{EVENT}\n" + "name (key)\n----------\nx\n", as_json=False)
    assert len(answer.table(("hostname", "category", "type"))) == 2
    assert answer.table(("name",)) == [{"name": "x"}]


def test_a_value_that_was_cut_off_is_never_taken() -> None:
    cut = "name (key)  path      \n----------- ----------\nx           /cm/image+\n"
    with pytest.raises(UnexpectedError, match="cut off"):
        Answer(cut, as_json=False).table(("name", "path"))


def test_json_has_labels_of_any_case_and_events_in_between() -> None:
    text = f'[\n  {{\n{EVENT}\n    "Name (key)": "x",\n    "Kernel parameters": "a=b"\n  }}\n]\n[]\n'
    answer = Answer(text, as_json=True)
    assert answer.table(("name", "kernelparameters")) == [{"name": "x", "kernelparameters": "a=b"}]
    assert answer.table(("name",)) == []
    assert answer.rest() == ""


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "padded"])
def test_an_error_text_is_told_as_it_is(as_json: bool) -> None:
    with pytest.raises(UnexpectedError, match="Illegal option: d"):
        Answer("Illegal option: d\n", as_json=as_json).table(("name",))


def test_names_then_their_tables_though_one_has_none() -> None:
    table = "service (key)  monitored\n-------------- ---------\nopensm         yes\n"
    answer = Answer(f"node001\n{table}node002\nnode003\n{table}", as_json=False)
    left = {"node001", "node002", "node003"}
    found = {}
    while left:
        name = answer.name(left)
        left.remove(name)
        found[name] = len(answer.table(("service", "monitored"), left))
    assert found == {"node001": 1, "node002": 0, "node003": 1}


def test_other_columns_than_asked_for_are_refused() -> None:
    with pytest.raises(UnexpectedError, match="columns"):
        Answer(DEVICES, as_json=False).table(("hostname", "mac", "type"))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("opensm          [    UP    ]", "UP"),
        ("node001 ............. [   UP   ] restart-required, health check failed", "UP"),
        ("opensm          [   DOWN   ]", "DOWN"),
    ],
    ids=["service", "dots", "down"],
)
def test_a_status(line: str, status: str) -> None:
    match = STATUS.match(line)
    assert match is not None
    assert match["status"] == status


def test_a_validation_table_gives_field_and_message() -> None:
    lines = [
        "Code  Field                    Message",
        "----- ------------------------ ---------------------------",
        "1     category                 The category should be set",
    ]
    assert refusals(lines) == [Refusal("category", "The category should be set")]
    assert refusals(["all well"]) == []


def test_lines_that_say_that_it_went_well_are_no_trouble() -> None:
    lines = ["Successfully committed 2 Devices", "Command not found: sett", "The image 'x' does not exist"]
    assert troubles(lines) == lines[1:]


LOST = "CMMain::verifyAPI, rpc: Couldn't connect to server.\nNot connected!\n"


@pytest.mark.parametrize(
    ("out", "err", "is_so"),
    [
        ("", LOST, True),
        ("node001\n" + LOST, "", True),
        ("Error: connection refused\n", "", True),
        ("", "cmsh: could not resolve host head\n", True),
        ('[{"notes": "connection refused"}]\n[{"name": "default-image"}]\n', "", False),
        ("node001\necho Not connected!\nconnection refused by the switch\na\nb\n", "", False),
        ("name   notes\n------ ------------------\nimage  not connected!\n", "", False),
        ("", "illegal value 'connection refused'\n", False),
    ],
)
def test_only_what_cmsh_says_itself_is_no_connection(out: str, err: str, is_so: bool) -> None:
    assert unreachable(out, err) == is_so
