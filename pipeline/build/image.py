"""Building one image: from a recipe and its lock to a version, stage by stage."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pipeline.build.foundation import Foundation, contents, foundation
from pipeline.build.job import Job
from pipeline.build.outcome import ImageOutcome, StageOutcome, failure, stage_outcome, with_tests
from pipeline.build.outside import Outside
from pipeline.build.plan import (
    Pins,
    PlannedStage,
    asked_sources,
    packages_after,
    plan,
    plan_stage,
    repositories_before,
    rpm_files,
    where_of,
    without_from,
)
from pipeline.build.stage import StageRun, of_stage, run_stage
from pipeline.build.unchanged import Lying
from pipeline.build.verification import verify_once
from pipeline.build.version import make_version
from pipeline.errors import PipelineError, StaleLockError, UsageError, retold
from pipeline.events import ImageFinished, ImagePlanned, Note, Observer, StageFinished
from pipeline.recipe.findings import shown
from pipeline.recipe.model import PlacedStage
from pipeline.sources import lock as locks
from pipeline.sources.differences import is_stale
from pipeline.sources.lock import Lock, LockedBase, LockedSource, LockedStage, digest_of_packages
from pipeline.stages.base import Stage
from pipeline.store.presence import occupied
from pipeline.store.records import Layer, Version, stack_digest
from pipeline.store.store import Store, layer_name

if TYPE_CHECKING:
    from pipeline.sources.downloads import Fetched

TOLD = 2
"""Differences between recipe and lock that are spelled out when the lock is renewed anyway."""


class Built(msgspec.Struct, frozen=True):
    """What a build came to, before tests."""

    version: Version
    stages: tuple[StageOutcome, ...]
    lock: str


class ImageBuild:
    """One run through the stages of an image. ``stages`` grows as they are done; ``lock`` says what became of
    recipe.lock: ``kept``, ``made`` or ``renewed``."""

    def __init__(self, job: Job, store: Store, outside: Outside, observer: Observer) -> None:
        self._job = job
        self._recipe = job.recipe
        self._site = job.site
        self._store = store
        self._outside = outside
        self._observer = observer
        self._sources: dict[str, LockedSource] = {}
        self._locked: dict[str, LockedStage] = {}
        self._packages: tuple[str, ...] | None = None
        self.stages: list[StageOutcome] = []
        self.lock = "kept"

    def run(self) -> Built:
        """Build it. Should a stage fail, a lock that is there stays as it is; where there is none, what was
        locked on the way is kept in one."""
        recipe = self._recipe
        names = tuple(placed.stage.name for placed in recipe.stages)
        self._observer(ImagePlanned(image=recipe.name, stages=names))
        found = self._job.found or foundation(
            recipe, self._site, self._store, self._job.base_version, self._observer
        )
        old, written = self._lock_there()
        found = found.dated(None if self._job.options.relock else old)
        self._packages = found.packages
        self._take_pins(found, old)
        try:
            planned = self._through_stages(found)
        except PipelineError as error:
            raise (error if old is not None else self._with_kept_pins(found, error, written)) from None
        lock = self._write(self._lock(found), old, written) or written or b""
        version = make_version(self._store, recipe, found, planned, lock, self._packages)
        self._store.forget_failure(recipe.name)
        return Built(version, tuple(self.stages), self.lock)

    def _lock_there(self) -> tuple[Lock | None, bytes | None]:
        """The lock beside the recipe, and the text that is there; one that cannot be read is no reason not to
        lock anew."""
        path, text = self._recipe.lock_file, None
        try:
            text = locks.content(path)
            return (None, None) if text is None else (locks.parsed(text, path), text)
        except UsageError as error:
            if not self._job.options.relock:
                raise
            self._note("", f"the damaged recipe.lock is replaced: {error.problems[0].message}")
            return None, text

    def _write(self, new: Lock, old: Lock | None, written: bytes | None) -> bytes | None:
        """Write ``new`` and return its text; None when ``old``, which was there, says the same. What is there
        by now is somebody else's when it is not ``written``: it stays."""
        name, path = self._recipe.name, self._recipe.lock_file
        if old is not None and locks.is_same(new, old):
            return None
        if self._job.options.locked:  # nothing that --locked let pass may come to this
            message = "the build came to another lock than recipe.lock"
            raise StaleLockError(message, where=str(path), command=f"pipeline lock {name}")
        text, now = locks.text_of(new).encode(), locks.readable(path)
        if now == written:
            locks.write(path, new)
            self.lock = "made" if old is None else "renewed"
        elif now != text:
            again = f"pipeline {'lock' if self._job.options.relock else 'build'} {name}"
            by = "what this run built is by another lock, which its version keeps"
            self._note("", f"{shown(path)} was changed while this ran, and stays so; {by}; run: {again}")
        return text

    def _take_pins(self, found: Foundation, old: Lock | None) -> None:
        options, recipe = self._job.options, self._recipe
        if options.relock:
            return
        planned = plan(recipe, self._site, self._store, found, old)
        if options.locked and old is None:
            raise StaleLockError(
                f"{recipe.name} has no recipe.lock",
                where=shown(recipe.file),
                command=f"pipeline lock {recipe.name}",
            )
        if options.locked and planned.differences:
            raise StaleLockError(planned.differences)
        for problem in planned.differences[:TOLD]:
            self._note("", f"recipe.lock is renewed: {problem.where}: {problem.message}")
        if len(planned.differences) > TOLD:
            more = len(planned.differences) - TOLD
            self._note("", f"recipe.lock is renewed in {more} more {'place' if more == 1 else 'places'}")
        self._sources = dict(planned.pins.sources)
        self._locked = dict(planned.pins.stages)

    def _with_kept_pins(
        self, found: Foundation, error: PipelineError, written: bytes | None
    ) -> PipelineError:
        """Keep what was locked before ``error`` in the lock of an image that has none yet.

        One that is there is replaced by a whole one only: whoever takes back the mistake that led to
        ``error`` has to find every version of before.
        """
        try:
            self._write(self._lock(found), None, written)
        except PipelineError as another:
            return retold(error, (*error.problems, *another.problems))
        return error

    def _through_stages(self, found: Foundation) -> list[tuple[PlannedStage, Layer]]:
        layers = list(found.layers)
        digests = list(found.digests)
        parent = found.key
        done: list[tuple[PlannedStage, Layer]] = []
        for placed in self._recipe.stages:
            with _told_of(placed):
                self._pin_sources(placed.stage)
            self._pin_packages(placed, tuple(layers), found)
            with _told_of(placed):
                pins = Pins(self._sources, self._locked)
                stage = plan_stage(
                    placed, parent, pins, self._site, self._store, stack_digest(digests), found.epoch
                )
            layer, cached = (stage.layer, True) if stage.layer else self._run(stage, tuple(layers), found)
            self._tell(stage, layer, cached=cached)
            done.append((stage, layer))
            layers.append(layer_name(layer.key))
            digests.append(layer.digest)
            parent = stage.key
        return done

    def _pin_sources(self, stage: Stage) -> None:
        for request in asked_sources(stage):
            if request.location not in self._sources:
                file = self._outside.fetcher.fetch(
                    request.location, sha256=request.sha256, project=self._site.project
                )
                self._sources[request.location] = LockedSource(request.location, file.sha256, file.size)
                self._locked.pop(stage.name, None)

    def _pin_packages(self, placed: PlacedStage, layers: tuple[str, ...], found: Foundation) -> None:
        stage = placed.stage
        request = stage.packages()
        if request is None:
            return
        if self._packages is None:
            self._packages = contents(self._store, layers)[0]
        if stage.name in self._locked and not self._is_stale(placed, self._packages):
            return
        from pipeline.build.locking import answer

        with _told_of(placed):
            files = {name: self._file(name) for name in rpm_files(request)}
        lying = self._lying(files.values(), None)
        run = StageRun(
            image=self._recipe.name,
            stage=stage,
            key="",
            basis={},
            parents=layers,
            epoch=found.epoch,
            files={name: file.path for name, file in files.items()},
            trees={},
            parameters=placed.parameters,
            answer=None,
            place=partial(where_of, placed),
        )
        found_out = answer(request, run, self._site, self._store, self._outside, self._observer)
        self._confirm(placed, lying)
        self._locked[stage.name] = LockedStage(
            stage.name,
            request,
            found_out,
            digest_of_packages(self._packages),
            repositories_before(self._recipe)[stage.name],
        )

    def _is_stale(self, placed: PlacedStage, packages: tuple[str, ...]) -> bool:
        """Whether the answer for a stage rests on other packages; then those after it are forgotten, too.

        Raises ``StaleLockError`` when the lock may not be renewed.
        """
        name, recipe = placed.stage.name, self._recipe
        lock_file = os.path.relpath(recipe.lock_file)
        problem = is_stale(self._locked[name], packages, partial(where_of, placed), lock_file)
        if problem is None:
            return False
        if self._job.options.locked:
            raise StaleLockError([replace(problem, command=f"pipeline lock {recipe.name}")])
        self._note("", f"recipe.lock is renewed: {problem.where}: {problem.message}")
        self._locked = dict(without_from(Pins({}, self._locked), recipe, name).stages)
        return True

    def _run(self, stage: PlannedStage, layers: tuple[str, ...], found: Foundation) -> tuple[Layer, bool]:
        """Make the layer, unless another run is just making it: then wait, and share its work.

        Returns the layer, and whether it is the other run's.
        """
        name = stage.placed.stage.name
        with self._store.lock(f"layer-{layer_name(stage.key)}", partial(self._wait, name)):
            made = self._store.layer(stage.key, stage.below)
            if made is not None:
                return made, True
            with _told_of(stage.placed):
                files = self._files(stage)
            lying = self._lying(files.values(), stage)
            run = StageRun(
                image=self._recipe.name,
                stage=stage.placed.stage,
                key=stage.key,
                basis=stage.basis,
                parents=layers,
                epoch=found.epoch,
                files={location: file.path for location, file in files.items()},
                trees=stage.trees,
                parameters=stage.placed.parameters,
                answer=stage.answer,
                place=partial(where_of, stage.placed),
                confirm=partial(self._confirm, stage.placed, lying),
            )
            layer, self._packages = run_stage(self._store, run, self._packages, self._observer)
            return layer, False

    def _lying(self, files: Iterable[Fetched], stage: PlannedStage | None) -> Lying:
        """What of ``files`` and the stage's trees is read where it lies: all but what the store has."""
        downloads = self._store.path / "downloads"
        local = {file.path: file.sha256 for file in files if not file.path.is_relative_to(downloads)}
        digests: Mapping[str, str] = stage.basis["trees"] if stage is not None else {}
        trees = stage.trees if stage is not None else {}
        return Lying.now(local, {path: digests[name] for name, path in trees.items()})

    def _confirm(self, placed: PlacedStage, lying: Lying) -> None:
        with _told_of(placed):
            lying.confirm(lambda path: self._outside.fetcher.digest(path).sha256)

    def _files(self, stage: PlannedStage) -> dict[str, Fetched]:
        """Location → file of this machine, for every source and RPM of the stage, each checked."""
        wanted = [self._sources[request.location] for request in stage.placed.stage.sources()]
        if not wanted and stage.answer is None:
            return {}
        from pipeline.sources.downloads import Request

        requests = [Request(source.location, source.sha256, source.size) for source in wanted]
        requests += [
            Request(package.location, package.sha256, package.size)
            for package in (stage.answer.install if stage.answer else ())
        ]
        files = self._outside.fetcher.fetch_all(requests, project=self._site.project)
        return {request.location: file for request, file in zip(requests, files, strict=True)}

    def _file(self, location: str) -> Fetched:
        pinned = self._sources[location]
        return self._outside.fetcher.fetch(
            location, sha256=pinned.sha256, size=pinned.size, project=self._site.project
        )

    def _tell(self, stage: PlannedStage, layer: Layer, *, cached: bool) -> None:
        if cached:
            self._packages = packages_after(self._packages, layer)
        outcome = stage_outcome(stage.placed.stage.name, stage.basis, layer, cached=cached)
        self.stages.append(outcome)
        self._observer(
            StageFinished(
                image=self._recipe.name,
                stage=outcome.name,
                cached=cached,
                seconds=outcome.seconds,
                bytes=outcome.bytes,
            )
        )

    def _lock(self, found: Foundation) -> Lock:
        """The lock of what is pinned now, in the order of the recipe."""
        stages = [placed.stage for placed in self._recipe.stages]
        locations = dict.fromkeys(request.location for stage in stages for request in asked_sources(stage))
        return Lock(
            base=LockedBase(found.name, found.digest, found.epoch),
            sources=tuple(self._sources[name] for name in locations if name in self._sources),
            stages=tuple(
                self._locked[stage.name]
                for stage in stages
                if stage.packages() is not None and stage.name in self._locked
            ),
        )

    def _wait(self, stage: str) -> None:
        self._note(stage, "another run is at it; waiting")

    def _note(self, stage: str, text: str) -> None:
        self._observer(Note(image=self._recipe.name, stage=stage, text=text))


@contextmanager
def _told_of(placed: PlacedStage) -> Iterator[None]:
    """Say of errors of a stage's inputs which stage it was, and where that is written."""
    try:
        yield
    except PipelineError as error:
        name, place = placed.stage.name, where_of(placed)
        raise retold(error, [of_stage(name, place, problem) for problem in error.problems]) from None


def build_elsewhere(job: Job) -> ImageOutcome:
    """Build one image in a process that was started for it; events go to ``job.events``."""
    from pipeline.build.sending import sender

    return build_image(job, sender(job.events))


def build_image(job: Job, observer: Observer) -> ImageOutcome:
    """Build, and test, one image. Never raises ``PipelineError``: problems are in the outcome."""
    begun = time.monotonic()
    name = job.recipe.name
    build: ImageBuild | None = None
    try:
        store = Store.open(job.site.store)
        with occupied(store, partial(_waiting, name, observer)):
            with closing(Outside(job.site, store.path / "downloads", observer)) as outside:
                build = ImageBuild(job, store, outside, observer)
                built = build.run()
            observer(ImageFinished(image=name, number=built.version.number))
            outcome = ImageOutcome(
                image=name,
                version=built.version.number,
                tree=built.version.tree,
                lock=built.lock,
                stages=built.stages,
            )
            if job.options.verify:
                outcome = with_tests(outcome, verify_once(store, job.recipe, built.version, observer))
    except PipelineError as error:
        observer(ImageFinished(image=name, number=None))
        done = (tuple(build.stages), build.lock) if build is not None else ((), "kept")
        outcome = failure(name, error, *done)
    return replace(outcome, seconds=time.monotonic() - begun)


def _waiting(image: str, observer: Observer) -> None:
    observer(Note(image=image, stage="", text="pipeline gc is removing things from the store; waiting"))
