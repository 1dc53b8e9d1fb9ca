"""A rollout whose order or journal can't be read keeps only its own nodes, and can be given up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.cli import main
from pipeline.errors import UsageError
from pipeline.rollout import folder as folders
from pipeline.rollout.model import Node, Order, Policy
from tests.simulated_rollout import OLD, WAITS, Killed, Scene, World

NAMES = ("node001", "node002", "node003")
ONE = Policy(canary=1, max_unavailable=1, waits=WAITS)


def _torn(folder: Path) -> None:
    with (folder / "journal.jsonl").open("a") as file:
        file.write("garbage\n")


def _not_text(folder: Path) -> None:
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"at":1.0,"why":"\xff"}\n')


def _too_deep(folder: Path) -> None:
    with (folder / "journal.jsonl").open("a") as file:
        file.write('{"at":1.0,"x":' + "[" * 100_000 + "\n")


def _gone(folder: Path) -> None:
    (folder / "journal.jsonl").unlink()


def _bad_order(folder: Path) -> None:
    (folder / "order.json").write_text("{")


def _no_order(folder: Path) -> None:
    (folder / "order.json").unlink()


ALL = (_torn, _not_text, _too_deep, _gone, _bad_order, _no_order)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Rollout 1 of the cluster lab, killed while node002 was being installed; node001 is released."""
    (tmp_path / "pipeline.toml").write_text('[site]\nstore = "store"\nimages = "images"\n')
    scene = Scene(tmp_path / "store", World(NAMES), ONE)

    def kill(now: object) -> None:
        if scene.world.machines["node002"].rebooted is not None:
            raise Killed

    scene.watch = kill
    with pytest.raises(Killed):
        scene.run()
    return scene


@pytest.fixture
def command(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    monkeypatch.chdir(scene.store.parent)

    def run(*words: str) -> tuple[int, str]:
        code = main(["rollout", *words])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def _of(order: Order, *names: str) -> Order:
    return replace(order, nodes=tuple(Node(name, "web", OLD) for name in names), batches=(names,))


@pytest.mark.parametrize("damage", ALL)
def test_it_is_told_with_the_next_command_and_can_be_given_up(
    scene: Scene, command: Callable[..., tuple[int, str]], damage: Callable[[Path], None]
) -> None:
    damage(scene.folder)
    for verb in ("status", "resume"):
        code, said = command(verb, "lab")
        assert code == 1 and "run: pipeline rollout abort lab --number 1" in said, said
        if damage is not _gone:
            assert "rebooting: node002; released: node001" in said
    code, said = command("abort", "lab")
    assert code == 0 and "rollout 1 of lab: given up, though it could not be read" in said
    assert folders.begin(scene.store, scene.order).name == "rollout-2"
    code, said = command("abort", "lab", "--number", "1")
    assert code == (2 if damage is _gone else 1) and "run:" not in said, "it is at its end"


@pytest.mark.parametrize("damage", ALL)
def test_it_keeps_only_nodes_that_may_be_its_own(scene: Scene, damage: Callable[[Path], None]) -> None:
    damage(scene.folder)
    with pytest.raises(UsageError) as refused:
        folders.begin(scene.store, _of(scene.order, "node003", "node004"))
    [problem] = refused.value.problems
    assert problem.command == "pipeline rollout abort lab --number 1"
    other = replace(_of(scene.order, "other001"), cluster="other")
    if damage in (_bad_order, _no_order):
        assert "which nodes belong to it is not known" in problem.message
        with pytest.raises(UsageError, match="not known"):
            folders.begin(scene.store, other)
    else:
        assert problem.message.startswith("node003: rollout 1 of lab, to which they belong, can't be read")
        assert folders.begin(scene.store, other).name == "rollout-1"


def test_while_somebody_runs_it_nothing_new_is_begun(
    scene: Scene, command: Callable[..., tuple[int, str]]
) -> None:
    with folders.held(scene.folder):
        _torn(scene.folder)
        code, said = command("abort", "lab", "--json")
        assert code == 0 and json.loads(said)["running"] and folders.asked_to_abort(scene.folder)
        assert json.loads(said)["last_known"]["node001"] == "released"
    assert not folders.is_at_its_end(scene.folder)


def test_a_rollout_that_was_never_there_is_none(
    scene: Scene, command: Callable[..., tuple[int, str]]
) -> None:
    shutil.rmtree(scene.folder)
    code, said = command("abort", "lab", "--number", "1")
    assert code == 2 and "there is no rollout 1" in said


@pytest.mark.parametrize("verb", ["status", "resume", "abort", "rollback"])
def test_a_name_that_leads_elsewhere_is_no_cluster_and_nothing_is_written_there(
    scene: Scene, command: Callable[..., tuple[int, str]], verb: str
) -> None:
    outside = scene.store.parent / "outside"
    shutil.copytree(scene.folder.parent, outside / "rollouts")
    before = {file: file.read_bytes() for file in outside.rglob("*") if file.is_file()}
    for name in ("../../outside", "/srv/outside", "a b; touch x"):
        code, said = command(verb, name)
        assert code == 2 and f'the name "{name}" is no safe file name' in said, said
        assert "run:" not in said
    assert before == {file: file.read_bytes() for file in outside.rglob("*") if file.is_file()}


@pytest.mark.parametrize("verb", ["status", "resume", "abort", "rollback"])
def test_a_cluster_that_there_is_not_is_told_with_those_that_there_are(
    scene: Scene, command: Callable[..., tuple[int, str]], verb: str
) -> None:
    clusters = scene.store.parent / "recipes/clusters"
    clusters.mkdir(parents=True)
    (clusters / "openstack-mellanox.toml").touch()
    code, said = command(verb, "openstack-melanox")
    assert code == 2 and 'no cluster "openstack-melanox" (did you mean "openstack-mellanox"?)' in said, said
    assert "run:" not in said
