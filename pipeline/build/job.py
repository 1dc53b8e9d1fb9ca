"""What is to be built, as plain data that can be sent to another process."""

from __future__ import annotations

import msgspec

from pipeline.build.foundation import Foundation
from pipeline.recipe.model import Recipe, Site


class BuildOptions(msgspec.Struct, frozen=True):
    """What is wanted of a build. ``locked`` refuses a lock that is not what the recipe asks for, ``relock``
    resolves everything anew."""

    locked: bool = False
    relock: bool = False
    verify: bool = True
    publish: bool = True
    unverified: bool = False


class Job(msgspec.Struct, frozen=True):
    """One image to be built; can be sent to another process.

    ``base_version`` is the number of the version to stand on when the base is another recipe; ``found`` is
    what the image stands on, when that is known already; ``events`` the descriptor of a socket for events.
    """

    site: Site
    recipe: Recipe
    options: BuildOptions
    base_version: int | None = None
    found: Foundation | None = None
    events: int | None = None
