"""Manifests: what a layer holds, one JSON line for each path, and the digest that stands for all of it."""

from __future__ import annotations

import gzip
import hashlib
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError
from pipeline.store.filesystem import DIRECTORY
from pipeline.store.records import Summary
from pipeline.store.tree import Entry, entries, raw_path

_FLUSH = 1 << 16


def line(entry: Entry) -> bytes:
    """An entry as its line, with the newline."""
    return msgspec.json.encode(entry) + b"\n"


def write(path: Path, found: Iterable[Entry]) -> Summary:
    """Write the manifest of ``found``, which come in order, to the new file ``path``."""
    sha256 = hashlib.sha256()
    size = count = newest = 0
    now = furthest = time.time_ns()
    ahead: str | None = None
    links: dict[str, list[str]] = {}
    pending = bytearray()
    with path.open("xb") as raw, gzip.GzipFile("", "wb", 1, raw, 0) as packed:
        for entry in found:
            count += 1
            mtime = entry.mtime or 0
            if mtime <= now:
                newest = max(newest, mtime)
            elif mtime > furthest:
                furthest, ahead = mtime, entry.path
            if entry.hardlink is not None:
                links.setdefault(entry.hardlink, [entry.hardlink]).append(entry.path)
            elif entry.size is not None:
                size += entry.size
            pending += line(entry)
            if len(pending) > _FLUSH:
                sha256.update(pending)
                packed.write(pending)
                pending.clear()
        sha256.update(pending)
        packed.write(pending)
    return Summary(
        digest=sha256.hexdigest(),
        bytes=size,
        files=count - 1,
        newest=-(-newest // 10**9),
        ahead=ahead,
        links=tuple(tuple(group) for group in links.values()),
    )


def write_tree(path: Path, tree: Path) -> Summary:
    """Write the manifest of the directory ``tree`` to the new file ``path``."""
    root = os.open(tree, DIRECTORY)
    try:
        return write(path, (entry for entry, _ in entries(root)))
    finally:
        os.close(root)


def read(path: Path) -> Iterator[Entry]:
    """The entries of a manifest in order. Raises ``PipelineError`` when the file is damaged."""
    decoder = msgspec.json.Decoder(Entry)
    number = 0
    try:
        with gzip.open(path, "rb") as lines:
            for text in lines:
                yield decoder.decode(text)
                number += 1
    except (OSError, EOFError, zlib.error, msgspec.MsgspecError) as error:
        raise _damaged(path, f"after line {number}: {error}") from None


def _damaged(path: Path, how: str) -> PipelineError:
    return PipelineError(f"the manifest is damaged: {how}", where=str(path), command="pipeline fsck")


def digest(path: Path) -> str:
    """The digest of a manifest's lines. Raises ``PipelineError`` when the file is damaged."""
    sha256 = hashlib.sha256()
    try:
        with gzip.open(path, "rb") as lines:
            while block := lines.read(_FLUSH):
                sha256.update(block)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from None
    return sha256.hexdigest()


def key(entry: Entry) -> bytes:
    """What the entries of a manifest are sorted by."""
    return raw_path(entry.path)
