"""What is kept and said of a stage that failed in a way that nobody foresaw."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from pipeline.build.stage import StageRun, run_stage
from pipeline.chroot.root import Root
from pipeline.errors import PipelineError
from pipeline.events import Event
from pipeline.stages.base import Inputs, Stage
from pipeline.store.records import Failed, Failure
from pipeline.store.store import Store
from pipeline.store.work import Work
from tests.integration.small_root import SmallRoot

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="entering roots takes root")

WORDS = "no space left for anything at all"
PLACE = "recipes/web/recipe.toml:7"


class Outside(Stage, frozen=True, kw_only=True, tag="outside"):
    """Fails before anything of the image is called."""

    def run(self, root: Root, inputs: Inputs) -> None:
        raise KeyError("unforeseen")


def overflows() -> NoReturn:
    raise OverflowError("too large for it")


class Inside(Stage, frozen=True, kw_only=True, tag="inside"):
    """Fails in the image."""

    def run(self, root: Root, inputs: Inputs) -> None:
        root.call(overflows)


class Foreseen(Stage, frozen=True, kw_only=True, tag="foreseen"):
    """Fails as stages fail."""

    def run(self, root: Root, inputs: Inputs) -> None:
        raise PipelineError("its own words")


class Interrupted(Stage, frozen=True, kw_only=True, tag="interrupted"):
    """Somebody presses Ctrl-C."""

    def run(self, root: Root, inputs: Inputs) -> None:
        raise KeyboardInterrupt


def nobody(event: Event) -> None:
    """Listens to nothing."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store")
    (opened.path / "layers/base").mkdir()
    SmallRoot(tmp_path / "root").image.rename(opened.layer_tree("base"))
    yield opened
    assert os.listdir(opened.path / "work") == []


def run(store: Store, stage: Stage) -> None:
    run_stage(
        store,
        StageRun(
            image="web",
            stage=stage,
            key="0" * 64,
            basis={"type": "x"},
            parents=("base",),
            epoch=0,
            files={},
            trees={},
            parameters={},
            answer=None,
            place=lambda: PLACE,
        ),
        (),
        nobody,
    )


@pytest.mark.parametrize(
    ("stage", "said", "traced"),
    [
        (Outside(name="x"), "KeyError: 'unforeseen'", "in run\n"),
        (Inside(name="x"), "OverflowError: too large for it", "in overflows\n"),
    ],
)
def test_a_defect_is_told_in_a_line_and_the_stage_is_kept(
    store: Store, stage: Stage, said: str, traced: str
) -> None:
    with pytest.raises(PipelineError) as caught:
        run(store, stage)
    [problem] = caught.value.problems
    assert problem.message == f'stage "x": a defect of this program: {said}'
    assert (problem.where, problem.command) == (PLACE, "pipeline shell web --stage x")
    kept = store.failed("web", "x")
    assert kept is not None and said in kept.failure.message
    assert traced in kept.log.read_text() and said in kept.log.read_text()


def test_an_interrupt_is_no_failure_of_the_stage(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(store, Interrupted(name="x"))
    assert store.failed("web") is None


def test_what_failed_first_is_told_first_when_it_cannot_be_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Store, work: Work, failure: Failure) -> Failed:
        raise PipelineError(f"the failed stage cannot be kept: {WORDS}", where=str(work.path))

    monkeypatch.setattr(Store, "fail", fail)
    with pytest.raises(PipelineError) as caught:
        run(store, Foreseen(name="x"))
    first, second = caught.value.problems
    assert first.message == 'stage "x": its own words'
    assert first.command is None
    assert WORDS in second.message
    assert (first.where, second.where) == (PLACE, PLACE)
