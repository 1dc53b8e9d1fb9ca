"""Whether all that the store keeps is what it was: layers against manifests, records, downloads."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.events import Observer, Progress
from pipeline.printable import on_one_line
from pipeline.store import hardlinks, manifest
from pipeline.store.content import changed
from pipeline.store.filesystem import DIRECTORY, lock_directory
from pipeline.store.forked import Message, Share, Tell, Turns, in_processes
from pipeline.store.records import Base, Failure, Layer, Verification, Version, read
from pipeline.store.remedies import Remedies
from pipeline.store.store import Store, layer_name
from pipeline.store.tree import Entry, Item, lstat, raw_path, read_entry, readable, walk
from pipeline.store.version_lock import damage

_RUN = 64
T = TypeVar("T")


def check(store: Store, observer: Observer, mounted: Sequence[str] = ()) -> tuple[Problem, ...]:
    """All that is wrong in the store, each with its path, what was expected, what is there and what to do.

    Contents are read and hashed by two processes. Nothing is changed; a build may run meanwhile. ``mounted``
    are the versions (``NAME@N``) that are published from their layers: those are not to be removed under
    them.
    """
    remedies = Remedies(store, mounted)
    problems = [
        *_layer_records(store, remedies),
        *_bases(store),
        *_versions(store),
        *_failures(store),
        *_strays(store),
    ]
    layers = [name for name in store.layers() if (store.layer_tree(name)).is_dir()]
    downloads = list(_downloads(store))
    done = 0

    def heard(message: Message) -> None:
        nonlocal done
        done += message.done
        problems.extend(message.found)
        observer(Progress(image="", what="fsck", done=done, total=None))

    turns = Turns()
    try:
        in_processes(
            lambda _number, tell: _check_share(store, remedies, layers, downloads, turns, tell), heard
        )
    finally:
        turns.close()
    return tuple(sorted(problems, key=lambda problem: problem.where or ""))


def _record(problems: list[Problem], path: Path, reader: Callable[[Path], T | None], hint: str) -> T | None:
    """What ``reader`` reads; a damaged or missing record becomes a problem."""
    try:
        found = reader(path)
    except PipelineError as error:
        problems += [Problem(problem.message, str(path), hint) for problem in error.problems]
        return None
    except (OSError, msgspec.MsgspecError) as error:
        problems.append(Problem(f"the file cannot be read: {error}", str(path), hint))
        return None
    if found is None:
        problems.append(Problem("the file is missing", str(path), hint))
    return found


def _layer_records(store: Store, remedies: Remedies) -> list[Problem]:
    problems: list[Problem] = []
    for name in store.layers():
        place = store.path / "layers" / name
        hint = remedies.of(name)
        layer = _record(problems, place / "layer.json", partial(read, kind=Layer), hint)
        _record(problems, place / "links.json", hardlinks.read_groups, hint)
        digest = _record(problems, place / "manifest.gz", manifest.digest, hint)
        if not (place / "tree").is_dir():
            problems.append(Problem("the tree is missing", str(place / "tree"), hint))
        if layer is None:
            continue
        if layer_name(layer.key) != name:
            problems.append(_differs(place / "layer.json", "key", name + "…", layer.key, hint))
        if digest is not None and digest != layer.digest:
            problems.append(_differs(place / "manifest.gz", "sha256", layer.digest, digest, hint))
        if layer.parent is not None and not store.layer_tree(layer.parent).is_dir():
            problems.append(Problem(f"its parent layer {layer.parent} is missing", str(place), hint))
    return problems


def _differs(path: Path | str, what: str, expected: object, got: object, hint: str | None) -> Problem:
    return Problem(on_one_line(f"{what}: expected {expected}, got {got}"), str(path), hint)


def _bases(store: Store) -> list[Problem]:
    problems: list[Problem] = []
    for path in sorted((store.path / "bases").glob("*.json")):
        hint = f"remove it, and the next build imports the base again: rm {path}"
        base = _record(problems, path, partial(read, kind=Base), hint)
        if base is None:
            continue
        layer = store.path / "layers" / base.layer / "layer.json"
        if not layer.exists():
            problems.append(Problem(f"its layer {base.layer} is missing", str(path), hint))
    return problems


def _versions(store: Store) -> list[Problem]:
    problems: list[Problem] = []
    versions = store.versions
    for image in versions.images():
        for number in versions.numbers(image):
            path = store.path / "images" / image / "versions" / str(number)
            hint = f"it cannot be used any more; build again for a new version: pipeline build {image}"
            version = _record(
                problems,
                path / "version.json",
                partial(read, kind=Version),
                hint,
            )
            if version is None:
                continue
            if (version.image, version.number) != (image, number):
                problems.append(
                    _differs(path / "version.json", "label", f"{image}@{number}", version.label, hint)
                )
            problems += [
                Problem(f"{version.label} needs the layer {layer}, which is missing", str(path), hint)
                for layer in version.layers
                if not store.layer_tree(layer).is_dir()
            ]
            with suppress(PipelineError):  # a damaged record of a layer is told with the layers
                problems += filter(None, [changed(store, version)])
            if (version.image, version.number) == (image, number):
                problems += filter(None, [damage(store, version)])
            results = versions.verification_directory(version) / "verification.json"
            if results.exists():
                again = f"test it again: pipeline verify {version.label}"
                _record(problems, results, partial(read, kind=Verification), again)
    return problems


def _failures(store: Store) -> list[Problem]:
    problems: list[Problem] = []
    for path in sorted((store.path / "failed").glob("*/failure.json")):
        hint = f"it is only for looking at; remove it: rm -r {path.parent}"
        _record(problems, path, partial(read, kind=Failure), hint)
    return problems


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


def _check_share(
    store: Store, remedies: Remedies, layers: list[str], downloads: list[Path], turns: Turns, tell: Tell
) -> None:
    share = Share(turns, _RUN)
    for name in layers:
        tree, listed = store.layer_tree(name), store.layer_manifest(name)
        try:
            _check_layer(tree, listed, remedies.of(name), share, tell)
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
        tell(Message(found=(_differs(path, "sha256", path.name, got, hint),)))
    tell(Message(done=path.stat().st_size))


def _check_layer(tree: Path, listed: Path, hint: str, share: Share, tell: Tell) -> None:
    root = os.open(tree, DIRECTORY)
    try:
        for item, entry in _beside(walk(root), manifest.read(listed)):
            if not share.next_is_mine():
                continue
            name = readable(item.path) if item is not None else entry.path if entry is not None else ""
            path = tree / name  # as a manifest writes it: what is told has to be text
            found: tuple[Problem, ...] = ()
            if item is None:
                found = (Problem("it is in the manifest, but missing", str(path), hint),)
            elif entry is None:
                found = (Problem("it is not in the manifest", str(path), hint),)
            else:
                found = tuple(
                    _differs(path, what, expected, got, hint)
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
