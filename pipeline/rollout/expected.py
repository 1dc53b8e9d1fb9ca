"""What a node of a version has to be: its packages, and every file that does not differ by right."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Sequence

import msgspec

from pipeline.rollout.ignoring import IGNORED, PRUNED, matcher
from pipeline.store import manifest
from pipeline.store.compare import shown_entries
from pipeline.store.records import Version
from pipeline.store.store import Store
from pipeline.store.tree import Entry, raw_path, readable


class Expected(msgspec.Struct, frozen=True):
    """What nodes of a version are compared with, or of the directory that they were installed from.

    ``packages`` are lines of exact names, sorted (None: nobody knows them); ``files`` (gzip) are lines of
    path, attributes and link target with tabs between, ``sums`` (gzip) lines as sha256sum(1) reads them.
    ``written`` are paths that stages wrote. ``left_out`` tells whether a path differs by right.
    """

    label: str
    packages: tuple[str, ...] | None
    files: bytes
    sums: bytes
    count: int
    written: frozenset[str]
    left_out: re.Pattern[str]


def expected(store: Store, version: Version, ignore: Sequence[str] = ()) -> Expected:
    """What the manifests of ``version`` say; ``ignore`` are further globs, with a leading slash or without.

    Raises ``PipelineError`` when a layer is missing or damaged.
    """
    left_out = matcher((*PRUNED, *IGNORED, *ignore))
    entries = {
        path: entry
        for path, entry in shown_entries(store, version.layers).items()
        if path and "\t" not in path and "\n" not in path and not left_out.match(path)
    }
    written = frozenset(
        entry.path
        for name in version.layers[1:]
        for entry in manifest.read(store.layer_manifest(name))
        if entry.path in entries
    )
    return Expected(
        label=version.label,
        packages=version.packages,
        files=_packed(map(_line, entries.values())),
        sums=_packed(
            b"%s  %s\n" % ((entry.sha256 or "").encode(), raw_path(entry.path))
            for path in sorted(written)
            if (entry := entries[path]).type == "file" and "\\" not in path
        ),
        count=len(entries),
        written=written,
        left_out=left_out,
    )


def expected_of_directory(path: str, records: Iterable[bytes], ignore: Sequence[str] = ()) -> Expected:
    """What a node has that was installed from the directory ``path``; ``listing`` told ``records``."""
    left_out = matcher((*PRUNED, *IGNORED, *ignore))
    lines = []
    for record in records:
        name, about, target = record.split(b"//")
        if b"\t" not in name and b"\n" not in name and not left_out.match(readable(name)):
            lines.append(b"\t".join([name, about + b"-" if about.endswith(b" ") else about, target]) + b"\n")
    return Expected(path, None, _packed(lines), _packed(()), len(lines), frozenset(), left_out)


def _line(entry: Entry) -> bytes:
    """As the node's find(1) is asked to print it."""
    kind = {"file": "f", "dir": "d", "link": "l", "char": "c", "block": "b", "fifo": "p", "socket": "s"}
    mode = (entry.mode or "").lstrip("0") or "0"
    size = entry.size if entry.type == "file" else "-"
    attributes = f"{kind[entry.type]} {mode} {entry.uid} {entry.gid} {size}"
    return (
        b"\t".join(
            [raw_path(entry.path), attributes.encode(), raw_path(entry.target or "") if entry.target else b""]
        )
        + b"\n"
    )


def _packed(lines: Iterable[bytes]) -> bytes:
    return gzip.compress(b"".join(lines), 6, mtime=0)
