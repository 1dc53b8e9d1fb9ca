"""What the store remembers of an image's publications."""

from __future__ import annotations

from pathlib import Path

import msgspec

from pipeline.recipe.model import Site
from pipeline.store.filesystem import write_whole
from pipeline.store.records import read
from pipeline.store.store import Store


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What is published of an image: ``published.json`` beside its versions.

    ``directories`` maps the number of each version that has a directory to how (``overlay`` or ``copy``).
    ``history`` are the numbers that ``IMAGES/NAME`` has pointed to, each once, the present one last;
    rollback takes it away. ``intended`` is the history that holds once the link points to its last: written
    before the link is turned, empty when no turn is going on.
    """

    history: tuple[int, ...] = ()
    directories: dict[int, str] = {}
    intended: tuple[int, ...] = ()

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
        return Publication(
            history=tuple(each for each in self.history if each != number),
            directories={each: mode for each, mode in self.directories.items() if each != number},
        )

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
    return read(_record(store, image), Publication) or Publication()


def remember(store: Store, image: str, now: Publication) -> None:
    """Write ``now`` down, on the disk when this returns."""
    if now != publication(store, image):
        write_whole(_record(store, image), msgspec.json.encode(now))


def _record(store: Store, image: str) -> Path:
    return store.path / "images" / image / "published.json"


def directory(site: Site, image: str, number: int) -> Path:
    """Where a version appears."""
    return site.images / f"{image}-{number}"
