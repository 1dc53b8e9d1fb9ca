"""Making a version of the layers of a build."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence

from pipeline.build.foundation import Foundation, contents
from pipeline.build.plan import PlannedStage, kernel_parameters, tree, where_of
from pipeline.recipe.model import Recipe
from pipeline.store.naming import identity
from pipeline.store.records import Layer, StageOfVersion, Version
from pipeline.store.store import Store, layer_name


def make_version(
    store: Store,
    recipe: Recipe,
    found: Foundation,
    done: Sequence[tuple[PlannedStage, Layer]],
    lock: bytes,
    packages: tuple[str, ...] | None,
) -> Version:
    """The version that these stages are: the one that is there already, or a new one.

    ``lock`` is the text of the recipe.lock that they were made by; ``packages`` are those of the image, None
    when nobody has looked; then that is done here.
    """
    planned = [stage for stage, _ in done]
    layers = (*found.layers, *(layer_name(layer.key) for _, layer in done))
    content = tree(found, (layer for _, layer in done))
    words = kernel_parameters(recipe, found, planned)
    named = identity(recipe.name, content, words, recipe.parameters)
    known = store.versions.find(recipe.name, named, layers)
    if known is not None:
        return known
    if packages is None or not done:
        packages, kernel = contents(store, layers)
    else:
        kernel = done[-1][1].kernel
    version = Version(
        image=recipe.name,
        number=0,
        identity=named,
        created=time.time(),
        base=found.name,
        base_digest=found.digest,
        layers=layers,
        stages=tuple(_stage(stage, layer) for stage, layer in done),
        tree=content,
        kernel=kernel,
        kernel_parameters=words,
        parameters=dict(recipe.parameters),
        recipe_digest=recipe.digest,
        lock_digest=hashlib.sha256(lock).hexdigest(),
        packages=packages,
    )
    return store.versions.add(version, {"recipe.lock": lock})


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
