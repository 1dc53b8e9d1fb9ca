"""What to do about a damaged layer, so that nothing is taken away under what nodes read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from pipeline.errors import PipelineError
from pipeline.store.content import changed
from pipeline.store.records import Layer
from pipeline.store.store import Store

_NAMED = 4
"""Versions that are named; of the others only the number is told."""

_LOST = " (a version whose layer does not come out the same is lost, and refused; a build makes a new one)"


class Remedies:
    """The remedies for the layers of ``store``; ``mounted`` are the published versions (``NAME@N``) that show
    their layers themselves, of each image the present one last."""

    def __init__(self, store: Store, mounted: Sequence[str]) -> None:
        self._store = store
        self._users, lost = _users(store)
        self._mounted = mounted
        self._layers = _layers(store)
        self._lost = frozenset(lost)

    def of(self, layer: str) -> str:
        """The hint for a damaged ``layer``."""
        layers = (layer, *self._unsure_above(layer))
        remove = f"rm -r {' '.join(str(self._store.path / 'layers' / name) for name in layers)}"
        it = "it" if len(layers) == 1 else "it and what old releases made above it"
        users = self._users.get(layer, [])
        using = f"{_list(users)} stand{'s' if len(users) == 1 else ''} on it; " if users else ""
        shown = [label for label in self._mounted if label in users]
        if not shown:
            again = f"the next build makes it again{_LOST if users else ''}"
            return f"{using}remove {it}, and {again}: {remove}"
        images = list(dict.fromkeys(label.partition("@")[0] for label in shown))
        images_of = [label for label in self._mounted if label.partition("@")[0] in images]
        away = " && ".join((*(f"pipeline unpublish {image}" for image in images), remove))
        make = f"pipeline build --no-publish {' '.join(images)}"
        back = "; ".join(self._back(image, images_of) for image in images)
        return (
            f"{using}{_list(shown)} {'is' if len(shown) == 1 else 'are'} mounted: unpublish, "
            f"remove {it}, build and publish again{_LOST}: {away} && {make}; {back}"
        )

    def _unsure_above(self, layer: str) -> list[str]:
        """The layers above ``layer`` that do not say on what content they were made: should it come out
        differently, a build would take them for right. The others it makes again then, and only then."""
        above = {layer}
        unsure: list[str] = []
        waiting = dict(self._layers)
        while found := [name for name, known in waiting.items() if known.parent in above]:
            above.update(found)
            unsure += [name for name in found if waiting.pop(name).below is None]
        return unsure

    def _back(self, image: str, labels: Sequence[str]) -> str:
        """Publish again what was, or else the newest.

        Whatever the build's tests say of that, these have been published before.
        """
        old = [label for label in labels if label.partition("@")[0] == image and label not in self._lost]
        *others, last = [f"pipeline publish {label}" for label in (*old, image)]
        return "; ".join([*others[:-1], f"{others[-1]} || {last}"] if others else [last])


def _layers(store: Store) -> dict[str, Layer]:
    """All whose records can be read, by name."""
    found: dict[str, Layer] = {}
    for name in store.layers():
        with suppress(PipelineError, OSError):
            layer = store.layer_called(name)
            found |= {name: layer} if layer is not None else {}
    return found


def _users(store: Store) -> tuple[dict[str, list[str]], list[str]]:
    """The versions that stand on each layer, and those that are not what they were; what cannot be read is
    told elsewhere."""
    users: dict[str, list[str]] = {}
    lost: list[str] = []
    for image in store.versions.images():
        for number in store.versions.numbers(image):
            try:
                version = store.versions.get(image, number)
            except PipelineError:
                continue
            if version is None:
                continue
            for layer in version.layers:
                users.setdefault(layer, []).append(version.label)
            with suppress(PipelineError):
                lost += [version.label] if changed(store, version) else []
    return users, lost


def _list(labels: Sequence[str]) -> str:
    more = len(labels) - _NAMED
    return ", ".join(labels[-_NAMED:]) + (f" and {more} more" if more > 0 else "")
