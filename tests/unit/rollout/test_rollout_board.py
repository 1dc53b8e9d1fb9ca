"""What is seen while a rollout goes on: plain lines, and a board on a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from rollout_examples import T0, an_order, goes, how_it_is

from pipeline.cli.rollout_board import PlainBoard
from pipeline.cli.rollout_live import frame
from pipeline.rollout.model import Order
from pipeline.rollout.states import Event, Progress
from pipeline.rollout.summary import summarize

ORDER = an_order()
BEGUN = (Event(T0, word="begun"), Event(T0, word="batch", batch=1))
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"


def told(*steps: Progress, folder: Path | None = None, order: Order = ORDER) -> list[list[str]]:
    """The lines after each step, the first before any."""
    stream = io.StringIO()
    board = PlainBoard(order, stream, folder)
    found = [stream.getvalue().splitlines()]
    for progress in steps:
        at = stream.tell()
        board.update(order, progress)
        found.append(stream.getvalue()[at:].splitlines())
    return found


def test_plain_lines_tell_each_change_once(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("E  agent is dead\n")
    first = (*BEGUN, goes("node001", "released"))
    second = (*first, Event(T0 + 90, word="batch", batch=2))
    waits = "ceph: 3 PGs are not active+clean"
    both = [Event(T0 + 91, node=name, state="preparing", why=waits) for name in ("node002", "node003")]
    less = [Event(T0 + 95, node="node003", state="preparing", why="ceph: 1 PG is not active+clean")]
    guests = Event(T0 + 95, node="node003", why="nova: guests a, b")
    bad = Event(T0 + 99, node="node003", state="failed", why="1 failed", failed_checks=("test_a",), log="log")
    back = [
        Event(T0 + 99, word="going back", why="1 nodes failed"),
        Event(T0 + 99, node="node003", state="prepared", way="back"),
    ]
    last = [Event(T0 + 120, word="category", why="computes"), Event(T0 + 120, word="ended")]
    steps = [
        (*BEGUN, goes("node001", "rebooting")),
        first,
        first,
        (*second, both),
        (*second, both, less, guests),
    ]
    steps += [(*steps[-1], goes("node003", "provisioned", T0 + 96), bad)]
    steps += [(*steps[-1], back), (*steps[-1], back, last)]
    assert told(*(how_it_is(ORDER, *events) for events in steps), folder=tmp_path) == [
        ["ib: rollout 3 to openstack-image-mellanox@2"],
        ["ib: batch 1 of 2: node001", "node001: rebooting"],
        ["node001: released"],
        [],
        ["ib: batch 2 of 2: node[002-003]", f"node[002-003]: preparing: {waits}"],
        ["node003: ceph: 1 PG is not active+clean", "node003: note: nova: guests a, b"],
        ["node003: failed while it was being verified: 1 failed (test_a)", "node003: | E  agent is dead"],
        ["ib: nodes are taken back: 1 nodes failed", "node003: prepared (back)"],
        ["ib: category computes has openstack-image-mellanox-2", "ib: ended: 1 nodes failed"],
    ]


def test_nothing_in_plain_lines_drives_a_terminal() -> None:
    bad = Event(T0, node="node001", state="failed", why="\x1b[2J\r\nx")
    lines = told(how_it_is(ORDER, bad, Event(T0, word="note", why="\x9b1m")))
    assert lines[1] == ["ib: note: \\x9b1m", "node001: failed before its turn: \\x1b[2J\\r\\nx"]


def test_nothing_is_told_again_when_a_rollout_is_resumed_but_how_it_stands() -> None:
    events = (*BEGUN, goes("node001", "released"), Event(T0, word="batch", batch=2))
    resumed = (*events, goes("node002", "installing"), Event(T0 + 60, word="resumed"))
    [_, lines] = told(how_it_is(ORDER, *resumed))
    assert lines == ["ib: batch 2 of 2: node[002-003]", "node001: released", "node002: installing"]


def board_of(order: Order, *events: object, width: int = 80, height: int = 24) -> list[str]:
    progress = how_it_is(order, *events)  # type: ignore[arg-type]
    summary = summarize(order, progress, T0 + 100, tail=lambda log: "E  agent is dead")
    lines = frame(order, progress, summary, now=T0 + 100, width=width, height=height)
    return [line.plain.rstrip() for line in lines]


def test_the_board_has_nodes_by_state_the_batch_time_left_and_failures() -> None:
    bad = Event(T0 + 95, node="node003", state="failed", why="1 failed", log="log")
    events = (goes("node001", "released"), Event(T0 + 80, word="batch", batch=2))
    moving = (goes("node002", "installing", T0 + 40), goes("node003", "provisioned", T0 + 20), bad)
    assert board_of(ORDER, *BEGUN, *events, *moving) == [
        "ib: rollout 3 to openstack-image-mellanox@2",
        "running; batch 2 of 2, 1 min 40 s, about 20 s left",
        "█████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░ 1 of 3 released",
        "  installing  1  node002  20 s",
        "  released    1  node001",
        "  failed      1  node003",
        "failed",
        "  node003: while it was being verified: 1 failed",
        "    | E  agent is dead",
    ]


@pytest.mark.parametrize(("width", "height"), [(120, 40), (60, 12), (20, 5), (1, 1)])
def test_thousands_of_nodes_fit_on_the_terminal(width: int, height: int) -> None:
    names = [f"node{number:04d}" for number in range(4000)]
    order = an_order([names[at : at + 50] for at in range(0, 4000, 50)])
    odd = [goes(name, "installing") for name in names[1::2]]
    bad = [Event(T0, node=name, state="failed", why="a long reason " * 9, log="log") for name in names[::4]]
    lines = board_of(order, *BEGUN, *odd, *bad, width=width, height=height)
    assert len(lines) <= height and all(len(line) <= width for line in lines)
    if height > 5:
        assert len(lines) == height
        assert re.fullmatch(r"… [\d,]+ more lines: pipeline rollout status ib --number 3", lines[-1])
        assert any(re.match(r"  installing  2,000  node\[0001,0003,.*…  1 min", line) for line in lines)


SHOW = """
import select, sys
import msgspec
from rollout_examples import an_order, how_it_is
from pipeline.cli.rollout_board import watching_rollout
from pipeline.rollout.states import Event
order = an_order()
commands = open(int(sys.argv[1]), "rb", buffering=0)
with watching_rollout(order, plain="plain" in sys.argv) as board:
    events = []
    for line in commands:
        if line == b"raise\\n":
            raise RuntimeError("a defect")
        events += msgspec.json.decode(line, type=list[Event])
        board.update(order, how_it_is(order, *events))
        while hasattr(board, "refresh") and not select.select([commands], [], [], 0.02)[0]:
            board.refresh()
print("after")
"""


class Shown:
    """A rollout being watched on a terminal of its own; ``seen`` is all that was written to it."""

    def __init__(self, *words: str, width: int = 100, term: str = "xterm-256color") -> None:
        self.controller, terminal = pty.openpty()
        self._terminal = terminal
        self.resize(width)
        reader, self._commands = os.pipe()
        places = f"{Path(__file__).parent}:{Path(__file__).parents[3]}"
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", sys.executable, "-c", SHOW, str(reader), *words],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            pass_fds=[reader],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": places, "TERM": term},
        )
        os.close(reader)
        self.seen = b""

    def resize(self, width: int) -> None:
        termios.tcsetwinsize(self._terminal, (30, width))

    def tell(self, *events: Event) -> None:
        os.write(self._commands, msgspec.json.encode(events) + b"\n")

    def raise_error(self) -> None:
        os.write(self._commands, b"raise\n")

    def until(self, is_so: Callable[[bytes], object], what: str) -> None:
        end = time.monotonic() + 30
        while not is_so(self.seen):
            assert time.monotonic() < end, (what, self.seen)
            if select.select([self.controller], [], [], 0.05)[0]:
                self.seen += os.read(self.controller, 1 << 16)

    def end(self) -> int:
        os.close(self._commands)
        self._commands = -1
        while self.process.poll() is None or select.select([self.controller], [], [], 0)[0]:
            if select.select([self.controller], [], [], 0.05)[0]:
                self.seen += os.read(self.controller, 1 << 16)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        for fd in (self.controller, self._terminal, self._commands):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def show() -> Iterator[Callable[..., Shown]]:
    made: list[Shown] = []

    def opened(*words: str, width: int = 100, term: str = "xterm-256color") -> Shown:
        made.append(Shown(*words, width=width, term=term))
        return made[-1]

    yield opened
    for each in made:
        each.close()


def test_on_a_terminal_the_board_is_drawn_over_and_ends_with_how_it_ended(show: Callable[..., Shown]) -> None:
    shown = show()
    shown.tell(*BEGUN, *goes("node001", "rebooting"))
    shown.until(lambda seen: b"rebooting" in seen, "the first drawing")
    shown.tell(*goes("node001", "released"), Event(T0 + 90, word="stopped", why="by me"))
    assert shown.end() == 0
    assert shown.seen.count(HIDE_CURSOR) == 1
    live, _, after = shown.seen.partition(SHOW_CURSOR)
    assert HIDE_CURSOR in live and b"\x1b[1A" in live
    assert b"stopped: by me" in live and b"1 of 3 released" in live
    assert after.endswith(b"after\r\n") and SHOW_CURSOR not in after


@pytest.mark.parametrize("name", ["RuntimeError", "KeyboardInterrupt"])
def test_a_defect_or_an_interrupt_gives_the_cursor_back(show: Callable[..., Shown], name: str) -> None:
    shown = show()
    shown.tell(*BEGUN, *goes("node001", "installing"))
    shown.until(lambda seen: b"installing" in seen, "the first drawing")
    if name == "RuntimeError":
        shown.raise_error()
    else:
        os.write(shown.controller, b"\x03")
    shown.until(lambda seen: name.encode() in seen, "what ended it")
    assert shown.end() != 0
    assert shown.seen.rindex(SHOW_CURSOR) > shown.seen.rindex(HIDE_CURSOR)


def test_a_terminal_made_narrower_is_drawn_anew_within_its_width(show: Callable[..., Shown]) -> None:
    shown = show(width=100)
    shown.tell(*BEGUN, Event(T0, node="node001", state="preparing", why="ceph: " + "waits " * 30))
    shown.until(lambda seen: b"waits waits" in seen, "the first drawing")
    before = len(shown.seen)
    shown.resize(40)
    shown.until(lambda seen: b"\x1b[2J" in seen[before:], "the terminal is cleared")
    assert shown.end() == 0
    drawn = shown.seen[shown.seen.index(b"\x1b[2J") :].partition(SHOW_CURSOR)[0].decode()
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn).replace("\r", "\n").split("\n")
    assert any("waits" in line for line in lines)
    assert max(map(len, lines)) <= 40


@pytest.mark.parametrize(("words", "term"), [(["plain"], "xterm"), ([], "dumb")])
def test_plain_lines_where_they_are_asked_for_or_the_terminal_can_do_no_more(
    show: Callable[..., Shown], words: list[str], term: str
) -> None:
    shown = show(*words, term=term)
    shown.tell(*BEGUN, *goes("node001", "rebooting"))
    assert shown.end() == 0
    assert b"\x1b" not in shown.seen
    assert shown.seen.decode().splitlines() == [
        "ib: rollout 3 to openstack-image-mellanox@2",
        "ib: batch 1 of 2: node001",
        "node001: rebooting",
        "after",
    ]
