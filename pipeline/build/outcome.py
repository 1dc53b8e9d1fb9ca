"""How a build ended: what the table and the JSON document are made of."""

from __future__ import annotations

import msgspec

from pipeline.errors import PipelineError


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
    recipe.lock (``kept``, ``made``, ``renewed``), ``tests`` (passed, all), ``published`` the directory,
    ``seconds`` the time of this run.
    """

    image: str
    exit_code: int = 0
    version: int | None = None
    tree: str | None = None
    lock: str = "kept"
    stages: tuple[StageOutcome, ...] = ()
    verified: bool | None = None
    tests: tuple[int, int] | None = None
    published: str | None = None
    seconds: float = 0.0
    problems: tuple[Trouble, ...] = ()


def failure(image: str, error: PipelineError, stages: tuple[StageOutcome, ...] = ()) -> ImageOutcome:
    """The outcome of an image that ended with ``error`` after ``stages``."""
    problems = tuple(
        Trouble(message=problem.message, where=problem.where, hint=problem.hint, command=problem.command)
        for problem in error.problems
    )
    return ImageOutcome(image=image, exit_code=error.exit_code, stages=stages, problems=problems)
