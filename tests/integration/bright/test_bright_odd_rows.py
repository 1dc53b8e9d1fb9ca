"""What is odd about one node is nothing about the others, and a lost answer is nothing about any."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path

import pytest

from pipeline.cluster.drivers.bright.nodes import BrightNodes
from pipeline.cluster.head import Ran
from pipeline.errors import MachineError, PipelineError
from pipeline.lab.head import power
from pipeline.lab.head.switches import Switches
from tests.integration.bright.changed_answers import Change, Send, nodes_with
from tests.integration.bright_head import LabHead, some_switches

PAIR = ("node001", "node002")
SUMMER = b"EET-2EEST,M3.5.0/3,M10.5.0/4"
"""Athens."""


WORDS = ("rsync: connection refused", "could not connect", "not connected!", "CMMain::verifyAPI failed")


@some_switches(0, 4)
def test_what_is_said_of_a_node_is_nothing_about_the_manager(tmp_path: Path, switches: Switches) -> None:
    """Of each node something else, so that one question has all of it in its answer."""
    lab = LabHead(tmp_path, switches)
    failed = dict(zip(("node001", "node003", "vnode001", "vnode002"), WORDS, strict=True))
    remarked = dict(zip(("vnode009", "vnode010", "vnode011", "vnode012"), WORDS, strict=True))
    for node, words in failed.items():
        power.put_status(lab.directory, node, "INSTALLER_FAILED", words)
    for node, words in remarked.items():
        power.put_status(lab.directory, node, "UP", "", [words])
    found = BrightNodes(lab.head).statuses([*failed, *remarked, "node002"])
    assert {node: one.condition for node, one in found.items()} == {
        **dict.fromkeys(failed, "failed"),
        **dict.fromkeys(remarked, "up"),
        "node002": "up",
    }
    for node, words in {**failed, **remarked}.items():
        assert words in found[node].text
    surveyed = BrightNodes(lab.head).survey().nodes
    assert {surveyed[node].status.condition for node in failed} == {"failed"}


def test_an_odd_line_of_a_status_is_odd_for_its_node(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)

    def change(send: Send, asked: str) -> Ran:
        ran = send(asked)
        return Ran(ran.code, re.sub(r"(?m)^node001 .*$", "node001 is busy\n  (with what)", ran.out), ran.err)

    found = nodes_with(lab.head, change).statuses(PAIR)
    assert (found["node001"].condition, found["node001"].text) == ("unknown", "is busy")
    assert found["node002"].condition == "up"

    def all_odd(send: Send, asked: str) -> Ran:
        ran = send(asked)
        return Ran(ran.code, re.sub(r"(?m)^(v?node\d+|masterdoop) .*$", r"\1 is busy", ran.out), ran.err)

    with pytest.raises(PipelineError, match="is busy"):
        nodes_with(lab.head, all_odd).statuses(PAIR)


@pytest.mark.parametrize(
    "switches",
    [
        Switches(),
        Switches(json="illegal", events="rare"),
        Switches(syncinfo="short", events="rare"),
        Switches(syncinfo="short", json="illegal", events="rare"),
        Switches(syncinfo="blocks", events="rare"),
    ],
)
def test_an_odd_time_is_odd_for_its_node(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    BrightNodes(lab.head).reboot(PAIR)
    time_ = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+|\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}|\d{10}\.\d{3}")

    def putting(word: str) -> Change:
        def change(send: Send, asked: str) -> Ran:
            ran = send(asked)
            if "syncinfo" not in asked:
                return ran
            head, node, rest = ran.out.partition("node001")
            rest = time_.sub(lambda found: word.ljust(len(found[0])), rest, count=1)
            return Ran(ran.code, head + node + rest, ran.err)

        return change

    for word in ("in progress", "23rd of 2026", ""):
        found = nodes_with(lab.head, putting(word)).synced(PAIR)
        assert found["node002"].is_good and found["node002"].ended > 0, word
        assert ("node001" in found) == (word == ""), word
        if word == "":
            assert found["node001"].ended == 0 and not found["node001"].is_good


def test_a_row_that_was_cut_off_is_odd_for_its_node(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(json="illegal", events="rare"))
    BrightNodes(lab.head).reboot(PAIR)

    def cutting(nodes: str) -> Change:
        def change(send: Send, asked: str) -> Ran:
            ran = send(asked)
            row = rf"(?m)^({nodes} +)openstack-image {{49}}"
            return Ran(ran.code, re.sub(row, rf"\1{'i' * 63}+", ran.out), ran.err)

        return change

    assert list(nodes_with(lab.head, cutting("node001")).synced(PAIR)) == ["node002"]
    with pytest.raises(PipelineError, match="cut off"):
        nodes_with(lab.head, cutting(r"node\d+")).synced(PAIR)


def test_a_first_provisioning_that_has_not_ended_is_no_error(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    BrightNodes(lab.head).reboot(["node001"])

    def change(send: Send, asked: str) -> Ran:
        ran = send(asked)
        return Ran(ran.code, re.sub(r'"ended": "[^"]*"', '"ended": "in progress"', ran.out), ran.err)

    assert nodes_with(lab.head, change).synced(PAIR) == {}

    def unknown(send: Send, asked: str) -> Ran:
        ran = send(asked)
        return Ran(ran.code, re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "the 23rd".ljust(23), ran.out), ran.err)

    with pytest.raises(PipelineError, match="23rd"):
        nodes_with(lab.head, unknown).synced(PAIR)


@pytest.mark.parametrize("switches", [Switches(), Switches(json="illegal"), Switches(syncinfo="blocks")])
def test_a_cut_answer_is_no_answer_and_changes_no_form(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    power.put_status(lab.directory, "node002", "UP", "", ["health check failed"])
    BrightNodes(lab.head).reboot(PAIR)
    cuts: list[str] = []

    def cutting(part: float) -> Change:
        def change(send: Send, asked: str) -> Ran:
            ran = send(asked)
            if cuts or ran.code or ran.err:
                return ran
            cuts.append(asked)
            at = int(part * len(ran.out)) if 0 < part < 1 else int(part)
            return Ran(0, ran.out[:at], "")

        return change

    for ask in ("statuses", "synced"):
        whole = getattr(BrightNodes(lab.head), ask)(PAIR)
        for part in (0, 1, 60, 0.3, 0.6):
            cuts.clear()
            nodes = nodes_with(lab.head, cutting(part))
            with pytest.raises(MachineError, match="only in part"):
                getattr(nodes, ask)(PAIR)
            assert getattr(nodes, ask)(PAIR) == whole, (ask, part)


def zone_file(path: Path) -> None:
    """A zone that has nothing but its rule."""
    body = struct.pack(">6l", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", 7200, 0, 0) + b"EET\0"
    head = b"TZif2" + bytes(15)
    path.write_bytes(head + body + head + body + b"\n" + SUMMER + b"\n")


def test_the_same_moment_is_the_same_number_in_every_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dates of the head node's own zone, seconds since 1970, in JSON and in tables."""
    zone_file(tmp_path / "zone")
    monkeypatch.setenv("TZ", f":{tmp_path}/zone")
    begun = time.time()
    for number, form in enumerate(("table", "short", "blocks")):
        for json in ("yes", "illegal"):
            lab = LabHead(tmp_path / f"{form}-{json}-{number}", Switches(syncinfo=form, json=json))
            BrightNodes(lab.head).reboot(["node001"])
            ended = BrightNodes(lab.head).synced(["node001"])["node001"].ended
            assert begun - 1 <= ended <= time.time() + 1, (form, json)
