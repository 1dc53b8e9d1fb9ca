"""What a build would find, image by image, without mounting, fetching, importing or writing anything."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pipeline.build.foundation import Foundation, is_unchanged, presumed_foundation
from pipeline.build.looks import looking
from pipeline.build.plan import (
    Pins,
    Plan,
    PlannedStage,
    changed_base,
    kernel_parameters,
    pinned,
    plan,
    tree,
)
from pipeline.errors import PipelineError, Problem, StaleLockError
from pipeline.interrupts import work_begins
from pipeline.recipe.model import PlacedStage, Recipe, Site
from pipeline.sources import lock as locks
from pipeline.sources.lock import Lock
from pipeline.store.base_compare import changed_since, has_base
from pipeline.store.base_trees import require_base
from pipeline.store.naming import identity
from pipeline.store.records import Base, Version
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


Compared = dict[tuple[Path, str], str | None]
"""What differs (None: nothing) between a directory and the base of a digest: several images may ask."""


def prospects(site: Site, recipes: Sequence[Recipe], store: Store) -> tuple[Prospect, ...]:
    """What a build of ``recipes`` (bases first) would find.

    Raises ``UsageError`` for locks that cannot be read.
    """
    found: dict[str, Prospect] = {}
    compared: Compared = {}
    for recipe in recipes:
        found[recipe.name] = _prospect(recipe, site, store, found, compared)
    return tuple(found.values())


def _prospect(
    recipe: Recipe, site: Site, store: Store, ahead: Mapping[str, Prospect], compared: Compared
) -> Prospect:
    lock = locks.read(recipe.lock_file)
    notes: list[str] = []
    try:
        if recipe.base_recipe:
            found = _on_image(recipe, site, store, ahead[recipe.base], notes)
        else:
            found = _on_base(recipe, site, store, lock, compared, notes)
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
        version=version_of(recipe, found, planned, store) if planned.complete else None,
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


def version_of(recipe: Recipe, found: Foundation, planned: Plan, store: Store) -> Version | None:
    """The version that these stages, all of them made, are; None when it is not there."""
    if any(store.layer_called(name) is None for name in found.layers[:1]):
        return None  # the base is taken to be the lock's: nothing has been compared
    made = [stage.layer for stage in planned.stages if stage.layer is not None]
    words = kernel_parameters(recipe, found, planned.stages)
    named = identity(recipe.name, tree(found, made), words, recipe.parameters)
    return store.versions.find(recipe.name, named, layers_of(found, planned))


def layers_of(found: Foundation, planned: Plan) -> tuple[str, ...]:
    """The names of the layers that these stages have made so far, lowest first, those of the base included.

    A version that was made before of the same contents has layers of other names when only keys have changed.
    """
    made = [stage.layer for stage in planned.stages if stage.layer is not None]
    return (*found.layers, *(layer_name(layer.key) for layer in made))


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
    recipe: Recipe, site: Site, store: Store, lock: Lock | None, compared: Compared, notes: list[str]
) -> Foundation | None:
    """The imported base; one that a build would import first, as far as it can be known without that."""
    path = site.bases[recipe.base]
    if is_lab_to_come(site, path):
        notes.append("the lab is not built yet; a build does that first")
    else:
        require_base(recipe.base, path)
    with looking(site, [recipe.name]) as looks:
        known = presumed_foundation(recipe, site, store, None)
        if known is not None and is_unchanged(recipe, site, store, looks):
            return known
    same = lock is not None and lock.base.name == recipe.base
    return _on_changed(recipe, site, store, lock if same else None, compared, notes)


def _on_changed(
    recipe: Recipe, site: Site, store: Store, lock: Lock | None, compared: Compared, notes: list[str]
) -> Foundation | None:
    """A base that a build imports first: compared with what ``lock``, or else the last import, says it is.

    Raises ``StaleLockError`` when it is not the one of ``lock``.
    """
    path, record = site.bases[recipe.base], store.base(recipe.base)
    what = _what(recipe.base, path, record)
    if lock is not None:
        digest, epoch, then = lock.base.digest, lock.base.epoch, f"the one of {recipe.lock_file.name}"
    elif record is not None:
        digest, epoch, then = record.digest, record.epoch, "as it was then"
    else:
        notes.append(f"{what}, and no lock says what it is; a build imports it first")
        return None
    or_ends = f", and ends with {StaleLockError.exit_code} if it is not {then}" if lock is not None else ""
    if is_lab_to_come(site, path) or not has_base(store, digest):
        notes.append(f"{what}; taken to be {then}; a build imports it first{or_ends}")
        return _assumed(recipe.base, digest, epoch)
    if os.geteuid() != 0:
        notes.append(f"{what}; a build imports it anew{or_ends}; only root can compare it before")
        return None
    if (path, digest) not in compared:
        compared[path, digest] = changed_since(store, digest, path)
    changes = compared[path, digest]
    if changes is None:
        notes.append(f"{what}; what it holds is {then}, and a build imports it anew")
        known = presumed_foundation(recipe, site, store, None)
        return known if known and known.digest == digest else _assumed(recipe.base, digest, epoch)
    if lock is not None:
        raise changed_base(recipe, changes)
    notes.append(f"{what}, and a build imports it anew; what changed in it: {changes}")
    return None


def _what(name: str, path: Path, record: Base | None) -> str:
    """Why a build imports the base ``name``."""
    if record is None:
        return f"the base {name} is not imported yet"
    if record.path == str(path):
        return f"the base {name} has changed since {path} was imported"
    return f"the base {name} was imported from {record.path}, and the site file names {path} now"


def is_lab_to_come(site: Site, path: Path) -> bool:
    """Whether the base ``path`` is missing only because the lab, which makes it, is not built yet."""
    return site.lab is not None and not path.is_dir()


def _assumed(name: str, digest: str, epoch: int) -> Foundation:
    from pipeline.store.importing import base_key

    key = base_key(digest)
    return Foundation(name, (layer_name(key),), (digest,), key, digest, epoch)
