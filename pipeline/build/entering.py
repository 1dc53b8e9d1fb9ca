"""The root that ``pipeline shell`` enters: a version, also as it was after a stage, or a failed stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.chroot.root import RootSpec
from pipeline.errors import PipelineError, UsageError
from pipeline.store.content import require_content
from pipeline.store.presence import entered, failure_entered
from pipeline.store.store import Store


def last_failed(store: Store, image: str) -> str | None:
    """The stage in which the last build of ``image`` failed, if that is kept; of a version there is none."""
    with suppress(OSError, PipelineError):  # it is no image's name, or what is kept is damaged
        failed = store.failed(image)
        return failed.failure.stage if failed is not None else None
    return None


@contextmanager
def root_of(store: Store, label: str, stage: str | None, *, network: bool = False) -> Iterator[RootSpec]:
    """What to enter for ``label`` (``IMAGE[@N]``) and ``stage``.

    A failed stage is entered as it was left, and keeps what is done there; the rest is thrown away. Raises
    ``UsageError`` when there is no such version or stage, ``PipelineError`` when somebody is in the failed
    one already, or the version is not what it was.
    """
    if stage is not None and "@" not in label:
        with failure_entered(store, label, stage) as failed:
            if failed is not None:
                layers = tuple(map(store.layer_tree, failed.failure.layers))
                yield RootSpec(
                    layers=layers, upper=failed.upper, work=failed.work, network=network, hostname=label
                )
                return
    version = store.versions.resolve(label)
    require_content(store, version)
    names = version.layers
    if stage is not None:
        found = [each.layer for each in version.stages if each.name == stage]
        if not found:
            known = ", ".join(each.name for each in version.stages)
            raise UsageError(
                f"{version.label} has no stage {stage!r}, and none of that name has failed",
                hint=f"its stages are {known}",
                command=f"pipeline show {version.label}",
            )
        names = names[: names.index(found[0]) + 1]
    layers = tuple(map(store.layer_tree, names))
    with entered(store.versions.directory(version)):
        yield RootSpec(layers=layers, network=network, hostname=version.image)
