"""What the first stage of an image stands on: an imported base of the site, or a version of another image."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pipeline.errors import PipelineError
from pipeline.events import Observer
from pipeline.recipe.model import Recipe, Site
from pipeline.store.records import Base
from pipeline.store.store import Store


class Foundation(msgspec.Struct, frozen=True):
    """``layers`` are layer names, lowest first, with the ``digests`` of their manifests; ``key`` is the one
    of the uppermost. ``digest`` is what a lock pins (empty for another recipe's version: that has a lock of
    its own), ``epoch`` (seconds) the time of files that stages make."""

    name: str
    layers: tuple[str, ...]
    digests: tuple[str, ...]
    key: str
    digest: str
    epoch: int
    kernel_parameters: tuple[str, ...] = ()


def known_foundation(recipe: Recipe, site: Site, store: Store, base_version: int | None) -> Foundation | None:
    """What ``recipe`` stands on, if it is in the store as it is now; None when it has to be imported.

    ``base_version`` is the number of the version to stand on, when the base is another recipe.
    """
    if recipe.base_recipe:
        return _of_version(store, recipe.base, base_version)
    from pipeline.store.fingerprint import fingerprint

    path = _base_path(recipe, site)
    base = store.base(recipe.base)
    if base is None or base.path != str(path) or not path.is_dir() or base.fingerprint != fingerprint(path):
        return None
    return _of_base(store, base)


def foundation(
    recipe: Recipe, site: Site, store: Store, base_version: int | None, observer: Observer
) -> Foundation:
    """What ``recipe`` stands on, imported now if it is new or has changed.

    Raises ``PipelineError`` when the base is missing or no root.
    """
    known = known_foundation(recipe, site, store, base_version)
    if known is not None:
        return known
    from pipeline.store.importing import import_base

    base = import_base(store, recipe.base, _base_path(recipe, site), observer)
    found = _of_base(store, base)
    if found is None:
        raise PipelineError(f"the imported base {recipe.base} has lost its layer", command="pipeline fsck")
    return found


def _base_path(recipe: Recipe, site: Site) -> Path:
    return site.bases[recipe.base]


def _of_base(store: Store, base: Base) -> Foundation | None:
    layer = store.layer_called(base.layer)
    if layer is None:
        return None
    return Foundation(base.name, (base.layer,), (layer.digest,), layer.key, base.digest, base.epoch)


def _of_version(store: Store, image: str, number: int | None) -> Foundation:
    from pipeline.sources.lock import read

    version = store.versions.get(image, number)
    if version is None:
        raise PipelineError(f"the base {image} has no version", command=f"pipeline build {image}")
    lock = read(store.versions.directory(version) / "recipe.lock")
    if lock is None:
        raise PipelineError(f"{version.label} has lost its recipe.lock", command="pipeline fsck")
    layers = [layer for name in version.layers if (layer := store.layer_called(name)) is not None]
    if len(layers) < len(version.layers):
        raise PipelineError(f"{version.label} has lost layers", command="pipeline fsck")
    return Foundation(
        image,
        version.layers,
        tuple(layer.digest for layer in layers),
        layers[-1].key,
        "",
        lock.base.epoch,
        version.kernel_parameters,
    )
