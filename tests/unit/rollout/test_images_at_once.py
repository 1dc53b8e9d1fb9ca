"""Two rollouts, each of its own nodes, make the image of the same version at the same time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.rollout import folder as folders
from pipeline.rollout.model import Node, Policy
from pipeline.rollout.states import Progress
from tests.faults.site import until
from tests.simulated_rollout import NEW, OLD, WAITS, Killed, Scene, World

ONE = Policy(canary=1, max_unavailable=1, waits=WAITS)


def two(tmp_path: Path) -> tuple[Scene, Scene]:
    world = World(("node001", "node002"))
    first, second = (Scene(tmp_path, world, ONE, (Node(name, "web", OLD),)) for name in world.names)
    return first, second


def at_making(world: World, monkeypatch: pytest.MonkeyPatch, does: Sequence[object]) -> None:
    """Have ``does`` called when the image is begun, and not whole yet."""
    effect, left = world.effect, list(does)

    def seen(what: str) -> None:
        if what == "image begun" and left:
            left.pop()()  # type: ignore[operator]
        effect(what)

    monkeypatch.setattr(world, "effect", seen)


def test_one_that_is_given_up_meanwhile_does_not_take_away_what_another_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = two(tmp_path)
    world, left = mine.world, list[set[str]]()

    def abort() -> None:
        assert other.give_up().outcome == "ended"
        left.append(set(world.begun))

    at_making(world, monkeypatch, [abort])
    assert mine.run().outcome == "ended"
    assert left == [{NEW}] and not world.calls["drop_begun"]


def test_whoever_comes_later_waits_until_the_image_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = two(tmp_path)
    world, ended = mine.world, list[Progress]()
    thread = threading.Thread(target=lambda: ended.append(other.run()))

    def come() -> None:
        thread.start()
        journal = other.folder / folders.JOURNAL
        until(lambda: f"the image {NEW} is being made by another rollout" in journal.read_text(), "it waits")
        assert world.calls["make_image"] == 1

    at_making(world, monkeypatch, [come])
    world.kill_at = 2  # as the image is begun
    with pytest.raises(Killed):
        mine.run()
    thread.join(60)
    assert [each.outcome for each in ended] == ["ended"] and world.calls["make_image"] == 2
    assert not world.begun and world.machines["node002"].installs == {NEW: 1}
