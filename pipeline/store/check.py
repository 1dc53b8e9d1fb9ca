"""Whether all that the store keeps is what it was: layers against manifests, records, downloads."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from pipeline.errors import PipelineError, Problem
from pipeline.events import Observer, Progress
from pipeline.store import manifest
from pipeline.store.check_records import check_records, differs
from pipeline.store.filesystem import DIRECTORY, lock_directory
from pipeline.store.forked import Message, Share, Tell, Turns, in_processes
from pipeline.store.remedies import Remedies
from pipeline.store.store import Store
from pipeline.store.tree import Entry, Item, lstat, raw_path, read_entry, readable, walk

_RUN = 64
MOST_TOLD = 20
"""So many differences of a layer are told; of the others the number."""


def check(store: Store, observer: Observer, mounted: Sequence[str] = ()) -> tuple[Problem, ...]:
    """All that is wrong in the store, each with its path, what was expected, what is there and what to do.

    What to do about a layer is told once, with the last of its differences.
    Contents are read and hashed by two processes. Nothing is changed; a build may run meanwhile. ``mounted``
    are the versions (``NAME@N``) that are published from their layers: those are not to be removed under
    them.
    """
    remedies = Remedies(store, mounted)
    problems = [
        *check_records(store, remedies),
        *_strays(store),
    ]
    layers = [name for name in store.layers() if (store.layer_tree(name)).is_dir()]
    downloads = list(_downloads(store))
    damages = _Damages(f"{store.path / 'layers'}/")
    done = 0

    def heard(message: Message) -> None:
        nonlocal done
        done += message.done
        for problem in message.found:
            damages.add(problem)
        observer(Progress(image="", what="fsck", done=done, total=None))

    turns = Turns()
    try:
        in_processes(lambda _number, tell: _check_share(store, layers, downloads, turns, tell), heard)
    finally:
        turns.close()
    return (*sorted(problems + damages.others, key=_where), *damages.told(remedies))


class _Damages:
    """What differs in each layer: the first paths, and how many more; ``others`` are problems of no layer."""

    def __init__(self, layers: str) -> None:
        self.others: list[Problem] = []
        self._layers = layers
        self._first: dict[str, list[Problem]] = {}
        self._more: dict[str, int] = {}

    def add(self, problem: Problem) -> None:
        where = _where(problem)
        if not where.startswith(self._layers):
            self.others.append(problem)
            return
        name = where.removeprefix(self._layers).partition("/")[0]
        first = self._first.setdefault(name, [])
        first.append(problem)
        if len(first) > 2 * MOST_TOLD:
            self._shorten(name)

    def _shorten(self, name: str) -> None:
        first = sorted(self._first[name], key=_where)
        self._first[name] = first[:MOST_TOLD]
        self._more[name] = self._more.get(name, 0) + len(first[MOST_TOLD:])

    def told(self, remedies: Remedies) -> Iterator[Problem]:
        for name in sorted(self._first):
            self._shorten(name)
            found = self._first[name]
            if more := self._more[name]:
                found.append(Problem(f"{more} more differences in this layer", f"{self._layers}{name}"))
            yield from found[:-1]
            yield replace(found[-1], hint=remedies.of(name))


def _where(problem: Problem) -> str:
    return problem.where or ""


def _strays(store: Store) -> list[Problem]:
    problems = []
    for path in sorted((store.path / "work").iterdir()):
        try:
            lock = lock_directory(path)
        except FileNotFoundError:
            continue
        except NotADirectoryError:
            problems.append(Problem("it does not belong here", str(path), f"remove it: rm {path}"))
            continue
        if lock is not None:
            os.close(lock)
            problems.append(
                Problem("left behind by a process that was killed", str(path), "the next build removes it")
            )
    return problems


def _downloads(store: Store) -> Iterator[Path]:
    for path in sorted((store.path / "downloads" / "sha256").glob("*/*")):
        if re.fullmatch("[0-9a-f]{64}", path.name):
            yield path


def _check_share(store: Store, layers: list[str], downloads: list[Path], turns: Turns, tell: Tell) -> None:
    share = Share(turns, _RUN)
    for name in layers:
        tree, listed = store.layer_tree(name), store.layer_manifest(name)
        try:
            _check_layer(tree, listed, share, tell)
        except FileNotFoundError as error:
            if not tree.is_dir():
                continue
            tell(Message(found=(Problem(f"vanished during the check: {error.filename!r}", str(tree)),)))
        except PipelineError:
            continue  # a damaged manifest was told with the records
    for path in downloads:
        if share.next_is_mine():
            _check_download(path, tell)


def _check_download(path: Path, tell: Tell) -> None:
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != path.name:
        hint = f"remove it, and it is fetched again: rm {path}"
        tell(Message(found=(differs(path, "sha256", path.name, got, hint),)))
    tell(Message(done=path.stat().st_size))


def _check_layer(tree: Path, listed: Path, share: Share, tell: Tell) -> None:
    root = os.open(tree, DIRECTORY)
    try:
        for item, entry in _beside(walk(root), manifest.read(listed)):
            if not share.next_is_mine():
                continue
            name = readable(item.path) if item is not None else entry.path if entry is not None else ""
            path = tree / name  # as a manifest writes it: what is told has to be text
            found: tuple[Problem, ...] = ()
            if item is None:
                found = (Problem("it is in the manifest, but missing", str(path)),)
            elif entry is None:
                found = (Problem("it is not in the manifest", str(path)),)
            else:
                found = tuple(
                    differs(path, what, expected, got)
                    for what, expected, got in _differences(root, item, entry)
                )
            if found or (entry is not None and entry.size):
                tell(Message(done=(entry.size or 0) if entry else 0, found=found))
    finally:
        os.close(root)


def _beside(items: Iterator[Item], listed: Iterator[Entry]) -> Iterator[tuple[Item | None, Entry | None]]:
    """Two sorted sequences side by side; where one lacks a path it has None."""
    item, entry = next(items, None), next(listed, None)
    while item is not None or entry is not None:
        if entry is None or (item is not None and item.path < manifest.key(entry)):
            yield item, None
            item = next(items, None)
        elif item is None or item.path > manifest.key(entry):
            yield None, entry
            entry = next(listed, None)
        else:
            yield item, entry
            item, entry = next(items, None), next(listed, None)


def _differences(root: int, item: Item, entry: Entry) -> Iterator[tuple[str, object, object]]:
    """(field, expected, got) of what differs between a path and its entry."""
    status = lstat(item)
    if entry.hardlink is not None:
        try:
            first = os.stat(raw_path(entry.hardlink), dir_fd=root, follow_symlinks=False)
        except FileNotFoundError:
            return  # told at the first name
        if first.st_ino != status.st_ino:
            yield "hard link", f"another name of {entry.hardlink}", "a file of its own"
        return
    found = read_entry(item, status)
    for name in Entry.__struct_fields__:
        expected, got = getattr(entry, name), getattr(found, name)
        if expected != got:
            yield name, expected, got
