"""What to do about a damaged layer, so that nothing is taken away under what nodes read."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import PipelineError
from pipeline.store.store import Store

_NAMED = 4
"""Versions that are named; of the others only the number is told."""


class Remedies:
    """The remedies for the layers of ``store``; ``mounted`` are the published versions (``NAME@N``) that show
    their layers themselves, of each image the present one last."""

    def __init__(self, store: Store, mounted: Sequence[str]) -> None:
        self._store = store
        self._users = _users(store)
        self._mounted = mounted

    def of(self, layer: str) -> str:
        """The hint for a damaged ``layer``."""
        remove = f"rm -r {self._store.path / 'layers' / layer}"
        users = self._users.get(layer, [])
        using = f"{_list(users)} stand{'s' if len(users) == 1 else ''} on it; " if users else ""
        shown = [label for label in self._mounted if label in users]
        if not shown:
            return f"{using}remove it, and the next build makes it again: {remove}"
        images = list(dict.fromkeys(label.partition("@")[0] for label in shown))
        images_of = [label for label in self._mounted if label.partition("@")[0] in images]
        away = " && ".join((*(f"pipeline unpublish {image}" for image in images), remove))
        make = f"pipeline build --no-publish {' '.join(images)}"
        # Whatever the build's tests say of the newest version, these have been published before.
        back = "; ".join(f"pipeline publish {label}" for label in images_of)
        return (
            f"{using}{_list(shown)} {'is' if len(shown) == 1 else 'are'} mounted: unpublish, "
            f"remove it, build and publish again: {away} && {make}; {back}"
        )


def _users(store: Store) -> dict[str, list[str]]:
    """The versions that stand on each layer; those that cannot be read are told elsewhere."""
    users: dict[str, list[str]] = {}
    for image in store.versions.images():
        for number in store.versions.numbers(image):
            try:
                version = store.versions.get(image, number)
            except PipelineError:
                continue
            if version is not None:
                for layer in version.layers:
                    users.setdefault(layer, []).append(version.label)
    return users


def _list(labels: Sequence[str]) -> str:
    more = len(labels) - _NAMED
    return ", ".join(labels[-_NAMED:]) + (f" and {more} more" if more > 0 else "")
