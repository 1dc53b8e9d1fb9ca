"""What a version holds, by digests: whether the layers that have its layers' names today are still its own.

A version names its layers by their keys, and a stage that does not come to the same twice has another content
under the same key when its layer is made again. Only records are read: what is in the trees is for ``fsck``.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.errors import PipelineError, Problem
from pipeline.store import manifest
from pipeline.store.records import Version, stack_digest
from pipeline.store.store import Store


def changed(store: Store, version: Version) -> Problem | None:
    """That ``version`` is lost, for a layer of it has been made again and holds something else now.

    None for one that lacks layers as well: whoever needs them says so.
    """
    layers = [store.layer_called(name) for name in version.layers]
    found = [layer for layer in layers if layer is not None]
    if len(found) < len(layers) or stack_digest(layer.digest for layer in found) == version.tree:
        return None
    left_out = [
        f"{stage.layer} ({stage.name})" for stage in version.stages if stage.layer not in version.layers
    ]
    if left_out:
        return _lost(store, version, f"its record leaves out the layer {', '.join(left_out)}")
    digests = dict(zip(version.layers, (layer.digest for layer in found), strict=True))
    again = [
        f"{stage.layer} ({stage.name})" for stage in version.stages if digests[stage.layer] != stage.digest
    ]
    what = f"the layer {', '.join(again)}" if again else f"a layer of its base {version.base}"
    return _lost(store, version, f"{what} has been made again and came out differently")


def _lost(store: Store, version: Version, why: str) -> Problem:
    return Problem(
        f"{version.label} is not what it was: {why}",
        where=str(store.versions.directory(version)),
        hint=f"that version is lost; a build makes a new one, and pipeline gc --keep N removes old ones of "
        f"{version.image}",
        command=f"pipeline build {version.image}",
    )


def torn(store: Store, version: Version) -> Iterator[Problem]:
    """Layers of ``version`` whose lists of files are not what their records say, or that are gone.

    So what is compared with those lists is what the version's digest stands for.
    """
    for name in version.layers:
        path = store.layer_manifest(name)
        again = (
            f"that version is lost, unless the file is put back; a build makes a new one of {version.image}"
        )
        try:
            layer = store.layer_called(name)
            got = manifest.digest(path)
        except PipelineError as error:
            told = error.problems[0]
            yield Problem(told.message, told.where or str(path), again, "pipeline fsck")
            continue
        expected = layer.digest if layer is not None else "its record, which is gone"
        if got != expected:
            what = f"{version.label} is not what it was: manifest of the layer {name}"
            yield Problem(f"{what}: expected {expected}, got {got}", str(path), again, "pipeline fsck")


def require_content(store: Store, version: Version) -> None:
    """Raise ``PipelineError`` when ``version`` is not what it was made of any more."""
    problem = changed(store, version)
    if problem is not None:
        raise PipelineError([problem])
