"""Old versions that stay because they are published, and letting go of those that nobody uses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError
from pipeline.publish.directories import OVERLAY, sweep
from pipeline.publish.handedits import hand_edits, some
from pipeline.publish.link import link, pointed_to
from pipeline.publish.record import Publication, present_directory, publication
from pipeline.publish.unpublishing import take_down
from pipeline.publish.users import is_used, used
from pipeline.recipe.model import Site
from pipeline.rollout.folder import unfinished
from pipeline.rollout.having import needs
from pipeline.rollout.using import why_had, why_used
from pipeline.store.filesystem import told
from pipeline.store.garbage import Removal, size_of
from pipeline.store.records import Version
from pipeline.store.store import Store

ALL = "gc --unpublish --force takes all such away"


class Held(msgspec.Struct, frozen=True):
    """A version that would go, were it not published: why it stays, and the command that releases it."""

    version: str
    number: int
    why: str
    command: str


def newest(store: Store, image: str, keep: int | None) -> tuple[int, ...]:
    """The numbers of the newest ``keep`` versions of ``image`` (None: of all)."""
    numbers = tuple(store.versions.numbers(image))
    return numbers if keep is None else numbers[-keep:]


def held(
    site: Site, store: Store, image: str, keep: int | None, *, unpublish: bool, force: bool
) -> tuple[Held, ...]:
    """The versions of ``image`` that stay though they are not among the newest ``keep``.

    All that are published do. With ``unpublish`` only the one that ``IMAGES/NAME`` points to, the one that
    ``rollback`` goes back to, those that somebody uses, those that were changed by hand (unless by ``force``)
    and those whose directory is not ours. Those that a rollout needs which is not at its end stay in any
    case, and of those that are published the ones that clusters have or go back to.
    """
    rollouts, had = unfinished(store.path), needs(site)
    now = publication(store, image)
    if unpublish:
        now = now.following(pointed_to(site, image))
    published = {*now.history, *now.directories, *now.intended}
    found = []
    for number in sorted(set(store.versions.numbers(image)) - set(newest(store, image, keep))):
        place = present_directory(site, now, image, number)
        known = had if number in published or os.path.lexists(place) else ()
        if reason := why_used(rollouts, image, number) or why_had(known, image, number, place):
            found.append(Held(f"{image}@{number}", number, *reason))
        elif number in published or os.path.lexists(place):
            release = None if unpublish else f"pipeline gc --keep {keep} --unpublish"
            reason = _reason(site, now, image, number, place, release)
            if reason is None and not force:
                reason = _edited(site, store, now, image, number)
            if reason is not None:
                found.append(Held(f"{image}@{number}", number, *reason))
    return tuple(found)


def _reason(
    site: Site, now: Publication, image: str, number: int, place: Path, release: str | None
) -> tuple[str, str] | None:
    """(why it stays, what releases it); None when it goes. ``release`` is the command for what could go."""
    if number == now.current:
        return f"{link(site, image)} points to it", f"pipeline publish {image}"
    if number == now.previous:
        return "rollback goes back to it", f"pipeline unpublish {image}@{number}"
    mode = now.directories.get(number)
    if mode is None and os.path.lexists(place):
        return f"{place} is there, and was not published from this store", f"ls -la {place}"
    if release is not None:
        return "it is published", release
    if mode is not None and is_used(place):
        told = used(place, mounted=mode == OVERLAY)
        return told.message, told.command or ""
    return None


def _edited(site: Site, store: Store, now: Publication, image: str, number: int) -> tuple[str, str] | None:
    """The same of a directory that was changed by hand: nothing else has the changes.

    What was written into a mounted one stays in the store for as long as the version does; once it is
    unpublished that is let go of.
    """
    mode, label = now.directories.get(number), f"{image}@{number}"
    if mode is None:
        return None
    what = "directory" if mode == OVERLAY else "copy"
    command = f"pipeline unpublish --force {label}"
    try:
        found = hand_edits(site, store, store.versions.resolve(label))
    except PipelineError:
        return f"whether its {what} was changed by hand could not be found out ({ALL})", command
    return (f"its {what} was changed by hand: {some(found)} ({ALL})", command) if found else None


def directories(site: Site, store: Store, versions: Iterable[Version]) -> Iterator[Removal]:
    """The published directories of ``versions``, which go."""
    for version in versions:
        now = publication(store, version.image)
        mode = now.directories.get(version.number)
        if mode is not None:
            place = present_directory(site, now, version.image, version.number)
            size = size_of(place) if mode != OVERLAY and place.is_dir() else 0
            why = "nobody uses it, and its version goes"
            yield Removal(kind="directory", name=place.name, path=str(place), bytes=size, why=why)


def release(site: Site, store: Store, versions: Iterable[Version]) -> tuple[str, ...]:
    """Take away the directories of ``versions`` and their places in the history, under their images' locks.

    Returns what there is to say of leftovers that cannot be removed. Raises ``PipelineError`` when one has
    come into use.
    """
    images: dict[str, None] = {}
    for version in versions:
        images[version.image] = None
        with told(f"{version.label} cannot be unpublished", site.images):
            take_down(site, store, version.image, [version.number])
    return tuple(text for image in images for text in sweep(site, image))
