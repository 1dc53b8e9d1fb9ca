"""Making a version of the layers of a build."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence

from pipeline.build import keys
from pipeline.build.foundation import Foundation
from pipeline.build.plan import PlannedStage, where_of
from pipeline.chroot.enter import enter
from pipeline.chroot.root import RootSpec
from pipeline.errors import PipelineError
from pipeline.packaging.rpmdb import installed
from pipeline.recipe.model import Recipe
from pipeline.sources import lock as locks
from pipeline.sources.lock import Lock
from pipeline.store.records import Layer, StageOfVersion, Version
from pipeline.store.store import Store, layer_name


def identity(recipe: Recipe, found: Foundation, stages: Iterable[PlannedStage]) -> str:
    """What makes two builds of ``recipe`` the same version."""
    stages = tuple(stages)
    of_stages = tuple(stage.key for stage in stages)
    parameters = kernel_parameters(recipe, found, stages)
    return keys.identity(recipe.name, (*found.keys, *of_stages), parameters)


def kernel_parameters(recipe: Recipe, found: Foundation, stages: Iterable[PlannedStage]) -> tuple[str, ...]:
    """What nodes of the image boot with in addition: of the base, the recipe and its stages, each once."""
    of_stages = (word for stage in stages for word in stage.placed.stage.kernel_parameters())
    return tuple(dict.fromkeys((*found.kernel_parameters, *recipe.kernel_parameters, *of_stages)))


def make_version(
    store: Store,
    recipe: Recipe,
    found: Foundation,
    done: Sequence[tuple[PlannedStage, Layer]],
    lock: Lock,
) -> Version:
    """The version that these stages are: the one that is there already, or a new one."""
    planned = [stage for stage, _ in done]
    layers = (*found.layers, *(layer_name(layer.key) for _, layer in done))
    named = identity(recipe, found, planned)
    known = store.versions.find(recipe.name, named)
    if known is not None:
        return known
    packages, kernel = _contents(store, layers)
    text = locks.text_of(lock)
    version = Version(
        image=recipe.name,
        number=0,
        identity=named,
        created=time.time(),
        base=found.name,
        base_digest=found.digest,
        layers=layers,
        stages=tuple(_stage(stage, layer) for stage, layer in done),
        tree=_tree(store, layers),
        kernel=kernel,
        kernel_parameters=kernel_parameters(recipe, found, planned),
        parameters=dict(recipe.parameters),
        recipe_digest=_digest_of_files(recipe),
        lock_digest=hashlib.sha256(text.encode()).hexdigest(),
        packages=packages,
    )
    return store.versions.add(version, {"recipe.lock": text.encode()})


def _stage(stage: PlannedStage, layer: Layer) -> StageOfVersion:
    return StageOfVersion(
        name=stage.placed.stage.name,
        type=layer.type,
        key=stage.key,
        layer=layer_name(layer.key),
        digest=layer.digest,
        seconds=layer.seconds,
        bytes=layer.bytes,
        files=layer.files,
        place=where_of(stage.placed),
        notes=layer.notes,
        added=layer.added,
        removed=layer.removed,
    )


def _contents(store: Store, layers: Sequence[str]) -> tuple[tuple[str, ...], str | None]:
    """The packages and the kernel of an image, as it stands."""
    with enter(RootSpec(layers=tuple(map(store.layer_tree, layers)))) as root:
        return installed(root), root.kernel


def _tree(store: Store, layers: Sequence[str]) -> str:
    """The digest of the digests of all layers."""
    whole = hashlib.sha256()
    for name in layers:
        layer = store.layer_called(name)
        if layer is None:
            raise PipelineError(f"the layer {name} is gone", command="pipeline fsck")
        whole.update(f"{layer.digest}\n".encode())
    return whole.hexdigest()


def _digest_of_files(recipe: Recipe) -> str:
    """The digest of the recipe, its fragments, and everything else that was read for it."""
    whole = hashlib.sha256()
    for path in recipe.files:
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
