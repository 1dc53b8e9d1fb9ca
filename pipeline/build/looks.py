"""Looks at the bases of images: what takes longest when nothing has to be built, so it is begun first."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from pipeline.regular import content_of

if TYPE_CHECKING:
    from pipeline.recipe.model import Site
    from pipeline.store.fingerprint import Look


@contextmanager
def looking(site: Site, images: Sequence[str]) -> Iterator[dict[str, Look]]:
    """Looks at the bases of ``images`` (none: all of the site) by name; they go on in the block.

    The recipes are only glanced at: what is wrong with them is told by those who load them.
    """
    from pipeline.store.fingerprint import Look

    with ExitStack() as ending:
        looks: dict[str, Look] = {}
        for name in _bases(site, images):
            # Not Path.is_dir, which raises for somebody who may not see it: they are told so later.
            if name in site.bases and os.path.isdir(site.bases[name]):
                looks[name] = ending.enter_context(Look(site.bases[name]))
        yield looks


def _bases(site: Site, images: Sequence[str]) -> list[str]:
    """The names of what ``images`` are based on, directly or through other images."""
    wanted = list(images) or [file.parent.name for file in site.recipes.glob("*/recipe.toml")]
    found: dict[str, None] = {}
    while wanted:
        try:
            content = content_of(site.recipes / wanted.pop() / "recipe.toml")
            base = tomllib.loads(content.decode())["image"]["base"]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            continue
        if isinstance(base, str) and base not in found:
            found[base] = None
            wanted.append(base)
    return list(found)
