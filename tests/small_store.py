"""Layers of a file, and records of versions, made directly in a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from pipeline.store.records import Draft, Layer, Version
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


def commit_layer(
    store: Store, key: str, fill: Callable[[Path], object], parents: Sequence[str] = (), stage: str = "s"
) -> Layer:
    """A layer of ``web`` on ``parents``, whose upper directory ``fill`` fills."""
    with store.begin(parents) as work:
        fill(work.upper)
        return store.commit(work, Draft(key=key, image="web", stage=stage, type="file"), epoch=5)


def version_record(**more: Any) -> Version:
    """The record of a version of ``web`` that is in no store yet; ``more`` are other values of it."""
    return replace(_VERSION, **more)
