"""What nothing needs any more, and removing it, each by one rename: nothing is ever half there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError
from pipeline.removing import remove_tree
from pipeline.store.filesystem import DIRECTORY, told
from pipeline.store.records import Base, Failure, Layer, Version, read
from pipeline.store.store import Store
from pipeline.store.tree import lstat, walk
from pipeline.store.work import is_held, put_away


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to remove. ``kind`` is ``directory`` (published), ``version``, ``results`` (of tests),
    ``signatures``, ``edits`` (by hand, in a mounted version), ``base``, ``layer``, ``download``,
    ``partial``, ``note``, ``lock`` or ``leftover``; ``bytes`` counts contents of files."""

    kind: str
    name: str
    path: str
    bytes: int
    why: str


class Needs(msgspec.Struct, frozen=True):
    """What has to stay. ``versions`` are those that stay; ``bases`` names of imported base trees;
    ``downloads`` sha256 digests; ``partials`` and ``seen`` the names (without suffix) of files in the folders
    for downloads. ``layers`` are the names of those that builds use beside the ones of ``versions``."""

    versions: tuple[Version, ...]
    bases: frozenset[str]
    downloads: frozenset[str]
    partials: frozenset[str]
    seen: frozenset[str]
    layers: frozenset[str] = frozenset()


def garbage(store: Store, needs: Needs) -> tuple[Removal, ...]:
    """What is not needed, in the order in which it can be removed: first what needs other things.

    Raises ``PipelineError`` when a record is damaged: then it is not known what it needs.
    """
    return (
        *_versions(store, needs),
        *_edits(store, needs),
        *_bases(store, needs),
        *_layers(store, needs),
        *_downloads(store, needs),
        *_rests(store),
    )


def remove(store: Store, found: Iterable[Removal], done: Callable[[Removal], None]) -> tuple[str, ...]:
    """Remove it; ``done`` is called after each. Stopped anywhere, what is left is whole, or swept as work.

    Returns what there is to say of leftovers that cannot be removed: nothing else waits for those.
    """
    left = []
    for removal in found:
        try:
            _remove(store, removal)
        except PipelineError as error:
            if removal.kind != "leftover":
                raise
            left.append(str(error))
        else:
            done(removal)
    return tuple(left)


def _remove(store: Store, removal: Removal) -> None:
    path = Path(removal.path)
    with told(f"the {removal.kind} {removal.name} cannot be removed", path):
        if not path.is_relative_to(store.path):
            remove_tree(path)
        elif path.is_dir():
            with put_away(store.path / "work") as grave:
                path.rename(grave)
        else:
            path.unlink(missing_ok=True)


def every_version(store: Store) -> tuple[Version, ...]:
    """All versions of all images. Raises ``PipelineError`` when one can't be read."""
    found: list[Version] = []
    for image in store.versions.images():
        for number in store.versions.numbers(image):
            version = store.versions.get(image, number)
            if version is None:
                place = store.path / "images" / image / "versions" / str(number)
                raise PipelineError(
                    "the version has lost its record", where=str(place), command="pipeline fsck"
                )
            found.append(version)
    return tuple(found)


def _versions(store: Store, needs: Needs) -> Iterator[Removal]:
    kept = {(version.image, version.number) for version in needs.versions}
    for image in sorted(os.listdir(store.path / "images")):
        folder = store.path / "images" / image / "versions"
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            number, _, rest = name.partition(".")
            if number.isdecimal() and (image, int(number)) not in kept:
                kind = ("signatures" if rest == "signed" else "results") if rest else "version"
                yield _removal(kind, f"{image}@{number}", folder / name, "not among those to keep")


def _edits(store: Store, needs: Needs) -> Iterator[Removal]:
    kept = {f"{version.image}-{version.number}" for version in needs.versions}
    folder = store.path / "published"
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        if name not in kept:
            upper = folder / name / "upper"
            edited = upper.is_dir() and any(upper.iterdir())
            why = "of a version that goes or is gone"
            yield _removal("edits" if edited else "note", name, folder / name, why)


def _bases(store: Store, needs: Needs) -> Iterator[Removal]:
    for path in sorted((store.path / "bases").glob("[!.]*.json")):
        if path.stem not in needs.bases:
            yield _removal("base", path.stem, path, "no recipe and no version uses it")


def _layers(store: Store, needs: Needs) -> Iterator[Removal]:
    needed = {layer for version in needs.versions for layer in version.layers} | needs.layers
    for name in needs.bases:
        base = read(store.path / "bases" / f"{name}.json", Base)
        needed |= {base.layer} if base else set()
    failures = (*store.path.glob("failed/*/failure.json"), *store.path.glob("work/*/failure.json"))
    for path in failures:  # those in work are forgotten, but somebody is in them
        failure = read(path, Failure)
        needed |= set(failure.layers) if failure else set()
    for name in store.layers():
        if name not in needed:
            path = store.path / "layers" / name
            layer = read(path / "layer.json", Layer)
            size = layer.bytes if layer else 0
            yield Removal(kind="layer", name=name, path=str(path), bytes=size, why=_was(layer))


def _was(layer: Layer | None) -> str:
    if layer is None:
        return "it has no record"
    return f"of stage {layer.stage} of {layer.image}" if layer.image else f"of the base {layer.stage}"


def _downloads(store: Store, needs: Needs) -> Iterator[Removal]:
    folder = store.path / "downloads"
    for path in sorted(folder.glob("sha256/*/*")):
        if re.fullmatch("[0-9a-f]{64}", path.name) and path.name not in needs.downloads:
            yield _removal("download", path.name, path, "no lock names it")
    for path in sorted(folder.glob("partial/[!.]*")):
        if path.name.partition(".")[0] not in needs.partials and not _belongs(path, needs.partials):
            yield _removal("partial", path.name, path, "no lock names what it was to be")
    for path in sorted(folder.glob("known/[!.]*.json")):
        if _content_of(path) not in needs.downloads:
            yield _removal("note", path.name, path, "of a download that is not kept")
    for path in sorted(folder.glob("seen/[!.]*.json")):
        if path.stem not in needs.seen:
            yield _removal("note", path.name, path, "of a file that no lock names")
    for path in sorted(folder.glob("*/.new-*")):
        yield _removal("leftover", path.name, path, "of a process that was killed")


def _belongs(path: Path, partials: frozenset[str]) -> bool:
    """Whether a note about a partial file is about one that stays: its name is a digest of that one's."""
    from hashlib import sha256

    return path.stem in {sha256(f"{name}.part".encode()).hexdigest() for name in partials}


def _content_of(note: Path) -> str | None:
    try:
        found = msgspec.json.decode(note.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return None
    return found.get("sha256") if isinstance(found, dict) else None


def _rests(store: Store) -> Iterator[Removal]:
    for pattern in ("bases/.*", "images/*/.*"):
        for path in sorted(store.path.glob(pattern)):
            yield _removal("leftover", path.name, path, "of a process that was killed")
    for path in sorted((store.path / "work").iterdir()):
        if not is_held(path):  # what the sweep before this could not remove
            yield _removal("leftover", path.name, path, "of a process that was killed")
    for path in sorted((store.path / "locks").glob("layer-*")):
        yield _removal("lock", path.name, path, "nobody builds")


def _removal(kind: str, name: str, path: Path, why: str) -> Removal:
    return Removal(kind=kind, name=name, path=str(path), bytes=size_of(path), why=why)


def size_of(path: Path) -> int:
    """Bytes of the contents of all files of ``path``."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    root = os.open(path, DIRECTORY)
    try:
        return sum(lstat(item).st_size for item in walk(root) if not item.is_dir)
    finally:
        os.close(root)
