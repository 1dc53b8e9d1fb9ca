"""What the store remembers of an image's publications."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.recipe.model import Site
from pipeline.store.filesystem import write_whole
from pipeline.store.records import read
from pipeline.store.sealed import sealed
from pipeline.store.store import Store


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What is published of an image: ``published.json`` beside its versions.

    ``directories`` maps the number of each version that has a directory to how (``overlay`` or ``copy``).
    ``history`` are the numbers that ``IMAGES/NAME`` has pointed to, each once, the present one last;
    rollback takes it away. ``intended`` is the history that holds once the link points to its last: written
    before the link is turned, empty when no turn is going on. ``images`` is the directory, without links,
    that they and ``IMAGES/NAME`` are in; empty in records of old releases: the site's.
    """

    history: tuple[int, ...] = ()
    directories: dict[int, str] = {}
    intended: tuple[int, ...] = ()
    images: str = ""

    @property
    def current(self) -> int | None:
        """The number that ``IMAGES/NAME`` points to."""
        return self.history[-1] if self.history else None

    @property
    def previous(self) -> int | None:
        """The number that it pointed to before."""
        return self.history[-2] if len(self.history) > 1 else None

    def turned_to(self, number: int) -> Publication:
        """With ``number`` as the present one."""
        rest = tuple(each for each in self.history if each != number)
        return msgspec.structs.replace(self, history=(*rest, number))

    def turned_back(self) -> Publication:
        """With the one before as the present one."""
        return msgspec.structs.replace(self, history=self.history[:-1])

    def having(self, number: int, mode: str) -> Publication:
        """With a directory for ``number``."""
        return msgspec.structs.replace(self, directories={**self.directories, number: mode})

    def lacking(self, number: int) -> Publication:
        """Without a directory for ``number``."""
        return msgspec.structs.replace(
            self,
            history=tuple(each for each in self.history if each != number),
            directories={each: mode for each, mode in self.directories.items() if each != number},
            intended=(),
        )

    def placed(self, site: Site) -> Publication:
        """With its directories in the images directory of ``site``."""
        return msgspec.structs.replace(self, images=os.path.realpath(site.images))

    def following(self, pointed: int | None) -> Publication:
        """As it is when the link points to ``pointed``: a publish or rollback may have been killed
        between turning the link and remembering it, and what readers see counts. Turned by hand to the
        one before, it is taken for a rollback."""
        settled = msgspec.structs.replace(self, intended=())
        if pointed is None or pointed == self.current or pointed not in self.directories:
            return settled
        if pointed in self.intended[-1:]:
            return msgspec.structs.replace(settled, history=self.intended)
        return settled.turned_back() if pointed == self.previous else settled.turned_to(pointed)


def publication(store: Store, image: str) -> Publication:
    """What is published of ``image``."""
    return read(record_file(store, image), Publication) or Publication()


def remember(store: Store, image: str, now: Publication) -> None:
    """Write ``now`` down, on the disk when this returns."""
    if now != publication(store, image):
        write_whole(record_file(store, image), sealed(now))


def record_file(store: Store, image: str) -> Path:
    """Where it is remembered."""
    return store.path / "images" / image / "published.json"


def directory(site: Site, image: str, number: int) -> Path:
    """Where a version appears when it is published."""
    return site.images / f"{image}-{number}"


def present_directory(site: Site, now: Publication, image: str, number: int) -> Path:
    """Where a version appears that ``now`` has a directory for."""
    return (_elsewhere(site, now, image) or site.images) / f"{image}-{number}"


def _elsewhere(site: Site, now: Publication, image: str) -> Path | None:
    """Where the directories of ``image`` are when the site names another place by now.

    None also when nothing is there any more: somebody moved all of it, or the store to another machine.
    """
    images = Path(now.images or site.images)
    if not now.images or now.images == os.path.realpath(site.images):
        return None
    there = any(os.path.lexists(images / f"{image}-{number}") for number in now.directories)
    return images if there else None


def publication_here(site: Site, store: Store, image: str) -> Publication:
    """What is published of ``image``, for those who change it.

    Raises ``PipelineError`` when its directories are not where the site file says.
    """
    now = publication(store, image)
    old = _elsewhere(site, now, image)
    if old is not None:
        raise PipelineError(
            f"{image} is published in {old}, and the site file says images = {str(site.images)!r}",
            where=str(site.file),
            hint=f"set images = {str(old)!r} again, unpublish {image}, and change it then",
            command=f"pipeline unpublish {image}",
        )
    return now


def require_here(site: Site, store: Store, images: Iterable[str]) -> None:
    """Raise ``PipelineError`` with all of ``images`` whose directories are not where the site file says."""
    problems: list[Problem] = []
    for image in images:
        try:
            publication_here(site, store, image)
        except PipelineError as error:
            problems += error.problems
    if problems:
        raise PipelineError(problems)
