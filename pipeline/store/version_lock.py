"""The recipe.lock that a version was built by, kept beside its record: whether it is still that one."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pipeline.errors import Problem
from pipeline.store.records import Version
from pipeline.store.store import Store


def lock_of(store: Store, version: Version) -> Path:
    """Where it is."""
    return store.versions.directory(version) / "recipe.lock"


def damage(store: Store, version: Version) -> Problem | None:
    """What is wrong with it, and what to do; None when it is as it was."""
    path = lock_of(store, version)
    message = f"{version.label} has lost its recipe.lock"
    try:
        got = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return Problem(message, str(path), remedy(store, version))
    except OSError as error:
        return Problem(f"the file cannot be read: {error}", str(path), remedy(store, version))
    if got == version.lock_digest:
        return None
    told = f"{message}: sha256: expected {version.lock_digest}, got {got}"
    return Problem(told, str(path), remedy(store, version))


def remedy(store: Store, version: Version) -> str:
    """What to do when it is lost or damaged."""
    return (
        f"put back the one of that build, beside the recipe or from version control (its sha256 is "
        f"{version.lock_digest}): cp recipes/{version.image}/recipe.lock {lock_of(store, version)}"
    )
