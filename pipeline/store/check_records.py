"""Whether the records of the store are what was written, and agree with each other and with themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.printable import on_one_line
from pipeline.store import hardlinks, manifest
from pipeline.store.content import changed
from pipeline.store.naming import digest_of, identity
from pipeline.store.records import Base, Failure, Layer, Verification, Version, read
from pipeline.store.remedies import Remedies
from pipeline.store.sealed import broken_seal
from pipeline.store.signatures import check_signatures
from pipeline.store.store import Store, layer_name
from pipeline.store.version_lock import damage

T = TypeVar("T")


def check_records(store: Store, remedies: Remedies) -> Iterator[Problem]:
    """All that is wrong with the records of layers, bases, versions, tests and failures."""
    for name in store.layers():
        yield from _layer(store, name, remedies.of(name))
    for path in sorted((store.path / "bases").glob("*.json")):
        yield from _base(store, path)
    for image in store.versions.images():
        for number in store.versions.numbers(image):
            yield from check_version(store, image, number)
            yield from _signatures(store, image, number)
    for path in sorted((store.path / "failed").glob("*/failure.json")):
        hint = f"it is only for looking at; remove it: rm -r {path.parent}"
        yield from _record(path, partial(read, kind=Failure), hint)[1]


def differs(path: Path | str, what: str, expected: object, got: object, hint: str | None = None) -> Problem:
    """That ``what`` is another one."""
    return Problem(on_one_line(f"{what}: expected {expected}, got {got}"), str(path), hint)


def _record(path: Path, reader: Callable[[Path], T | None], hint: str) -> tuple[T | None, list[Problem]]:
    """What ``reader`` reads, and what is wrong with it: a damaged or missing record is None."""
    try:
        found = reader(path)
    except PipelineError as error:
        return None, [Problem(problem.message, str(path), hint) for problem in error.problems]
    except (OSError, msgspec.MsgspecError) as error:
        return None, [Problem(f"the file cannot be read: {error}", str(path), hint)]
    if found is None:
        return None, [Problem("the file is missing", str(path), hint)]
    seal = broken_seal(path, hint) if path.suffix == ".json" else None
    return found, [seal] if seal else []


def _layer(store: Store, name: str, hint: str) -> Iterator[Problem]:
    place = store.path / "layers" / name
    path = place / "layer.json"
    layer, problems = _record(path, partial(read, kind=Layer), hint)
    yield from problems
    yield from _record(place / "links.json", hardlinks.read_groups, hint)[1]
    digest, problems = _record(place / "manifest.gz", manifest.digest, hint)
    yield from problems
    if not (place / "tree").is_dir():
        yield Problem("the tree is missing", str(place / "tree"), hint)
    if layer is None:
        return
    if layer_name(layer.key) != name:
        yield differs(path, "key", name + "…", layer.key, hint)
    elif layer.basis and digest_of(layer.basis) != layer.key:
        yield differs(path, "key of what it was made of", layer.key, digest_of(layer.basis), hint)
    if digest is not None and digest != layer.digest:
        yield differs(place / "manifest.gz", "sha256", layer.digest, digest, hint)
    if layer.parent is not None and not store.layer_tree(layer.parent).is_dir():
        yield Problem(f"its parent layer {layer.parent} is missing", str(place), hint)


def _base(store: Store, path: Path) -> Iterator[Problem]:
    hint = f"remove it, and the next build imports the base again: rm {path}"
    base, problems = _record(path, partial(read, kind=Base), hint)
    yield from problems
    if base is None:
        return
    if base.name != path.stem:
        yield differs(path, "name", path.stem, base.name, hint)
    with suppress(PipelineError):  # a damaged record of a layer is told with the layers
        layer = store.layer_called(base.layer)
        if layer is None:
            yield Problem(f"its layer {base.layer} is missing", str(path), hint)
            return
        for what in ("digest", "bytes", "files"):
            expected, got = getattr(layer, what), getattr(base, what)
            if expected != got:
                yield differs(path, f"{what} of its layer {base.layer}", expected, got, hint)


def check_version(store: Store, image: str, number: int) -> Iterator[Problem]:
    """All that is wrong with the records of a version and its tests; not with who signed it."""
    place = store.path / "images" / image / "versions" / str(number)
    path = place / "version.json"
    hint = (
        f"put back the file from a copy of the store, or give the version up (unpublish {image} first where "
        f"it is published) and build again: rm -rf {place} {place}.verified {place}.signed"
    )
    version, problems = _record(path, partial(read, kind=Version), hint)
    yield from problems
    if version is None:
        return
    if (version.image, version.number) != (image, number):
        yield differs(path, "label", f"{image}@{number}", version.label, hint)
    again = "it cannot be used any more; build again for a new version: pipeline build " + image
    for layer in version.layers:
        if not store.layer_tree(layer).is_dir():
            yield Problem(f"{version.label} needs the layer {layer}, which is missing", str(place), again)
    with suppress(PipelineError):  # a damaged record of a layer is told with the layers
        yield from filter(None, [changed(store, version)])
    yield from _arithmetic(version, path, hint)
    if (version.image, version.number) == (image, number):
        yield from filter(None, [damage(store, version)])
    yield from _results(store, version)


def _arithmetic(version: Version, path: Path, hint: str) -> Iterator[Problem]:
    """What of a version's record can be computed from the rest of it."""
    named = identity(version.image, version.tree, version.kernel_parameters, version.parameters)
    if named != version.identity:
        yield differs(path, "identity", version.identity, named, hint)
    for stage in version.stages:
        if layer_name(stage.key) != stage.layer:
            yield differs(path, f"layer of {stage.name}", layer_name(stage.key), stage.layer, hint)


def _results(store: Store, version: Version) -> Iterator[Problem]:
    path = store.versions.verification_directory(version) / "verification.json"
    if not path.exists():
        return
    again = f"test it again: pipeline verify {version.label}"
    found, problems = _record(path, partial(read, kind=Verification), again)
    yield from problems
    if found is not None and found.passed and not found.results_passed:
        yield differs(path, "passed", "false, as its results say", "true", again)


def _signatures(store: Store, image: str, number: int) -> Iterator[Problem]:
    with suppress(PipelineError):  # a damaged record of a version is told with the versions
        version = store.versions.get(image, number)
        if version is not None and (version.image, version.number) == (image, number):
            yield from check_signatures(store, version)
