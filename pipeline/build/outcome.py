"""How a build ended: what the table and the JSON document are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.errors import PipelineError, UnverifiedError
from pipeline.store.records import Layer, Verification


class StageOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One stage. ``seconds`` and ``bytes`` are those of the run that made its layer, ``packages`` counts what
    it added and removed."""

    name: str
    type: str
    key: str
    cached: bool
    seconds: float
    bytes: int
    packages: int
    notes: tuple[str, ...] = ()


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """One problem, as in ``pipeline.errors.Problem``."""

    message: str
    where: str | None = None
    hint: str | None = None
    command: str | None = None


class ImageOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """One image. ``exit_code`` is 0 when all that was asked for was done.

    ``version`` counts from 1, ``tree`` is the digest of the version's layers, ``lock`` what happened to
    recipe.lock (``kept``, ``made``, ``renewed``), ``tests`` (passed, all), ``skipped`` and
    ``expected_to_fail`` how many of all, ``published`` the directory, ``stays`` why the link was not
    turned to it, ``seconds`` the time of this run.
    """

    image: str
    exit_code: int = 0
    version: int | None = None
    tree: str | None = None
    lock: str = "kept"
    stages: tuple[StageOutcome, ...] = ()
    verified: bool | None = None
    tests: tuple[int, int] | None = None
    skipped: int = 0
    expected_to_fail: int = 0
    published: str | None = None
    stays: str | None = None
    seconds: float = 0.0
    problems: tuple[Trouble, ...] = ()


def failure(
    image: str, error: PipelineError, stages: tuple[StageOutcome, ...] = (), lock: str = "kept"
) -> ImageOutcome:
    """The outcome of an image that ended with ``error`` after ``stages``."""
    problems = tuple(
        Trouble(message=problem.message, where=problem.where, hint=problem.hint, command=problem.command)
        for problem in error.problems
    )
    return ImageOutcome(image=image, exit_code=error.exit_code, stages=stages, lock=lock, problems=problems)


def not_tried(image: str, base: ImageOutcome) -> ImageOutcome:
    """The outcome of an image whose base came to no version. An older one is not what was asked for."""
    trouble = Trouble(message=f"{image} was not built: its base {base.image} could not be built")
    return ImageOutcome(image=image, exit_code=1, problems=(trouble,))


def stage_outcome(name: str, basis: Mapping[str, Any], layer: Layer, *, cached: bool) -> StageOutcome:
    """How a stage with this layer is told."""
    return StageOutcome(
        name=name,
        type=str(basis["type"]),
        key=layer.key,
        cached=cached,
        seconds=layer.seconds,
        bytes=layer.bytes,
        packages=len(layer.added) + len(layer.removed),
        notes=layer.notes,
    )


def with_tests(outcome: ImageOutcome, verification: Verification) -> ImageOutcome:
    """The outcome, with how the version's tests ended; exit code 5 when they did not pass."""
    tally = verification.tally
    bad = [result for result in verification.results if result[1] in ("failed", "error")]
    problems = tuple(Trouble(message=f"{test} {how}: {message}") for test, how, _, message in bad)
    if not verification.passed:
        problems += (_unverified(outcome, verification),)
    return msgspec.structs.replace(
        outcome,
        exit_code=0 if verification.passed else UnverifiedError.exit_code,
        verified=verification.passed,
        tests=(tally.passed, tally.all),
        skipped=tally.skipped,
        expected_to_fail=tally.expected_to_fail,
        problems=outcome.problems + problems,
    )


def _unverified(outcome: ImageOutcome, verification: Verification) -> Trouble:
    label = f"{outcome.image}@{outcome.version}"
    lacks, mend = "has not passed its tests", "mend the recipe or the tests"
    if why := verification.nothing_passed:
        lacks += f" (no test passed: {why})"
    if not verification.results:
        lacks, mend = "has no tests", f"write recipes/{outcome.image}/test_image.py"
    return Trouble(
        message=f"{label} {lacks}: only --unverified publishes it",
        hint=f"{mend} and build again; the version can be entered",
        command=f"pipeline shell {label}",
    )
