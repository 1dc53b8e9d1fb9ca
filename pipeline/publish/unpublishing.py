"""Taking published directories away."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError
from pipeline.publish.directories import disappear, refuse_busy, sweep
from pipeline.publish.link import link, pointed_to, take_away
from pipeline.publish.record import directory, publication_here, remember
from pipeline.recipe.model import Site
from pipeline.store.filesystem import told
from pipeline.store.store import Store

Refuse = Callable[[Path, str, Iterable[int]], None]
"""Raises ``PipelineError`` for those versions (store, image, numbers) that somebody needs."""


def planned_unpublish(
    site: Site, store: Store, image: str, number: int | None, refuse: Refuse | None = None
) -> tuple[Path, ...]:
    """The directories that ``unpublish`` would take away now, but for those in use."""
    now = publication_here(site, store, image).following(pointed_to(site, image))
    numbers = sorted(now.directories) if number is None else [number]
    if number is not None and number not in now.directories:
        raise PipelineError(f"{image}@{number} is not published", command=f"pipeline versions {image}")
    if number is not None and number == now.current:
        raise PipelineError(
            f"{image}@{number} is what {link(site, image)} points to",
            hint="publish another version first, or unpublish the image as a whole",
            command=f"pipeline rollback {image}" if now.previous else f"pipeline unpublish {image}",
        )
    if refuse is not None:
        refuse(store.path, image, numbers)
    return tuple(directory(site, image, each) for each in numbers)


def unpublish(
    site: Site, store: Store, image: str, number: int | None, refuse: Refuse | None = None
) -> tuple[Path, ...]:
    """Take away the directory of a version (None: of all, and the link), and return what is gone.

    Hand edits in what was mounted are kept in the store; those in a copy go with it. Raises
    ``PipelineError`` when a directory is in use, or is the one that ``IMAGES/NAME`` points to, or when
    ``refuse`` does.
    """
    with store.lock(f"publish-{image}"), told(f"{image} cannot be unpublished", site.images):
        targets = planned_unpublish(site, store, image, number, refuse)
        if not targets:
            return ()
        refuse_busy(targets)
        now = publication_here(site, store, image).following(pointed_to(site, image))
        if number is None:
            # Stopped after either: the directories have no link any more; unpublish again takes them away.
            now = msgspec.structs.replace(now, history=())
            remember(store, image, now)
            take_away(site, image)
        else:
            remember(store, image, now)
        take_down(site, store, image, sorted(now.directories) if number is None else [number])
        sweep(site, image)
    return targets


def take_down(site: Site, store: Store, image: str, numbers: Iterable[int]) -> None:
    """Take away the directories of versions, where they have one, and forget that they were published.

    The image's lock must be held. Raises ``PipelineError`` when a directory is in use.
    """
    now = publication_here(site, store, image)
    for number in numbers:
        if number in now.directories:
            disappear(directory(site, image, number), now.directories[number])
        # Stopped here: unpublish again finds nothing to take away; publish or restore brings it back.
        now = now.lacking(number)
        remember(store, image, now)
