"""Taking published directories away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.publish.directories import OVERLAY, disappear, refuse_busy, sweep
from pipeline.publish.handedits import hand_edits, some
from pipeline.publish.link import link, pointed_to, take_away
from pipeline.publish.reaching import require_reach
from pipeline.publish.record import Publication, directory, publication_here, remember
from pipeline.recipe.model import Site
from pipeline.store.filesystem import told
from pipeline.store.store import Store

Refuse = Callable[[Site, str, Iterable[int]], None]
"""Raises ``PipelineError`` for those versions (image, numbers) that somebody needs."""


def planned_unpublish(
    site: Site,
    store: Store,
    image: str,
    number: int | None,
    refuse: Refuse | None = None,
    *,
    force: bool = False,
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
    _require_reach(site, image, now, numbers)
    if refuse is not None:
        refuse(site, image, numbers)
    if not force:
        asked = image if number is None else f"{image}@{number}"
        _refuse_edited(site, store, image, {each: now.directories[each] for each in numbers}, asked)
    return tuple(directory(site, image, each) for each in numbers)


def unpublish(
    site: Site,
    store: Store,
    image: str,
    number: int | None,
    refuse: Refuse | None = None,
    *,
    force: bool = False,
    note: Callable[[str], None] = lambda text: None,
) -> tuple[Path, ...]:
    """Take away the directory of a version (None: of all, and the link), and return what is gone.

    Hand edits in what was mounted are kept in the store; those in a copy go with it, by ``force`` only.
    ``note`` is called for what cannot be removed: it is left under a name with a dot. Raises
    ``PipelineError`` when a directory is in use, or is the one that ``IMAGES/NAME`` points to, or
    when ``refuse`` does.
    """
    with store.lock(f"publish-{image}"), told(f"{image} cannot be unpublished", site.images):
        targets = planned_unpublish(site, store, image, number, refuse, force=force)
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
        left = sweep(site, image)
    for text in left:
        note(text)
    return targets


def _refuse_edited(site: Site, store: Store, image: str, modes: Mapping[int, str], asked: str) -> None:
    """Raise ``PipelineError`` with every copy that was changed by hand: the changes are nowhere else."""
    problems: list[Problem] = []
    for number, mode in modes.items():
        place = directory(site, image, number)
        if mode == OVERLAY or not place.is_dir() or not os.listdir(place):
            continue  # of what is empty nothing can be lost
        label = f"{image}@{number}"
        try:
            found = hand_edits(site, store, store.versions.resolve(label))
        except PipelineError as error:
            told = "; ".join(each.message for each in error.problems)
            what = f"{place} is a copy, and whether it was changed by hand could not be found out: {told}"
        else:
            if not found:
                continue
            what = f"{place} is a copy that was changed by hand: {some(found)}"
        hint = f"save what is to stay (pipeline show {label} lists it); --force takes the copy away with it"
        problems.append(Problem(what, hint=hint, command=f"pipeline unpublish --force {asked}"))
    if problems:
        raise PipelineError(problems)


def _require_reach(site: Site, image: str, now: Publication, numbers: Iterable[int]) -> None:
    """A directory that is removed here is gone on the machine, with what is mounted and used there."""
    for number in numbers:
        if now.directories.get(number) == OVERLAY:
            require_reach(site, f"{image}@{number} cannot be unpublished")


def take_down(site: Site, store: Store, image: str, numbers: Iterable[int]) -> None:
    """Take away the directories of versions, where they have one, and forget that they were published.

    The image's lock must be held. Raises ``PipelineError`` when a directory is in use.
    """
    now, numbers = publication_here(site, store, image), tuple(numbers)
    _require_reach(site, image, now, numbers)
    for number in numbers:
        if number in now.directories:
            disappear(directory(site, image, number), now.directories[number])
        # Stopped here: unpublish again finds nothing to take away; publish or restore brings it back.
        now = now.lacking(number)
        remember(store, image, now)
