"""What would be built: every stage with its key, from the recipe, its lock and what the store has.

Nothing is mounted, fetched or written here; a build with nothing to do ends with this.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from pipeline.build import keys
from pipeline.build.code import code_digest
from pipeline.build.foundation import Foundation
from pipeline.chroot.root import MOST_LAYERS
from pipeline.errors import Problem, StaleLockError, UsageError
from pipeline.mirrors import is_url
from pipeline.packaging.nevra import is_file
from pipeline.recipe.model import PlacedStage, Recipe, Site
from pipeline.sources.differences import (
    Renewable,
    Wanted,
    WantedPackages,
    WantedSource,
    differences,
    is_stale,
    renewable,
)
from pipeline.sources.digests import FileDigests, tree_digest
from pipeline.sources.lock import Lock, LockedSource, LockedStage
from pipeline.stages.base import PackageAnswer, PackageRequest, SourceRequest, Stage
from pipeline.store.records import Layer, stack_digest
from pipeline.store.store import Store
from pipeline.templates import SUFFIX


class PlannedStage(msgspec.Struct, frozen=True):
    """A stage whose inputs are all pinned. ``layer`` is None when it has to run; ``below`` is the digest of
    what it stands on, None where that is not known before something else has run."""

    placed: PlacedStage
    key: str
    basis: Mapping[str, Any]
    answer: PackageAnswer | None
    trees: Mapping[str, Path]
    layer: Layer | None
    below: str | None


class Pins(msgspec.Struct, frozen=True):
    """What is pinned: sources by location, what a lock holds of stages by their names."""

    sources: Mapping[str, LockedSource]
    stages: Mapping[str, LockedStage]

    @classmethod
    def of(cls, holding: Renewable) -> Pins:
        return cls(
            {source.location: source for source in holding.sources},
            {stage.name: stage for stage in holding.stages},
        )


class Plan(msgspec.Struct, frozen=True):
    """``stages`` ends where something is not pinned yet; ``differences`` says what differs from ``lock``."""

    recipe: Recipe
    foundation: Foundation
    lock: Lock | None
    differences: tuple[Problem, ...]
    pins: Pins
    stages: tuple[PlannedStage, ...]

    @property
    def complete(self) -> bool:
        """Whether every stage is pinned and has its layer, by a lock that is what the recipe asks for."""
        return (
            self.lock is not None
            and not self.differences
            and len(self.stages) == len(self.recipe.stages)
            and all(stage.layer is not None for stage in self.stages)
        )


def plan(recipe: Recipe, site: Site, store: Store, found: Foundation, lock: Lock | None) -> Plan:
    """Plan ``recipe`` on ``found`` as far as ``lock`` pins it.

    Raises ``StaleLockError`` when the base is not the one of the lock any more, and ``UsageError`` when there
    are more stages than can be stacked on it.
    """
    _check_height(recipe, len(found.layers))
    found = found.dated(lock)
    of_base = None if recipe.base_recipe else found.digest
    asked = wanted(recipe, site, store, of_base, found.epoch if recipe.base_recipe else None)
    differs = differences(lock, asked) if lock is not None else ()
    if lock is not None and asked.base_digest not in (None, lock.base.digest):
        same = lock.base.name == recipe.base
        raise StaleLockError(_with_paths(differs, store, lock.base.digest, found.digest) if same else differs)
    pins = Pins.of(renewable(lock, asked) if lock is not None else Renewable())
    stages: list[PlannedStage] = []
    parent, packages = found.key, found.packages
    under: list[str] | None = list(found.digests) or None
    for placed in recipe.stages:
        if not pinned(placed, pins):
            break
        locked = pins.stages.get(placed.stage.name)
        if locked is not None and packages is not None:
            stale = is_stale(locked, packages, partial(where_of, placed), asked.lock_file)
            if stale is not None:
                differs = (*differs, replace(stale, command=f"pipeline lock {recipe.name}"))
                pins = without_from(pins, recipe, locked.name)
                break
        below = stack_digest(under) if under is not None else None
        stages.append(plan_stage(placed, parent, pins, site, store, below, found.epoch))
        parent, layer = stages[-1].key, stages[-1].layer
        under = [*under, layer.digest] if under is not None and layer is not None else None
        packages = packages_after(packages, layer) if layer is not None else None
    return Plan(recipe, found, lock, differs, pins, tuple(stages))


def _check_height(recipe: Recipe, below: int) -> None:
    height = below + len(recipe.stages)
    if height > MOST_LAYERS:
        raise UsageError(
            f"the image would have {height} layers: {len(recipe.stages)} stages on the {below} of its base;"
            f" overlayfs stacks {MOST_LAYERS} and the stand-ins",
            where=where_of(recipe.stages[max(MOST_LAYERS - below, 0)]),
            hint="put what belongs together into one stage: an overlay with several files, a shell with"
            " several commands",
        )


def _with_paths(differs: Sequence[Problem], store: Store, old: str, new: str) -> Iterator[Problem]:
    """The differences, of which the base's comes first, with the paths that changed in it."""
    from pipeline.store.base_changes import changed_paths

    first, *rest = differs
    paths = changed_paths(store, old, new)
    unknown = "what changed in it is not known here: the store does not have it as it was locked"
    yield replace(first, hint=f"what changed in it: {paths}" if paths else unknown)
    yield from rest


def changed_base(recipe: Recipe, changes: str) -> StaleLockError:
    """What is said of a base that is known to differ from the lock's before it is imported."""
    return StaleLockError(
        f'the base "{recipe.base}" has changed since {os.path.relpath(recipe.lock_file)} was made',
        where=where_base(recipe),
        hint=f"what changed in it: {changes}",
        command=f"pipeline lock {recipe.name}",
    )


def packages_after(before: tuple[str, ...] | None, layer: Layer) -> tuple[str, ...] | None:
    """The NEVRA of all that is installed on top of a layer; None where they were not known before."""
    if before is None or not (layer.added or layer.removed):
        return before
    return tuple(sorted((set(before) - set(layer.removed)) | set(layer.added)))


def without_from(pins: Pins, recipe: Recipe, name: str) -> Pins:
    """``pins`` without what the package manager answered for the stage ``name`` and those after it."""
    names = [placed.stage.name for placed in recipe.stages]
    before = set(names[: names.index(name)])
    return Pins(pins.sources, {stage: locked for stage, locked in pins.stages.items() if stage in before})


def pinned(placed: PlacedStage, pins: Pins) -> bool:
    """Whether everything from outside that the stage needs is pinned."""
    stage = placed.stage
    return all(request.location in pins.sources for request in asked_sources(stage)) and (
        stage.packages() is None or stage.name in pins.stages
    )


def asked_sources(stage: Stage) -> tuple[SourceRequest, ...]:
    """The files from outside that a stage names, RPMs among them: each is pinned by its digest."""
    request = stage.packages()
    return stage.sources() + tuple(map(SourceRequest, rpm_files(request) if request else ()))


def rpm_files(request: PackageRequest) -> tuple[str, ...]:
    """The URLs and paths of RPMs in a request, each once."""
    return tuple(dict.fromkeys(name for name in (*request.install, *request.upgrade) if is_file(name)))


def plan_stage(
    placed: PlacedStage, parent: str, pins: Pins, site: Site, store: Store, below: str | None, epoch: int
) -> PlannedStage:
    """One stage that is pinned, on the layer of the key ``parent``, with which all comes to ``below``. What
    it writes is not before ``epoch``."""
    stage = placed.stage
    trees = {name: site.overlays / name for name in stage.trees()}
    answer = pins.stages[stage.name].answer if stage.packages() is not None else None
    basis = keys.basis(
        stage,
        parent=parent,
        code=code_digest(str(stage.__struct_config__.tag)),
        sources={request.location: pins.sources[request.location].sha256 for request in stage.sources()},
        trees={name: tree_digest(path) for name, path in trees.items()},
        packages=answer,
        parameters=placed.parameters if any(map(_has_templates, trees.values())) else {},
        epoch=epoch,
    )
    key = keys.key(basis)
    return PlannedStage(placed, key, basis, answer, trees, store.layer(key, below), below)


def tree(found: Foundation, layers: Iterable[Layer]) -> str:
    """The digest of the image that ``layers`` on ``found`` are."""
    return stack_digest((*found.digests, *(layer.digest for layer in layers)))


def kernel_parameters(recipe: Recipe, found: Foundation, stages: Iterable[PlannedStage]) -> tuple[str, ...]:
    """What nodes of the image boot with in addition: of the base, the recipe and its stages, each once."""
    of_stages = (word for stage in stages for word in stage.placed.stage.kernel_parameters())
    return tuple(dict.fromkeys((*found.kernel_parameters, *recipe.kernel_parameters, *of_stages)))


def wanted(
    recipe: Recipe, site: Site, store: Store, base_digest: str | None, base_epoch: int | None = None
) -> Wanted:
    """What the recipe asks of its lock. Files below the project are looked at: they may have changed.

    ``base_digest`` is what the base has now, ``base_epoch`` what another recipe's image has that is the base;
    None when that is not known or not pinned.
    """
    repositories = repositories_before(recipe)
    local = FileDigests(store.path / "downloads" / "seen")
    return Wanted(
        image=recipe.name,
        lock_file=os.path.relpath(recipe.lock_file),
        base=recipe.base,
        base_digest=base_digest,
        where=partial(where_base, recipe),
        sources=tuple(_sources(recipe, site, local)),
        stages=tuple(
            WantedPackages(
                placed.stage.name, request, partial(where_of, placed), repositories[placed.stage.name]
            )
            for placed in recipe.stages
            if (request := placed.stage.packages()) is not None
        ),
        base_epoch=base_epoch,
    )


def repositories_before(recipe: Recipe) -> dict[str, str]:
    """Stage → sha256 of the options of the stages before it that are about repositories, in their order."""
    said = hashlib.sha256()
    found: dict[str, str] = {}
    for placed in recipe.stages:
        found[placed.stage.name] = said.hexdigest()
        if placed.stage.changes_repositories():
            said.update(msgspec.json.encode(placed.stage, order="sorted"))
    return found


def _sources(recipe: Recipe, site: Site, local: FileDigests) -> Iterator[WantedSource]:
    for placed in recipe.stages:
        for request in asked_sources(placed.stage):
            path = site.project / request.location
            found = local.of(path).sha256 if not is_url(request.location) and path.is_file() else None
            yield WantedSource(request, partial(where_of, placed), found)


def where_of(placed: PlacedStage) -> str:
    from pipeline.recipe.findings import where

    return where(placed.place)


def where_base(recipe: Recipe) -> str:
    from pipeline.recipe.findings import position

    return position(recipe.file, ("image", "base"))


def _has_templates(tree: Path) -> bool:
    return any(name.endswith(SUFFIX) for _, _, names in os.walk(tree) for name in names)
