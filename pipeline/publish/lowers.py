"""Which layers a mounted version stands on: those that were there then, whatever has their names by now."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.store.content import require_content
from pipeline.store.filesystem import write_whole
from pipeline.store.records import Version, read
from pipeline.store.store import Store

_Known = dict[str, tuple[int, int]]


def remember_lowers(store: Store, layers: Iterable[str], edits: Path) -> None:
    """Note beside the hand edits ``edits`` which ``layers`` are about to be mounted."""
    edits.mkdir(parents=True, exist_ok=True)
    write_whole(_note(edits), msgspec.json.encode({name: _identity(store, name) for name in layers}))


def is_outdated(store: Store, edits: Path) -> bool:
    """Whether a layer under the mount whose hand edits are ``edits`` is gone, or has been made again.

    A mount of an old release, which noted nothing, is taken to be right.
    """
    try:
        known = read(_note(edits), _Known)
    except PipelineError:
        return True  # mounting again writes it anew
    return known is not None and any(_identity(store, name) != was for name, was in known.items())


def lost_lowers(store: Store, edits: Path) -> tuple[str, ...]:
    """The layers of that note that the store does not have. Raises ``PipelineError`` when it is damaged."""
    known = read(_note(edits), _Known) or {}
    return tuple(name for name in known if not store.layer_tree(name).is_dir())


def require_layers(store: Store, version: Version) -> None:
    """Raise ``PipelineError`` with every layer of ``version`` that is missing, or is not its own any more."""
    problems = [
        Problem(f"{version.label} needs the layer {name}, which is missing", command="pipeline fsck")
        for name in version.layers
        if not store.layer_tree(name).is_dir()
    ]
    if problems:
        raise PipelineError(problems)
    require_content(store, version)


def _identity(store: Store, name: str) -> tuple[int, int]:
    """Of a layer: the inode of its tree, which may be given to the next one, and when it was committed."""
    tree = store.layer_tree(name)
    try:
        return tree.stat().st_ino, (tree.parent / "layer.json").stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return 0, 0


def _note(edits: Path) -> Path:
    return edits / "lowers.json"
