"""What changed in a base from one import to another, for whoever is told that it did."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from itertools import groupby, islice
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.store import manifest
from pipeline.store.compare import FIELDS
from pipeline.store.importing import base_key
from pipeline.store.store import Store, layer_name
from pipeline.store.tree import Entry

NAMED = 5


def changed_paths(store: Store, old: str, new: str) -> str | None:
    """``/etc/passwd, /etc/group``: the first paths that differ between the bases of these two digests, times
    aside; None when there are none, or the store has one of the two no more."""
    one, other = (store.layer_manifest(layer_name(base_key(digest))) for digest in (old, new))
    try:
        found = list(islice(_changed(one, other), NAMED + 1))
    except PipelineError:  # one of them is not there, or damaged
        return None
    more = " and more" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more if found else None


def _changed(one: Path, other: Path) -> Iterator[str]:
    both = merge(manifest.read(one), manifest.read(other), key=manifest.key)
    for _, group in groupby(both, key=manifest.key):
        entries = list(group)
        if len(entries) == 1 or _content(entries[0]) != _content(entries[1]):
            yield f"/{entries[0].path}"


def _content(entry: Entry) -> tuple[object, ...]:
    return (*(getattr(entry, name) for name in FIELDS), entry.hardlink)
