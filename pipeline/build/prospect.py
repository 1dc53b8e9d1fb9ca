"""What a build would find, image by image, without mounting, fetching, importing or writing anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.build.foundation import Foundation, is_unchanged, presumed_foundation
from pipeline.build.looks import looking
from pipeline.build.plan import Pins, Plan, PlannedStage, kernel_parameters, pinned, plan, tree
from pipeline.errors import PipelineError, Problem
from pipeline.interrupts import work_begins
from pipeline.recipe.model import PlacedStage, Recipe, Site
from pipeline.sources import lock as locks
from pipeline.sources.lock import Lock
from pipeline.store.base_trees import require_base
from pipeline.store.naming import identity
from pipeline.store.records import Version
from pipeline.store.store import Store, is_there, layer_name

CACHED, RUNS, UNLOCKED, UNKNOWN = "cached", "would run", "not locked", "unknown"
"""The states of a stage. ``UNLOCKED``: it needs something that is not pinned yet. ``UNKNOWN``: what it stands
on is not known before a stage that is not locked has run, or before the base is imported."""


class StageAhead(msgspec.Struct, frozen=True):
    """A stage and its state; ``planned`` is None where the key is not known."""

    placed: PlacedStage
    state: str
    planned: PlannedStage | None


class Prospect(msgspec.Struct, frozen=True):
    """An image as a build would find it.

    ``notes`` say on what the rest rests, ``differences`` where recipe and lock differ, ``refusal`` why a
    build would refuse at once. ``version`` is the one that a build would come to, when no stage has to run
    and it is there. ``base`` is the image that it stands on, None for a base of the site.
    """

    recipe: Recipe
    foundation: Foundation | None
    stages: tuple[StageAhead, ...]
    notes: tuple[str, ...] = ()
    differences: tuple[Problem, ...] = ()
    refusal: PipelineError | None = None
    version: Version | None = None
    base: Prospect | None = None


@contextmanager
def store_to_look_at(site: Site) -> Iterator[Store]:
    """The site's store, or an empty one that is gone afterwards when the site has none yet."""
    if is_there(site.store):
        yield Store.open(site.store, create=False)
        return
    from tempfile import TemporaryDirectory

    work_begins()
    with TemporaryDirectory(prefix="pipeline-") as empty:
        (Path(empty) / "layers").mkdir()
        yield Store(Path(empty))


def prospects(site: Site, recipes: Sequence[Recipe], store: Store) -> tuple[Prospect, ...]:
    """What a build of ``recipes`` (bases first) would find.

    Raises ``UsageError`` for locks that cannot be read.
    """
    found: dict[str, Prospect] = {}
    for recipe in recipes:
        found[recipe.name] = _prospect(recipe, site, store, found)
    return tuple(found.values())


def _prospect(recipe: Recipe, site: Site, store: Store, ahead: Mapping[str, Prospect]) -> Prospect:
    lock = locks.read(recipe.lock_file)
    notes: list[str] = []
    try:
        if recipe.base_recipe:
            found = _on_image(recipe, site, store, ahead[recipe.base], notes)
        else:
            found = _on_base(recipe, site, store, lock, notes)
        planned = plan(recipe, site, store, found, lock) if found is not None else None
    except PipelineError as error:
        return Prospect(recipe, None, _unplanned(recipe), tuple(notes), refusal=error)
    if found is None or planned is None:
        return Prospect(recipe, None, _unplanned(recipe), tuple(notes))
    return Prospect(
        recipe,
        found,
        tuple(_ahead(recipe, planned)),
        tuple(notes),
        planned.differences,
        version=_version(recipe, found, planned, store) if planned.complete else None,
        base=ahead[recipe.base] if recipe.base_recipe else None,
    )


def _unplanned(recipe: Recipe) -> tuple[StageAhead, ...]:
    nothing = Pins({}, {})
    return tuple(
        StageAhead(placed, UNKNOWN if pinned(placed, nothing) else UNLOCKED, None) for placed in recipe.stages
    )


def _ahead(recipe: Recipe, planned: Plan) -> Iterator[StageAhead]:
    for stage in planned.stages:
        yield StageAhead(stage.placed, RUNS if stage.layer is None else CACHED, stage)
    for placed in recipe.stages[len(planned.stages) :]:
        yield StageAhead(placed, UNKNOWN if pinned(placed, planned.pins) else UNLOCKED, None)


def _version(recipe: Recipe, found: Foundation, planned: Plan, store: Store) -> Version | None:
    made = [stage.layer for stage in planned.stages if stage.layer is not None]
    words = kernel_parameters(recipe, found, planned.stages)
    named = identity(recipe.name, tree(found, made), words, recipe.parameters)
    layers = (*found.layers, *(layer_name(layer.key) for layer in made))
    return store.versions.find(recipe.name, named, layers)


def _on_image(
    recipe: Recipe, site: Site, store: Store, base: Prospect, notes: list[str]
) -> Foundation | None:
    """The version of another image, or what a build would make of that image first."""
    if base.version is not None:
        return presumed_foundation(recipe, site, store, base.version.number)
    planned = [stage.planned for stage in base.stages if stage.planned is not None]
    if base.foundation is None or len(planned) < len(base.stages):
        notes.append(f"its base {recipe.base} would be built first; what that comes to is not known yet")
        return None
    notes.append(
        f"its base {recipe.base} would be built first; should that come to a version that is there, less runs"
    )
    return Foundation(
        recipe.base,
        (),  # no layers before they are made: with these, what is installed is not known either
        (),
        planned[-1].key if planned else base.foundation.key,
        "",
        base.foundation.epoch,
        kernel_parameters(base.recipe, base.foundation, planned),
    )


def _on_base(
    recipe: Recipe, site: Site, store: Store, lock: Lock | None, notes: list[str]
) -> Foundation | None:
    """The imported base; where a build would import it first, what the lock or the last import says."""
    path = site.bases[recipe.base]
    if is_lab_to_come(site, path):
        notes.append("the lab is not built yet; a build does that first")
    else:
        require_base(recipe.base, path)
    with looking(site, [recipe.name]) as looks:
        known = presumed_foundation(recipe, site, store, None)
        if known is not None and is_unchanged(recipe, site, store, looks):
            return known
    record = store.base(recipe.base)
    what = "is not imported yet"
    if record is not None and record.path == str(path):
        what = f"has changed since {path} was imported"
    elif record is not None:
        what = f"was imported from {record.path}, and the site file names {path} now"
    if lock is not None and lock.base.name == recipe.base:
        notes.append(f"the base {recipe.base} {what}; taken to be the one of {recipe.lock_file.name}")
        return _assumed(recipe.base, lock.base.digest, lock.base.epoch)
    if record is not None:
        notes.append(f"the base {recipe.base} {what}; taken to be as it was then")
        return _assumed(recipe.base, record.digest, record.epoch)
    notes.append(f"the base {recipe.base} {what}, and no lock says what it is; a build imports it first")
    return None


def is_lab_to_come(site: Site, path: Path) -> bool:
    """Whether the base ``path`` is missing only because the lab, which makes it, is not built yet."""
    return site.lab is not None and not path.is_dir()


def _assumed(name: str, digest: str, epoch: int) -> Foundation:
    from pipeline.store.importing import base_key

    key = base_key(digest)
    return Foundation(name, (layer_name(key),), (digest,), key, digest, epoch)
