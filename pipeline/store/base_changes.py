"""What changed in a base from one import to another, for whoever is told that it did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.store import manifest
from pipeline.store.compare import FIELDS
from pipeline.store.importing import base_key
from pipeline.store.store import Store, layer_name
from pipeline.store.tree import Entry

NAMED = 5

Pair = tuple[Entry | None, Entry | None]
"""A path before and now; None where it is not."""


def changed_paths(store: Store, old: str, new: str) -> str | None:
    """What differs between the bases of these two digests (``some_of``); None when the store has one of the
    two no more."""
    one, other = (store.layer_manifest(layer_name(base_key(digest))) for digest in (old, new))
    try:
        return some_of(_pairs(one, other))
    except PipelineError:  # one of them is not there, or damaged
        return None


def some_of(pairs: Iterable[Pair]) -> str | None:
    """``/etc/passwd, /etc/group``: the first paths that differ in more than their time. Where none does,
    ``only times: /etc, /etc/passwd``; None where times do not differ either."""
    found: list[str] = []
    times: list[str] = []
    for old, new in pairs:
        there = new or old
        if there is None or old == new:
            continue
        if old is None or new is None or _content(old) != _content(new):
            found.append(f"/{there.path}")
        elif len(times) <= NAMED:
            times.append(f"/{there.path}")
        if len(found) > NAMED:
            break
    if found:
        return _list(found)
    return f"only times: {_list(times)}" if times else None


def _list(paths: list[str]) -> str:
    return ", ".join(paths[:NAMED]) + (" and more" if len(paths) > NAMED else "")


def _pairs(one: Path, other: Path) -> Iterator[Pair]:
    sides = merge(
        ((manifest.key(entry), 0, entry) for entry in manifest.read(one)),
        ((manifest.key(entry), 1, entry) for entry in manifest.read(other)),
        key=lambda each: each[:2],
    )
    for _, group in groupby(sides, key=lambda each: each[0]):
        here = {side: entry for _, side, entry in group}
        yield here.get(0), here.get(1)


def _content(entry: Entry) -> tuple[object, ...]:
    return (*(getattr(entry, name) for name in FIELDS), entry.hardlink)
