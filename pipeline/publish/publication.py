"""Publishing and rolling back: which version ``IMAGES/NAME`` points to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import PipelineError
from pipeline.publish.directories import OVERLAY, appear, how, make_images, require_images, sweep
from pipeline.publish.link import pointed_to, turn
from pipeline.publish.lowers import require_layers
from pipeline.publish.record import Publication, directory, publication, publication_here, remember
from pipeline.publish.restoring import not_mounted
from pipeline.publish.staying import require_not_overtaken
from pipeline.publish.verified import require_verified
from pipeline.recipe.model import Site
from pipeline.store.filesystem import told
from pipeline.store.records import Version
from pipeline.store.store import Store

if TYPE_CHECKING:
    from pipeline.store.compare import FileChange

__all__ = [
    "Change",
    "Publication",
    "directory",
    "not_mounted",
    "planned_publish",
    "planned_rollback",
    "publication",
    "publish",
    "rollback",
]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A turn of ``IMAGES/NAME`` to ``version``.

    ``now`` is what is published, ``after`` what is afterwards. ``makes`` is how the directory has to be made
    (``overlay`` or ``copy``), None when it is there; ``kept`` what was changed by hand in a mounted directory
    before: a mounted one has it again, a copy has not.
    """

    version: Version
    directory: Path
    makes: str | None
    now: Publication
    after: Publication
    kept: tuple[FileChange, ...] = ()

    @property
    def note(self) -> str:
        """What there is to say of ``kept``."""
        from pipeline.publish.handedits import some

        where = "its directory has that again" if self.makes == OVERLAY else "its copy does not have that"
        return (
            f"{self.version.label} was changed by hand when it was mounted before; {where}: {some(self.kept)}"
        )


def planned_publish(site: Site, store: Store, version: Version, *, unverified: bool = False) -> Change:
    """What ``publish`` would do now, with the errors that it would end with before changing anything."""
    if not unverified:
        require_verified(store, version)
    now = publication_here(site, store, version.image).following(pointed_to(site, version.image))
    return _change(site, store, version, now, now.turned_to(version.number))


def publish(
    site: Site,
    store: Store,
    version: Version,
    *,
    unverified: bool = False,
    before: Publication | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Path:
    """Make ``version`` appear as ``IMAGES/NAME-N`` and ``IMAGES/NAME`` point to it; returns the former.

    ``note`` is called when there are hand edits from before, or leftovers that cannot be removed. Raises
    ``UnverifiedError`` for what ``require_verified`` refuses, unless ``unverified``, and
    ``OvertakenError`` when something else was published since ``before``.
    """
    with (
        store.lock(f"publish-{version.image}"),
        told(f"{version.label} cannot be published", site.images),
    ):
        change = planned_publish(site, store, version, unverified=unverified)
        if before is not None:
            require_not_overtaken(version, before, change.now)
        _make_images(site, store)
        left = sweep(site, version.image)
        _carry_out(site, store, change)
    for text in left:
        note(text)
    if change.kept:
        note(change.note)
    return change.directory


def planned_rollback(site: Site, store: Store, image: str, to: int | None = None) -> Change:
    """What ``rollback`` would do now, with the errors that it would end with before changing anything."""
    record, pointed = publication_here(site, store, image), pointed_to(site, image)
    now = record.following(pointed)
    if to is None and pointed == record.previous and record.intended == record.turned_back().history:
        now = record  # this rollback was killed before it was remembered: it is finished
    number = now.previous if to is None else to
    if number is None:
        only = f"{image}@{now.current} is published, and nothing was published before it"
        raise PipelineError(
            f"there is nothing to go back to: {only if now.current else f'nothing of {image} is published'}",
            hint=f"pipeline publish {image}@N publishes any version that has passed its tests",
            command=f"pipeline versions {image}",
        )
    version = store.versions.resolve(f"{image}@{number}")
    if number not in now.history:
        require_verified(store, version)
    return _change(site, store, version, now, now.turned_back() if to is None else now.turned_to(number))


def rollback(site: Site, store: Store, image: str, to: int | None = None) -> Change:
    """Make ``IMAGES/NAME`` point to the version that was published before, or to number ``to``.

    Nothing is copied, whatever the size. Raises ``PipelineError`` when there is none.
    """
    with store.lock(f"publish-{image}"), told(f"{image} cannot be rolled back", site.images):
        change = planned_rollback(site, store, image, to)
        _make_images(site, store)
        _carry_out(site, store, change)
    return change


def _make_images(site: Site, store: Store) -> None:
    """Make the images directory; one that held copies and is gone may be an unmounted disk."""
    if not site.images.is_dir():
        here = os.path.realpath(site.images)
        records = [publication(store, image) for image in store.versions.images()]
        if any(set(each.directories.values()) - {OVERLAY} for each in records if each.images in ("", here)):
            require_images(site)
    make_images(site)


def _change(site: Site, store: Store, version: Version, now: Publication, after: Publication) -> Change:
    makes = how(site, store, now, version.image, version.number)
    if makes is not None:
        require_layers(store, version)
    place = directory(site, version.image, version.number)
    kept: tuple[FileChange, ...] = ()
    if makes is not None and version.number not in now.directories:
        from pipeline.publish.handedits import kept_edits

        kept = kept_edits(site, store, version)
    return Change(version=version, directory=place, makes=makes, now=now, after=after, kept=kept)


def _carry_out(site: Site, store: Store, change: Change) -> None:
    image, number = change.version.image, change.version.number
    there = appear(site, store, change.version, change.now)
    if pointed_to(site, image) != number:
        remember(store, image, msgspec.structs.replace(there, intended=change.after.history))
        # Stopped here or after the turn: the link tells which of the two histories holds.
        turn(site, image, number)
    # Stopped here: readers see the new version; the next publish, rollback or restore remembers it.
    remember(store, image, msgspec.structs.replace(there, history=change.after.history, intended=()))
