"""Where a recipe and its lock differ, and how much of a lock still holds: plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec.structs import replace

from pipeline.errors import Problem
from pipeline.sources.lock import Lock, LockedSource, LockedStage, digest_of_packages
from pipeline.stages.base import PackageRequest, SourceRequest

Where = Callable[[], str]
"""Gives ``file:line``; called only where something differs."""


class WantedSource(msgspec.Struct, frozen=True):
    """A source that a stage asks for; ``found`` is the sha256 that a local file has now, if known."""

    request: SourceRequest
    where: Where
    found: str | None = None


class WantedPackages(msgspec.Struct, frozen=True):
    """What the stage ``name`` asks the image's package manager for.

    ``repositories`` is the sha256 of what the ``repository`` stages before it say.
    """

    name: str
    request: PackageRequest
    where: Where
    repositories: str = ""


class Wanted(msgspec.Struct, frozen=True):
    """What a recipe asks for, in its order. ``lock_file`` is how messages name the lock.

    ``base_digest`` is what the base has now, ``base_epoch`` what another recipe's image has that is the base;
    None when that is not known. ``where`` is the recipe's ``base``, ``stages`` are those that change
    packages.
    """

    image: str
    lock_file: str
    base: str
    base_digest: str | None
    where: Where
    sources: tuple[WantedSource, ...] = ()
    stages: tuple[WantedPackages, ...] = ()
    base_epoch: int | None = None


class Renewable(msgspec.Struct, frozen=True):
    """The sources and stages of a lock that need not be locked again."""

    sources: tuple[LockedSource, ...] = ()
    stages: tuple[LockedStage, ...] = ()


def differences(lock: Lock, wanted: Wanted) -> tuple[Problem, ...]:
    """Every place where ``lock`` is not what the recipe asks for; none when it may be built from.

    The last one has the command to run next. The order of packages within a request does not count.
    """
    problems = [*_base(lock, wanted), *_sources(lock, wanted), *_stages(lock, wanted)]
    if problems:
        problems[-1] = replace(problems[-1], command=f"pipeline lock {wanted.image}")
    return tuple(problems)


def renewable(lock: Lock, wanted: Wanted) -> Renewable:
    """What of ``lock`` still holds.

    A source does, for itself. A stage does while the base, the repositories and all requests before it are
    the same, because its answer rests on them; whether the packages are those that it rests on is seen where
    they are known (``is_stale``).
    """
    asked = {source.request.location: source for source in wanted.sources}
    sources = tuple(
        source
        for source in lock.sources
        if source.location in asked and not _source(source, asked[source.location], wanted.lock_file)
    )
    if any(True for _ in _base(lock, wanted)):
        return Renewable(sources)
    stages: list[LockedStage] = []
    for locked, stage in zip(lock.stages, wanted.stages, strict=False):
        same = locked.name == stage.name and _is_same(locked.request, stage.request)
        if not same or locked.repositories != stage.repositories:
            break
        stages.append(locked)
    return Renewable(sources, tuple(stages))


def _base(lock: Lock, wanted: Wanted) -> Iterator[Problem]:
    if lock.base.name != wanted.base:
        yield Problem(
            f'the base is "{wanted.base}", {wanted.lock_file} was made for "{lock.base.name}"', wanted.where()
        )
    elif wanted.base_digest not in (None, lock.base.digest):
        yield Problem(
            f'the base "{wanted.base}" has changed since {wanted.lock_file} was made: '
            f"locked digest {lock.base.digest}, now {wanted.base_digest}",
            wanted.where(),
        )
    elif wanted.base_epoch not in (None, lock.base.epoch):
        yield Problem(
            f'the time of the base "{wanted.base}" is {wanted.base_epoch}, {wanted.lock_file} says '
            f"{lock.base.epoch}",
            wanted.where(),
        )


def is_stale(locked: LockedStage, installed: Iterable[str], where: Where, lock_file: str) -> Problem | None:
    """What is wrong with the answer of a stage before which ``installed`` is there; None: it holds."""
    if locked.before == digest_of_packages(installed):
        return None
    return Problem(
        f'the packages before stage "{locked.name}" are not those with which {lock_file} was made', where()
    )


def _sources(lock: Lock, wanted: Wanted) -> Iterator[Problem]:
    locked = {source.location: source for source in lock.sources}
    for source in wanted.sources:
        location = source.request.location
        if location not in locked:
            yield Problem(
                f'the source "{location}" is asked for, {wanted.lock_file} does not hold it', source.where()
            )
        elif message := _source(locked[location], source, wanted.lock_file):
            yield Problem(message, source.where())
    for location in locked.keys() - {source.request.location for source in wanted.sources}:
        yield Problem(f'holds the source "{location}", which the recipe does not ask for', wanted.lock_file)


def _source(locked: LockedSource, wanted: WantedSource, lock_file: str) -> str | None:
    """How they differ."""
    location, pinned = wanted.request.location, wanted.request.sha256
    if pinned not in (None, locked.sha256):
        return f'the source "{location}" is pinned to sha256 {pinned}, {lock_file} holds {locked.sha256}'
    if wanted.found not in (None, locked.sha256):
        return (
            f'the source "{location}" has changed since {lock_file} was made: '
            f"locked sha256 {locked.sha256}, now {wanted.found}"
        )
    return None


def _stages(lock: Lock, wanted: Wanted) -> Iterator[Problem]:
    locked = {stage.name: stage for stage in lock.stages}
    names = [stage.name for stage in wanted.stages]
    for stage in wanted.stages:
        if stage.name in locked:
            for message in _request(locked[stage.name].request, stage, wanted.lock_file):
                yield Problem(message, stage.where())
            if locked[stage.name].repositories != stage.repositories:
                message = f'the repositories before stage "{stage.name}" are not those of {wanted.lock_file}'
                yield Problem(message, stage.where())
        else:
            message = f'stage "{stage.name}" changes packages, {wanted.lock_file} does not hold them'
            yield Problem(message, stage.where())
    for name in locked:
        if name not in names:
            message = f'holds packages of a stage "{name}", which the recipe does not have'
            yield Problem(message, wanted.lock_file)
    before = [name for name in locked if name in names]
    after = [name for name in names if name in locked]
    for stage_name, other in zip(after, before, strict=True):
        if stage_name != other:
            where = next(stage.where for stage in wanted.stages if stage.name == stage_name)
            message = f'stage "{stage_name}" comes where {wanted.lock_file} has stage "{other}"'
            yield Problem(message, where())
            return


def _request(locked: PackageRequest, stage: WantedPackages, lock_file: str) -> Iterator[str]:
    for verb in ("install", "remove", "upgrade"):
        asked, held = getattr(stage.request, verb), getattr(locked, verb)
        for name in dict.fromkeys(asked):
            if name not in held:
                yield f'stage "{stage.name}" asks to {verb} "{name}", {lock_file} does not hold it'
        for name in dict.fromkeys(held):
            if name not in asked:
                yield f'stage "{stage.name}" does not ask to {verb} "{name}" any more, {lock_file} holds it'


def _is_same(one: PackageRequest, other: PackageRequest) -> bool:
    return all(
        set(getattr(one, verb)) == set(getattr(other, verb)) for verb in ("install", "remove", "upgrade")
    )
