"""What ``fsck`` has to know of publications."""

from __future__ import annotations

from pipeline.errors import PipelineError
from pipeline.publish.directories import OVERLAY
from pipeline.publish.record import publication
from pipeline.store.store import Store


def mounted_versions(store: Store) -> tuple[str, ...]:
    """The versions (``NAME@N``) that are published by mounting, of each image the present one last."""
    found: list[str] = []
    for image in store.versions.images():
        try:
            now = publication(store, image)
        except PipelineError:
            continue  # told with the records
        numbers = sorted(number for number, mode in now.directories.items() if mode == OVERLAY)
        found += [f"{image}@{number}" for number in sorted(numbers, key=lambda each: each == now.current)]
    return tuple(found)
