"""The link ``IMAGES/NAME``, which points to the version that nodes get."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.recipe.model import Site
from pipeline.store.filesystem import sync_directory, told


def link(site: Site, image: str) -> Path:
    """The link of ``image``."""
    return site.images / image


def pointed_to(site: Site, image: str) -> int | None:
    """The number that the link of ``image`` points to; None when there is no link.

    Raises ``PipelineError`` when something else has its name.
    """
    place = link(site, image)
    with told("the link cannot be read", place):
        try:
            target = os.readlink(place)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            target = ""  # something else than a link
    match = re.fullmatch(re.escape(image) + "-([0-9]{1,9})", target)
    if match is None:
        raise PipelineError(
            f"{place} is in the way: it is no link that pipeline publish made",
            hint="move it, or give the site an images directory of its own",
            command=f"ls -ld {place}",
        )
    return int(match[1])


def turn(site: Site, image: str, number: int) -> None:
    """Point the link to ``number``, in one step: a reader sees the old tree or the new one."""
    if pointed_to(site, image) == number:
        return
    beside = site.images / f".{image}.link"
    beside.unlink(missing_ok=True)
    beside.symlink_to(f"{image}-{number}")
    # Stopped here: the link is as it was, and what lies beside it is replaced by the next turn.
    beside.rename(link(site, image))
    sync_directory(site.images.resolve())


def take_away(site: Site, image: str) -> None:
    """Remove the link."""
    if site.images.is_dir():  # somebody may have taken all of it away
        link(site, image).unlink(missing_ok=True)
        sync_directory(site.images.resolve())
