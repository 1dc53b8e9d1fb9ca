"""Which images stay published as they are: bases of what is built, and what was changed meanwhile."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.errors import PipelineError
from pipeline.publish.link import pointed_to
from pipeline.publish.record import Publication, publication
from pipeline.recipe.model import Site
from pipeline.store.records import Version
from pipeline.store.store import Store


class OvertakenError(PipelineError):
    """Something else of the image was published meanwhile, or it was rolled back or unpublished."""


class Staying(msgspec.Struct, frozen=True):
    """An image that stays at version ``number``; ``why`` is a sentence."""

    number: int
    why: str


def staying(site: Site, store: Store, images: Iterable[str]) -> dict[str, Staying]:
    """Those of ``images`` of which another version than the newest that could be is published: somebody
    wanted it so, and has to be asked before that changes."""
    return {image: found for image in images if (found := _staying(site, store, image)) is not None}


def _staying(site: Site, store: Store, image: str) -> Staying | None:
    try:
        now = publication(store, image).following(pointed_to(site, image))
    except PipelineError:  # something else has the link's name, which publishing says
        return None
    current = now.current
    if current is None:
        return None
    newer = [number for number in store.versions.numbers(image) if number > current]
    if any(number in now.directories for number in newer):
        return Staying(current, f"{image} stays at @{current}: it was rolled back")
    passed = [
        version.number
        for version in store.versions.all(image)
        if version.number in newer
        and (kept := store.versions.verification(version)) is not None
        and kept.passed
    ]
    if passed:
        return Staying(current, f"{image} stays at @{current}: @{passed[-1]} was made and not published")
    return None


def shown(site: Site, store: Store, image: str) -> Publication | None:
    """What is published of ``image``; None when that is not to be known, which publishing says."""
    try:
        return publication(store, image).following(pointed_to(site, image))
    except PipelineError:
        return None


def require_not_overtaken(version: Version, before: Publication, now: Publication) -> None:
    """Raise ``OvertakenError`` when somebody has changed what is published since ``before``: that was decided
    later than ``version`` was asked for. A directory more tells of what was published and taken back."""
    if now.current == version.number:
        return
    if now.current == before.current and not now.directories.keys() - before.directories.keys():
        return
    happened = (
        f"{version.image} was unpublished"
        if now.current is None
        else f"{version.image} stays at @{now.current}: it was published or rolled back"
    )
    raise OvertakenError(
        f"{happened} while {version.label} was built", command=f"pipeline publish {version.label}"
    )
