"""Layers of a file, and records of versions, made directly in a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pipeline.sources.lock import Lock, LockedBase, text_of
from pipeline.store.naming import identity
from pipeline.store.records import Draft, Layer, Version, stack_digest
from pipeline.store.store import Store

_VERSION = Version(
    image="web",
    number=0,
    identity="one",
    created=1.0,
    base="base",
    base_digest="d",
    layers=(),
    stages=(),
    tree="t",
    kernel=None,
    kernel_parameters=(),
    parameters={},
    recipe_digest="r",
    lock_digest="l",
    packages=(),
)

_LOCK = text_of(Lock(base=LockedBase("base", "d" * 64, 5), sources=(), stages=())).encode()


def commit_layer(
    store: Store, key: str, fill: Callable[[Path], object], parents: Sequence[str] = (), stage: str = "s"
) -> Layer:
    """A layer of ``web`` on ``parents``, whose upper directory ``fill`` fills."""
    with store.begin(parents) as work:
        fill(work.upper)
        return store.commit(work, Draft(key=key, image="web", stage=stage, type="file"), epoch=5)


def add_version(store: Store, layers: Sequence[str], **more: Any) -> Version:
    """A version of layers (names) that are in the store, with a lock; ``more`` are other values of it."""
    found = (store.layer_called(name) for name in layers)
    tree = stack_digest(layer.digest for layer in found if layer is not None)
    digest = sha256(_LOCK).hexdigest()
    record = version_record(layers=tuple(layers), tree=tree, lock_digest=digest, **more)
    named = identity(record.image, tree, record.kernel_parameters, record.parameters)
    return store.versions.add(replace(record, identity=named), {"recipe.lock": _LOCK})


def version_record(**more: Any) -> Version:
    """The record of a version of ``web`` that is in no store yet; ``more`` are other values of it."""
    return replace(_VERSION, **more)
