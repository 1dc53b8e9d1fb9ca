"""One ``pipeline build``: all images that were asked for, each to a version, tested, published."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pipeline.build.looks import looking
from pipeline.errors import MachineError, PipelineError, Problem, StaleLockError, UsageError
from pipeline.interrupts import work_begins

if TYPE_CHECKING:
    from pipeline.build.job import BuildOptions, Job
    from pipeline.build.outcome import ImageOutcome
    from pipeline.events import Observer
    from pipeline.publish.record import Publication
    from pipeline.publish.staying import Staying
    from pipeline.recipe.model import Recipe, Site
    from pipeline.sources.lock import Lock
    from pipeline.store.records import Version
    from pipeline.store.store import Store


def build(
    site: Site,
    images: Sequence[str],
    options: BuildOptions,
    observer: Observer,
    tick: Callable[[], None] | None,
) -> tuple[ImageOutcome, ...]:
    """Build ``images`` (none: all of the site), and what they are based on; publish what passed its tests. A
    base that was not asked for stays rolled back when it is.

    ``tick`` is called about ten times a second, for a view with clocks in it. Raises ``UsageError`` when a
    recipe is wrong, before anything runs; whatever goes wrong later is in the outcomes.
    """
    outcomes: dict[str, ImageOutcome] = {}
    jobs: list[Job] = []
    with looking(site, images) as looks:
        recipes = recipes_of(site, images)
        work_begins()
        require_root()
        if prepare(site, observer):
            looks.clear()  # they were at the lab as it was before
        from pipeline.build.job import Job
        from pipeline.build.known import outcome_or_job
        from pipeline.store.store import Store

        store = Store.open(site.store)
        stay = _staying(site, store, recipes, images) if options.publish else {}
        before = _shown(site, store, recipes) if options.publish else {}
        for recipe in recipes:
            known = outcome_or_job(Job(site, recipe, options), store, looks, outcomes, observer)
            if isinstance(known, Job):
                jobs.append(known)
            else:
                outcomes[recipe.name] = known
    if jobs:
        outcomes |= _run(jobs, observer, tick)
    if options.publish:
        outcomes = {
            name: _published(site, store, outcome, options, stay.get(name), before[name], observer)
            for name, outcome in outcomes.items()
        }
    return tuple(outcomes[recipe.name] for recipe in recipes)


def recipes_of(site: Site, images: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes of ``images`` and of their bases, bases first. Raises ``UsageError`` with all mistakes."""
    from pipeline.recipe.load import load_recipes, recipe_names

    names = tuple(dict.fromkeys(images)) or recipe_names(site)
    if not names:
        raise UsageError(
            f"there are no recipes: no NAME/recipe.toml in {site.recipes}",
            where=str(site.file),
            hint="recipes/ lies beside the site file",
        )
    loaded = {recipe.name: recipe for recipe in load_recipes(names, site)}
    missing = [recipe.base for recipe in loaded.values() if recipe.base_recipe]
    while missing:
        name = missing.pop()
        if name not in loaded:
            loaded |= {recipe.name: recipe for recipe in load_recipes([name], site)}
            missing += [loaded[name].base] if loaded[name].base_recipe else []
    return in_order(tuple(loaded.values()))


def in_order(recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """Each recipe after the one that is its base; otherwise as they came. There are no cycles any more."""
    by_name = {recipe.name: recipe for recipe in recipes}
    done: dict[str, Recipe] = {}

    def add(recipe: Recipe) -> None:
        if recipe.base_recipe and recipe.base in by_name and recipe.base not in done:
            add(by_name[recipe.base])
        done.setdefault(recipe.name, recipe)

    for recipe in recipes:
        add(recipe)
    return tuple(done.values())


def check_locks(site: Site, images: Sequence[str]) -> list[str]:
    """The images whose locks hold; ``StaleLockError`` with every difference when one does not.

    Nothing is changed. A base is compared as it was imported last: importing it would change the store. One
    that no build would take is a ``PipelineError``.
    """
    from pipeline.build.prospect import prospects, store_to_look_at
    from pipeline.recipe.findings import shown
    from pipeline.sources import lock as locks

    problems: list[Problem] = []
    recipes = recipes_of(site, images)
    refused = _refused_bases(site, recipes)
    with store_to_look_at(site) as store:
        read = [locks.read(recipe.lock_file) for recipe in recipes]
        based = any(recipe.base_recipe for recipe in recipes)
        versions = (
            {each.recipe.name: each.version for each in prospects(site, recipes, store)} if based else {}
        )
        for recipe, lock in zip(recipes, read, strict=True):
            if lock is None:
                message = f"{recipe.name} has no recipe.lock"
                problems.append(Problem(message, shown(recipe.file), command=f"pipeline lock {recipe.name}"))
            else:
                problems += _differences(recipe, lock, site, store, versions.get(recipe.base))
    if refused:
        raise PipelineError([*refused, *problems])
    if problems:
        raise StaleLockError(problems)
    return [recipe.name for recipe in recipes]


def _refused_bases(site: Site, recipes: Sequence[Recipe]) -> list[Problem]:
    """What a build would say of directories that are missing or no root."""
    from pipeline.build.prospect import is_lab_to_come
    from pipeline.store.base_trees import require_base

    problems: list[Problem] = []
    for name in dict.fromkeys(recipe.base for recipe in recipes if not recipe.base_recipe):
        path = site.bases[name]
        try:
            if not is_lab_to_come(site, path):
                require_base(name, path)
        except PipelineError as error:
            problems += error.problems
    return problems


def _differences(
    recipe: Recipe, lock: Lock, site: Site, store: Store, base: Version | None
) -> Sequence[Problem]:
    """Where recipe and lock differ, as far as the store knows what the image is made of.

    ``base`` is what the recipe of its base comes to now; the store may have newer versions of it.
    """
    from pipeline.build.foundation import presumed_foundation
    from pipeline.build.plan import plan, wanted
    from pipeline.sources.differences import differences

    found = None
    if base is not None or not recipe.base_recipe:
        with suppress(PipelineError):  # its records are damaged
            found = presumed_foundation(recipe, site, store, base.number if base else None)
    if found is None:
        return differences(lock, wanted(recipe, site, store, None))
    try:
        return plan(recipe, site, store, found, lock).differences
    except StaleLockError as error:
        return error.problems


def prepare(site: Site, observer: Observer) -> bool:
    """Build the lab when it is this site's and is not there yet; whether something had to be built."""
    if site.lab is None:
        return False
    from pipeline.lab.home import ensure

    return ensure(site.lab, observer)


def require_root() -> None:
    """Raise ``MachineError`` unless this process is root."""
    if os.geteuid() != 0:
        raise MachineError(
            "this takes root: images are made and entered with chroots, device nodes and mounts",
            hint="nothing outside the store and the images directory is written",
            command="sudo pipeline doctor",
        )


def _run(jobs: Sequence[Job], observer: Observer, tick: Callable[[], None] | None) -> dict[str, ImageOutcome]:
    """Build ``jobs``: in this process when it is one and nothing has to be drawn meanwhile."""
    if len(jobs) == 1 and tick is None:
        from pipeline.build.image import build_image

        return {jobs[0].recipe.name: build_image(jobs[0], observer)}
    from pipeline.build.images import build_all, forked

    count = min(len(jobs), os.cpu_count() or 1)
    with forked(count) as (executor, events, number):
        sending = [replace(job, events=number) for job in jobs]
        outcomes = build_all(sending, observer, executor, events, tick or (lambda: None))
    return {outcome.image: outcome for outcome in outcomes}


def _staying(
    site: Site, store: Store, recipes: Sequence[Recipe], images: Sequence[str]
) -> dict[str, Staying]:
    """The bases that nobody asked to publish and that stay as they are, as it is before anything is built."""
    bases = [recipe.name for recipe in recipes if images and recipe.name not in images]
    if not bases:
        return {}
    from pipeline.publish.staying import staying

    return staying(site, store, bases)


def _shown(site: Site, store: Store, recipes: Sequence[Recipe]) -> dict[str, Publication | None]:
    """What is published of each image before anything is built."""
    from pipeline.publish.staying import shown

    return {recipe.name: shown(site, store, recipe.name) for recipe in recipes}


def _published(
    site: Site,
    store: Store,
    outcome: ImageOutcome,
    options: BuildOptions,
    stay: Staying | None,
    before: Publication | None,
    observer: Observer,
) -> ImageOutcome:
    """Publish what may be; an image that failed keeps what is published of it, and so does one of which
    something else than ``before`` is published by now."""
    if outcome.version is None or (outcome.exit_code and not (options.unverified and outcome.exit_code == 5)):
        return outcome
    if stay is not None and stay.number != outcome.version:
        return replace(outcome, stays=stay.why)
    from pipeline.build.outcome import failure
    from pipeline.publish.publication import publish
    from pipeline.publish.staying import OvertakenError

    def note(text: str) -> None:
        from pipeline.events import Note

        observer(Note(image=outcome.image, stage="", text=text))

    try:
        version = store.versions.get(outcome.image, outcome.version)
        if version is None:
            raise PipelineError(
                f"{outcome.image}@{outcome.version} was removed meanwhile",
                command=f"pipeline build {outcome.image}",
            )
        path = publish(site, store, version, unverified=options.unverified, before=before, note=note)
    except OvertakenError as error:
        [problem] = error.problems
        flag = " --unverified" if options.unverified else ""
        return replace(outcome, stays=f"{problem.message}; run: {problem.command}{flag}")
    except PipelineError as error:
        failed = failure(outcome.image, error)
        return replace(outcome, exit_code=failed.exit_code, problems=outcome.problems + failed.problems)
    return replace(outcome, published=str(path))
