"""Which rollout a command is about: never another one than whoever types it has in mind."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.cli import main
from pipeline.rollout import folder as folders
from pipeline.rollout.model import Node, Order, Target
from pipeline.rollout.states import Event

OLD, NEW = "web-1", "web-2"
Typed = Callable[[str], tuple[int, str]]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    (tmp_path / "pipeline.toml").write_text('[site]\nstore = "store"\nimages = "images"\n')
    monkeypatch.chdir(tmp_path)

    def run(command: str) -> tuple[int, str]:
        code = main(shlex.split(command)[1:])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def begun(tmp_path: Path, node: str, who: str, *, ended: bool = False, back_of: int | None = None) -> Path:
    """A rollout of this node, which it has taken to the new version; nobody runs it."""
    targets = {NEW: Target(NEW, "web", 2), OLD: Target(OLD, "web", 1)}
    order = Order(0, "lab", who, 1.0, (Node(node, "web", OLD),), ((node,),), targets, {node: NEW})
    folder = folders.begin(tmp_path / "store", replace(order, back_of=back_of))
    events = [Event(1.0, word="begun"), Event(2.0, node=node, state="rebooting")]
    if ended:
        events += [Event(3.0, node=node, state="released"), Event(4.0, word="ended")]
    with folders.held(folder) as journal:
        journal.write(events)
    return folder


@contextmanager
def running(*where: Path) -> Iterator[None]:
    with ExitStack() as stack:
        for folder in where:
            stack.enter_context(folders.held(folder))
        yield


@pytest.mark.parametrize("verb", ["abort", "resume", "rollback"])
def test_with_two_that_are_not_at_their_end_each_is_named_with_its_command(
    tmp_path: Path, typed: Typed, verb: str
) -> None:
    begun(tmp_path, "node002", "carl", ended=True)
    begun(tmp_path, "node001", "anna")
    last = begun(tmp_path, "node003", "bert")
    with running(last):
        code, said = typed(f"pipeline rollout {verb} lab")
        assert not folders.asked_to_abort(last), "bert's goes on"
    assert code == 2 and "has to be said: --number N" in said, said
    assert "rollout 2 of node001, begun by anna, has not come to its end" in said
    assert "rollout 3 of node003, begun by bert, is running" in said and "carl" not in said
    assert f"run: pipeline rollout {verb} lab --number 2" in said
    third = "status" if verb == "resume" else verb
    assert f"run: pipeline rollout {third} lab --number 3" in said


@pytest.mark.parametrize("verb", ["abort", "resume"])
def test_the_only_one_that_is_not_at_its_end_is_meant_also_when_a_newer_one_is(
    tmp_path: Path, typed: Typed, verb: str
) -> None:
    mine = begun(tmp_path, "node001", "anna")
    begun(tmp_path, "node003", "bert", ended=True)
    with running(mine):
        code, said = typed(f"pipeline rollout {verb} lab")
        assert "rollout 1 of lab" in said and "rollout 2" not in said, said
        assert code == (0 if verb == "abort" else 1)
        assert bool(folders.asked_to_abort(mine)) == (verb == "abort")


def test_the_commands_that_are_told_are_about_the_rollout_that_is_told_of(
    tmp_path: Path, typed: Typed
) -> None:
    mine = begun(tmp_path, "node001", "anna")
    other = begun(tmp_path, "node003", "bert")
    with running(mine, other):
        code, said = typed("pipeline rollout status lab --number 1")
        assert code == 0 and "  pipeline rollout abort lab --number 1  #" in said, said
        code, said = typed("pipeline rollout resume lab --number 1")
        assert code == 1 and "run: pipeline rollout abort lab --number 1" in said, said
        code, said = typed("pipeline rollout abort lab --number 1")
        assert code == 0 and "run: pipeline rollout status lab --number 1" in said, said
        assert folders.asked_to_abort(mine) and not folders.asked_to_abort(other)
    code, said = typed("pipeline rollout status lab --number 1 --json")
    assert code == 0 and '"pipeline rollout resume lab --number 1"' in said, said


@pytest.mark.parametrize("back_of", [None, 5])
def test_an_unfinished_one_and_a_newer_one_that_has_ended_can_both_be_taken_back(
    tmp_path: Path, typed: Typed, back_of: int | None
) -> None:
    begun(tmp_path, "node001", "anna")
    begun(tmp_path, "node003", "bert", ended=True, back_of=back_of)
    code, said = typed("pipeline rollout rollback lab")
    assert code == 2 and "which rollout of lab is to be taken back has to be said" in said, said
    assert "run: pipeline rollout rollback lab --number 1" in said
    assert "rollout 2 of node003, begun by bert, has ended" in said
    assert f"run: pipeline rollout {'status' if back_of else 'rollback'} lab --number 2" in said


def test_one_that_can_not_be_read_may_be_meant_as_well(tmp_path: Path, typed: Typed) -> None:
    mine = begun(tmp_path, "node001", "anna")
    begun(tmp_path, "node003", "bert")
    (mine / folders.ORDER).write_text("{")
    code, said = typed("pipeline rollout resume lab")
    assert code == 2 and "rollout 1 can't be read" in said, said
    assert "run: pipeline rollout abort lab --number 1" in said
    assert "run: pipeline rollout resume lab --number 2" in said
