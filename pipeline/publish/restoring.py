"""Mounting again, after a reboot, what was published by mounting; and copying again what is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import MachineError, PipelineError
from pipeline.publish.directories import OVERLAY, appear, edits, how, make_images, require_images
from pipeline.publish.link import pointed_to, turn
from pipeline.publish.lowers import is_outdated
from pipeline.publish.mounted import is_mounted
from pipeline.publish.record import (
    directory,
    present_directory,
    publication,
    publication_here,
    remember,
)
from pipeline.recipe.model import Site
from pipeline.store.filesystem import told
from pipeline.store.store import Store


def not_mounted(site: Site, store: Store) -> tuple[Path, ...]:
    """The directories that were published by mounting and are not mounted now."""
    return tuple(target for _, _, target in _by_mounting(site, store) if not is_mounted(target))


def outdated(site: Site, store: Store) -> tuple[Path, ...]:
    """The directories that are mounted of layers that have been removed, or made again, since."""
    return tuple(
        target
        for _, _, target in _by_mounting(site, store)
        if is_mounted(target) and is_outdated(store, edits(store, target))
    )


def gone(site: Site, store: Store) -> tuple[Path, ...]:
    """The directories that were published by copying and are not there any more."""
    found: list[Path] = []
    for image in store.versions.images():
        now = publication(store, image)
        copied = sorted(number for number, mode in now.directories.items() if mode != OVERLAY)
        found += [present_directory(site, now, image, number) for number in copied]
    return tuple(place for place in found if not place.is_dir())


def _by_mounting(site: Site, store: Store) -> Iterator[tuple[str, int, Path]]:
    """(image, number, directory) of what was published by mounting."""
    for image in store.versions.images():
        now = publication(store, image)
        for number, mode in sorted(now.directories.items()):
            if mode == OVERLAY:
                yield image, number, present_directory(site, now, image, number)


def restore(site: Site, store: Store) -> tuple[Path, ...]:
    """Mount everything again that was published by mounting, copy again what was copied and is gone, and
    return what was made.

    Copies are made in an images directory that is there only: it may be on a disk that is not mounted. What
    is mounted of layers that are gone is mounted anew, and what a killed publish or rollback left undone is
    done as well. One image that cannot be mounted does not keep the others from it: ``PipelineError`` tells
    of all that failed, at the end, or ``MachineError`` when it is this machine that lacks something.
    """
    done: list[Path] = []
    errors: list[PipelineError] = []
    for image in store.versions.images():
        for number in _recorded(store, image, errors):
            try:
                done += _restore(site, store, image, number)
            except PipelineError as error:
                errors.append(error)
        if errors and not site.images.is_dir():
            continue
        try:
            _turn(site, store, image)
        except PipelineError as error:
            errors.append(error)
    if errors:
        problems = dict.fromkeys(problem for error in errors for problem in error.problems)
        lacking = all(isinstance(error, MachineError) for error in errors)
        raise MachineError(problems) if lacking else PipelineError(problems)
    return tuple(done)


def _recorded(store: Store, image: str, errors: list[PipelineError]) -> list[int]:
    try:
        found = publication(store, image)
    except PipelineError as error:
        errors.append(error)
        return []
    return sorted(found.directories)


def _restore(site: Site, store: Store, image: str, number: int) -> list[Path]:
    target = directory(site, image, number)
    with store.lock(f"publish-{image}"), told(f"{image}@{number} cannot be restored", target):
        now = publication_here(site, store, image)
        mode = how(site, store, now, image, number) if number in now.directories else None
        if mode is None:
            return []
        if mode == OVERLAY:
            make_images(site)
        else:
            require_images(site)  # a disk that is not mounted yet is no reason to fill the one below
        appear(site, store, store.versions.resolve(f"{image}@{number}"), now)
    return [target]


def _turn(site: Site, store: Store, image: str) -> None:
    with store.lock(f"publish-{image}"), told(f"the link of {image} cannot be turned", site.images):
        record = publication_here(site, store, image)
        if record.current is None and not record.intended:
            return  # unpublished; whatever link is left waits for the next unpublish
        now = record.following(pointed_to(site, image))
        if now.current is not None:
            turn(site, image, now.current)
        remember(store, image, now)
