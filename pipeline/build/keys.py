"""Keys: the digest of everything that a stage's result depends on. Pure arithmetic over plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.stages.base import PackageAnswer, Stage
from pipeline.store.naming import digest_of

FORMAT = 1
"""Counts up when layers are made in another way, so that all of them are made anew."""


def basis(
    stage: Stage,
    *,
    parent: str,
    code: str,
    sources: Mapping[str, str],
    trees: Mapping[str, str],
    packages: PackageAnswer | None,
    parameters: Mapping[str, Any],
    epoch: int,
) -> dict[str, Any]:
    """What the key of ``stage`` is made of, by name.

    ``parent`` is the key of the stage before (or of the base); ``sources`` and ``trees`` map to content
    digests. Options keep their order. The stage's name is left out: it changes nothing in the image.
    ``parameters`` only hold those that the templates of ``trees`` may see. ``epoch`` (seconds) is the lock's.
    """
    options = msgspec.to_builtins(stage)
    del options["name"]
    return {
        "format": FORMAT,
        "parent": parent,
        "type": options.pop("type"),
        "options": options,
        "code": code,
        "sources": dict(sources),
        "trees": dict(trees),
        "packages": None if packages is None else _pinned(packages),
        "parameters": dict(parameters),
        "epoch": epoch,
    }


def key(of: Mapping[str, Any]) -> str:
    """The sha256 of a basis: 64 hex digits, equal on every machine."""
    return digest_of(of)


def _pinned(packages: PackageAnswer) -> dict[str, Any]:
    return {
        "install": [[package.nevra, package.sha256] for package in packages.install],
        "remove": list(packages.remove),
    }
