"""What the first stage of an image stands on: an imported base of the site, or a version of another image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pipeline.errors import PipelineError, UsageError
from pipeline.events import Observer
from pipeline.recipe.model import Recipe, Site
from pipeline.store.records import Base
from pipeline.store.store import Store

if TYPE_CHECKING:
    from pipeline.sources.lock import Lock
    from pipeline.store.fingerprint import Look


class Foundation(msgspec.Struct, frozen=True):
    """``layers`` are layer names, lowest first, with the ``digests`` of their manifests; ``key`` is the one
    of the uppermost. ``digest`` is what a lock pins (empty for another recipe's version: that has a lock of
    its own), ``epoch`` (seconds) the time of files that stages make, ``packages`` the NEVRA of all that are
    installed (None: not known)."""

    name: str
    layers: tuple[str, ...]
    digests: tuple[str, ...]
    key: str
    digest: str
    epoch: int
    kernel_parameters: tuple[str, ...] = ()
    packages: tuple[str, ...] | None = None

    def dated(self, lock: Lock | None) -> Foundation:
        """With the time that ``lock`` has settled, where it is one of this base: it was imported elsewhere at
        another time. Another recipe's version has the one of its own lock."""
        if lock is None or not self.digest or (lock.base.name, lock.base.digest) != (self.name, self.digest):
            return self
        return replace(self, epoch=lock.base.epoch)


def presumed_foundation(
    recipe: Recipe, site: Site, store: Store, base_version: int | None
) -> Foundation | None:
    """What ``recipe`` stands on if its base is as it was imported (``is_unchanged``), None if it never was.

    ``base_version`` is the number of the version to stand on, when the base is another recipe.
    """
    if recipe.base_recipe:
        return _of_version(store, recipe.base, base_version)
    base = _imported(recipe, site, store)
    return None if base is None else _of_base(store, base)


def is_unchanged(recipe: Recipe, site: Site, store: Store, looks: Mapping[str, Look]) -> bool:
    """Whether the base of ``recipe`` is what was imported. Waits for the look at it to end."""
    if recipe.base_recipe:
        return True
    base, look = _imported(recipe, site, store), looks.get(recipe.base)
    return base is not None and look is not None and base.fingerprint == look.fingerprint()


def _imported(recipe: Recipe, site: Site, store: Store) -> Base | None:
    """What is known of the base of ``recipe``, when it was imported from where it is now."""
    if recipe.base_recipe:
        return None
    base, path = store.base(recipe.base), _base_path(recipe, site)
    return base if base is not None and base.path == str(path) and os.path.isdir(path) else None


def foundation(
    recipe: Recipe, site: Site, store: Store, base_version: int | None, observer: Observer
) -> Foundation:
    """What ``recipe`` stands on, imported now if it is new or has changed.

    Raises ``PipelineError`` when the base is missing or no root.
    """
    if recipe.base_recipe:
        return _of_version(store, recipe.base, base_version)
    from pipeline.store.importing import import_base

    base = import_base(store, recipe.base, _base_path(recipe, site), observer)
    if base.packages is None:
        with suppress(PipelineError):  # should its rpm be broken, whoever needs it will say so
            base = replace(base, packages=contents(store, (base.layer,))[0])
            store.set_base(base)
    found = _of_base(store, base)
    if found is None:
        raise PipelineError(f"the imported base {recipe.base} has lost its layer", command="pipeline fsck")
    return found


def contents(store: Store, layers: Iterable[str]) -> tuple[tuple[str, ...], str | None]:
    """The packages and the kernel of an image, as it stands."""
    from pipeline.chroot.enter import enter
    from pipeline.chroot.root import RootSpec
    from pipeline.packaging.rpmdb import installed

    with enter(RootSpec(layers=tuple(map(store.layer_tree, layers)))) as root:
        return installed(root), root.kernel


def _base_path(recipe: Recipe, site: Site) -> Path:
    return site.bases[recipe.base]


def _of_base(store: Store, base: Base) -> Foundation | None:
    layer = store.layer_called(base.layer)
    if layer is None:
        return None
    return Foundation(
        base.name, (base.layer,), (layer.digest,), layer.key, base.digest, base.epoch, packages=base.packages
    )


def _of_version(store: Store, image: str, number: int | None) -> Foundation:
    from pipeline.sources.lock import read
    from pipeline.store.version_lock import lock_of, remedy

    version = store.versions.get(image, number)
    if version is None:
        raise PipelineError(f"the base {image} has no version", command=f"pipeline build {image}")
    lock = None
    place = lock_of(store, version)
    with suppress(UsageError):  # told with what to do, which is not to lock this one anew
        lock = read(place)
    if lock is None:
        message = f"{version.label} has lost its recipe.lock"
        raise PipelineError(message, where=str(place), hint=remedy(store, version))
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
        version.packages,
    )
