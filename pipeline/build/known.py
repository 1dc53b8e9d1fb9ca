"""What is in the store already: an image whose version is there and tested needs no build."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib import import_module

from msgspec.structs import replace

from pipeline.build.foundation import Foundation, is_unchanged, presumed_foundation
from pipeline.build.job import Job
from pipeline.build.outcome import ImageOutcome, failure, not_tried, stage_outcome, with_tests
from pipeline.build.plan import kernel_parameters, plan, tree
from pipeline.build.verification import kept_verification
from pipeline.errors import PipelineError
from pipeline.events import ImageFinished, ImagePlanned, Observer, StageFinished
from pipeline.sources import lock as locks
from pipeline.store.fingerprint import Look
from pipeline.store.naming import identity
from pipeline.store.store import Store, layer_name


def outcome_or_job(
    job: Job,
    store: Store,
    looks: Mapping[str, Look],
    done: Mapping[str, ImageOutcome],
    observer: Observer,
) -> ImageOutcome | Job:
    """The outcome of an image whose version is there and tested; else the job, with what was found out.

    ``looks`` are those that have begun, by name of base; ``done`` the outcomes of images before this one.
    """
    begun = time.monotonic()
    recipe = job.recipe
    if recipe.base_recipe and recipe.base not in done:
        return job
    if recipe.base_recipe:
        base = done[recipe.base]
        if base.version is None:
            return not_tried(recipe.name, base)
        job = replace(job, base_version=base.version)
    if job.options.relock:
        return job
    try:
        found = presumed_foundation(recipe, job.site, store, job.base_version)
    except PipelineError as error:
        return failure(recipe.name, error)
    if found is None:
        return job
    try:
        outcome = _kept(job, found, store)
    except PipelineError as error:
        outcome = failure(recipe.name, error)
    if outcome is None:
        import_module("pipeline.build.image")  # 0.02 s, while the base is still looked at
    try:
        unchanged = is_unchanged(recipe, job.site, store, looks)
    except PipelineError:  # it is being changed just now; who imports it tries again, and says so
        unchanged = False
    if not unchanged:
        return job
    if outcome is None:
        return replace(job, found=found)
    if not outcome.exit_code:
        store.forget_failure(recipe.name)
        _tell(outcome, observer)
    return replace(outcome, seconds=time.monotonic() - begun)


def _kept(job: Job, found: Foundation, store: Store) -> ImageOutcome | None:
    """The outcome of a version that stands on ``found``; None when there is none, or it has to be tested."""
    recipe = job.recipe
    planned = plan(recipe, job.site, store, found, locks.read(recipe.lock_file))
    if not planned.complete:
        return None
    made = [(stage, stage.layer) for stage in planned.stages if stage.layer is not None]
    content = tree(found, (layer for _, layer in made))
    words = kernel_parameters(recipe, found, planned.stages)
    named = identity(recipe.name, content, words, recipe.parameters)
    layers = (*found.layers, *(layer_name(layer.key) for _, layer in made))
    version = store.versions.find(recipe.name, named, layers)
    if version is None:
        return None
    stages = tuple(
        stage_outcome(stage.placed.stage.name, stage.basis, layer, cached=True) for stage, layer in made
    )
    outcome = ImageOutcome(image=recipe.name, version=version.number, tree=version.tree, stages=stages)
    if not job.options.verify:
        return outcome
    verification = kept_verification(store, recipe, version)
    return None if verification is None else with_tests(outcome, verification)


def _tell(outcome: ImageOutcome, observer: Observer) -> None:
    name = outcome.image
    observer(ImagePlanned(image=name, stages=tuple(stage.name for stage in outcome.stages)))
    for stage in outcome.stages:
        observer(
            StageFinished(image=name, stage=stage.name, cached=True, seconds=stage.seconds, bytes=stage.bytes)
        )
    observer(ImageFinished(image=name, number=outcome.version))
