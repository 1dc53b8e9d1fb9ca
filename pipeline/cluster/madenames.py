"""How the cluster manager calls the image that a rollout makes for a version: NAME-N, and back from that."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.store.records import Version
from pipeline.store.versions import Versions

MADE = re.compile(r"(?P<image>.+)-(?P<number>[1-9][0-9]{0,8})")


def made_name(image: str, number: int) -> str:
    """What the manager calls the image that is made for a version."""
    return f"{image}-{number}"


def made_for(name: str) -> tuple[str, int] | None:
    """The image and the number of the version whose name this is; None: of none."""
    match = MADE.fullmatch(name)
    return (match["image"], int(match["number"])) if match is not None else None


def is_made_for(name: str, image: str) -> bool:
    """Whether ``name`` is that of a version of ``image``."""
    made = made_for(name)
    return made is not None and made[0] == image


def version_of(store: Path, name: str) -> Version | None:
    """The version that the manager's image ``name`` was made for; None when it was made for none that is
    there."""
    made = made_for(name)
    if made is None:
        return None
    try:
        return Versions(store).get(*made)
    except PipelineError:
        return None  # fsck tells
