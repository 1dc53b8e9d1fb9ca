"""Why each stage of an image would run again, or since when it is cached."""

from __future__ import annotations

import filecmp
import os
import stat
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import NODEFAULT
from msgspec.structs import replace

from pipeline.build.code import modules
from pipeline.build.plan import PlannedStage, where_of
from pipeline.build.prospect import CACHED, RUNS, UNLOCKED, Prospect, StageAhead
from pipeline.build.reasons import Reason, differing, order_of, plain
from pipeline.errors import PipelineError
from pipeline.stages.base import Stage
from pipeline.stages.overlay import Overlay
from pipeline.store import manifest
from pipeline.store.overlay import find
from pipeline.store.records import Layer, Version
from pipeline.store.store import Store, layer_name
from pipeline.store.tree import raw_path, readable

if TYPE_CHECKING:
    from pipeline.fileops.tree import Entry

BASE = "base"
"""The type of the layer that holds an imported base; its stage is the base's name."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """A stage. ``compared`` says with which layer the key was compared; ``since`` (seconds since 1970) and
    ``version`` are when the layer of a cached stage was made and the first version that has it."""

    name: str
    type: str
    place: str
    state: str
    compared: str | None = None
    since: float | None = None
    version: str | None = None
    reasons: tuple[Reason, ...] = ()


class _Before(msgspec.Struct, frozen=True):
    """The layer that a stage had, with the layers up to it (names, lowest first)."""

    told: str
    name: str
    key: str
    layer: Layer | None
    layers: tuple[str, ...]


def explain(prospect: Prospect, store: Store) -> tuple[Explained, ...]:
    """Every stage of an image. Raises ``PipelineError`` for damaged records."""
    return tuple(_Explaining(prospect, store).all())


class _Explaining:
    def __init__(self, prospect: Prospect, store: Store) -> None:
        self._prospect = prospect
        self._store = store
        self._image = prospect.recipe.name
        numbers = store.versions.numbers(self._image)
        self._newest = store.versions.get(self._image, numbers[-1]) if numbers else None
        self._first_with: dict[str, str] = {}
        for version in store.versions.all(self._image):
            for name in version.layers:
                self._first_with.setdefault(name, version.label)

    def all(self) -> Iterator[Explained]:
        above: StageAhead | None = None
        for ahead in self._prospect.stages:
            yield self._one(ahead, above)
            above = ahead

    def _one(self, ahead: StageAhead, above: StageAhead | None) -> Explained:
        stage = ahead.placed.stage
        told = Explained(
            name=stage.name,
            type=str(stage.__struct_config__.tag),
            place=where_of(ahead.placed),
            state=ahead.state,
        )
        if ahead.state == CACHED and ahead.planned is not None and ahead.planned.layer is not None:
            layer = ahead.planned.layer
            version = self._first_with.get(layer_name(layer.key))
            return replace(told, since=layer.created, version=version)
        if ahead.state == RUNS and ahead.planned is not None:
            before = self._before(stage.name)
            reasons = tuple(self._reasons(ahead.planned, above, before))
            compared = before.told if before else None
            return replace(told, compared=compared, reasons=reasons)
        if ahead.state == UNLOCKED:
            what = "its packages are" if stage.packages() is not None else "its sources are"
            reason = Reason(kind="lock", message=f"{what} not locked; a build does that when it comes to it")
        else:
            reason = Reason(
                kind="lock", message="what it stands on is not known before a build has come to it"
            )
        return replace(told, reasons=(reason,))

    def _before(self, stage: str) -> _Before | None:
        """The layer that the newest version has for ``stage``, or else the last one made for it."""
        if self._newest is not None:
            for made in self._newest.stages:
                if made.name == stage:
                    layer = self._store.layer_called(made.layer)
                    return _Before(
                        self._newest.label, made.layer, made.key, layer, _up_to(self._newest, made.layer)
                    )
        found = [
            layer
            for name in self._store.layers()
            if (layer := self._store.layer_called(name))
            and (layer.image, layer.stage) == (self._image, stage)
        ]
        if not found:
            return None
        last = max(found, key=lambda layer: layer.created)
        name = layer_name(last.key)
        made_at = datetime.fromtimestamp(last.created).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        return _Before(f"the layer of {made_at}", name, last.key, last, self._chain(last))

    def _chain(self, layer: Layer) -> tuple[str, ...]:
        names = [layer_name(layer.key)]
        while layer.parent is not None:
            names.insert(0, layer.parent)
            below = self._store.layer_called(layer.parent)
            if below is None:
                break
            layer = below
        return tuple(names)

    def _reasons(
        self, planned: PlannedStage, above: StageAhead | None, before: _Before | None
    ) -> Iterator[Reason]:
        if before is None:
            yield Reason(kind="first", message="first build of a stage of this name")
            return
        if before.layer is None:
            what = "" if before.key == planned.key else ", and what else has changed can't be told"
            yield Reason(kind="gone", message=f"its layer {before.name} is not in the store any more{what}")
            return
        if before.key == planned.key:
            what = "a layer below it has been made again since, and came out differently"
            yield Reason(kind="below", message=what)
            return
        basis = _given(planned.placed.stage, plain(before.layer.basis))
        if basis is None:
            yield Reason(kind="first", message="the layer before does not say what its key was made of")
            return
        found = list(self._differing(planned, above, before, before.layer, basis))
        yield from found or order_of(basis, plain(planned.basis))

    def _differing(
        self,
        planned: PlannedStage,
        above: StageAhead | None,
        before: _Before,
        layer: Layer,
        old: Mapping[str, Any],
    ) -> Iterator[Reason]:
        new = plain(planned.basis)
        yield from differing(old, new)
        yield from self._trees(planned, old["trees"], new["trees"], before)
        if old["type"] == new["type"] and old["code"] != new["code"]:
            yield _code(new["type"], layer.created)
        if old["parent"] != new["parent"]:
            yield self._parent(above, old["parent"])

    def _parent(self, above: StageAhead | None, old: str) -> Reason:
        """Which earlier stage, or base, it stands on now, and on what before."""
        was = self._store.layer_called(layer_name(old))
        base, image = self._prospect.recipe.base, self._prospect.base
        if above is not None and above.state != CACHED:
            return Reason(
                kind="parent", message=f"it stands on the stage {above.placed.stage.name!r}, which runs again"
            )
        if above is None and was is not None:
            if was.type == BASE and was.stage == base:
                return Reason(kind="parent", message=f"the base {base!r} has changed")
            if image is not None and self._was_of(was, base):
                return Reason(
                    kind="parent", message=f"the base {base!r} has changed{self._where(image, was)}"
                )
        what = f"the base {base!r}" if above is None else f"the stage {above.placed.stage.name!r}"
        return Reason(kind="parent", message=f"it stands on {what} now{self._stood(was)}")

    def _stood(self, was: Layer | None) -> str:
        if was is None:
            return ""
        if was.type == BASE:
            return f"; before, on the base {was.stage!r}"
        of = f" of {was.image!r}" if was.image != self._image else ""
        return f"; before, on the stage {was.stage!r}{of}"

    def _was_of(self, layer: Layer, image: str) -> bool:
        """Whether ``layer`` is of ``image``: several images may share it, and one of them has made it."""
        name = layer_name(layer.key)
        return layer.image == image or any(
            name in version.layers for version in self._store.versions.all(image)
        )

    def _where(self, image: Prospect, was: Layer) -> str:
        """The first stage of ``image`` that is not in the stack of ``was``, or what that has beyond it."""
        stack = self._chain(was)
        for ahead in image.stages:
            name = ahead.placed.stage.name
            if ahead.planned is None or layer_name(ahead.planned.key) not in stack:
                return f": its stage {name!r} " + (
                    "is another one now" if ahead.state == CACHED else "runs again"
                )
        known = {layer_name(ahead.planned.key) for ahead in image.stages if ahead.planned is not None}
        known |= set(image.foundation.layers) if image.foundation is not None else set()
        gone = [layer for name in stack if name not in known and (layer := self._store.layer_called(name))]
        return f": its stage {gone[0].stage!r} is there no more" if gone else ""

    def _trees(
        self, planned: PlannedStage, old: Mapping[str, str], new: Mapping[str, str], before: _Before
    ) -> Iterator[Reason]:
        for name, digest in new.items():
            if name in old and old[name] != digest:
                files = _files(planned, name, self._store, before)
                yield Reason(
                    kind="tree", message=f"the content of overlays/{name} has changed", details=files
                )


def _given(stage: Stage, basis: dict[str, Any]) -> dict[str, Any] | None:
    """The basis of an earlier layer with the defaults of options that were not written down or not there."""
    if not basis:
        return None
    if basis["type"] == stage.__struct_config__.tag:
        fields = msgspec.structs.fields(stage)
        defaults = {each.encode_name: each.default for each in fields if each.default is not NODEFAULT}
        made = {each.encode_name: each.default_factory for each in fields}
        defaults |= {name: make() for name, make in made.items() if make is not NODEFAULT}
        basis["options"] = {**plain(msgspec.to_builtins(defaults)), **basis["options"]}
    return basis


def _up_to(version: Version, layer: str) -> tuple[str, ...]:
    return version.layers[: version.layers.index(layer) + 1]


def _code(stage_type: str, made: float) -> Reason:
    """The key covers many modules by one digest; the times of the files tell which ones may have changed."""
    newer = tuple(name for name, path in modules(stage_type) if path.stat().st_mtime > made)
    return Reason(
        kind="code",
        message=f"the code of the stage type {stage_type!r} has changed"
        + (f"; written since that layer was made ({len(newer)}):" if newer else ""),
        details=newer,
    )


def _files(planned: PlannedStage, tree: str, store: Store, before: _Before) -> tuple[str, ...]:
    """The files of an overlay tree that are not what the layer before shows; none where that isn't known."""
    stage = planned.placed.stage
    if not isinstance(stage, Overlay) or not all(store.layer_tree(name).is_dir() for name in before.layers):
        return ()
    from pipeline.fileops.tree import Look, plan
    from pipeline.templates import render

    host = planned.trees[tree]
    try:
        entries = plan(
            host,
            str(host),
            stage.destination,
            Look(stage.owner, stage.modes, stage.owners),
            lambda text: render(text, planned.placed.parameters),
        )
    except PipelineError as error:
        return tuple(problem.message for problem in error.problems)
    trees = [store.layer_tree(name) for name in before.layers]
    changed = [line for entry in entries if (line := _against(trees, entry)) is not None]
    laid = {entry.path.strip("/") for entry in entries}
    return tuple(
        sorted(
            changed + [f"- /{path}" for path in _laid_before(store, before, laid)], key=lambda line: line[2:]
        )
    )


def _against(trees: Sequence[Path], entry: Entry) -> str | None:
    """How what an overlay would lay differs from what a stack of layers shows; directories don't count."""
    if entry.type == "directory":
        return None
    found = find(trees, os.fsencode(entry.path.strip("/")))
    if found is None:
        return f"+ {entry.path}"
    mode, place = found.status.st_mode, Path(os.fsdecode(found.file))
    if entry.type == "link":
        same = stat.S_ISLNK(mode) and os.readlink(place) == entry.target
    elif not stat.S_ISREG(mode) or stat.S_IMODE(mode) != entry.mode:
        same = False
    elif entry.source is None:
        same = place.read_bytes() == entry.content
    else:
        same = filecmp.cmp(place, entry.source, shallow=False)
    return None if same else f"~ {entry.path}"


def _laid_before(store: Store, before: _Before, laid: Set[str]) -> Iterator[str]:
    now = {readable(os.fsencode(path)) for path in laid}
    for entry in manifest.read(store.layer_manifest(before.name)):
        if entry.type in ("file", "link") and entry.path not in now:
            yield os.fsdecode(raw_path(entry.path))
