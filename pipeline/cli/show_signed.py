"""Who signed a version, as ``pipeline show`` tells it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.cli.text import when
from pipeline.errors import PipelineError, Problem
from pipeline.recipe.model import Site
from pipeline.store.records import Version
from pipeline.store.store import Store

if TYPE_CHECKING:
    from pipeline.signing.signers import Signed


def signed_by(site: Site, store: Store, version: Version) -> tuple[tuple[Signed, ...], tuple[Problem, ...]]:
    """The signatures of a version, and why it could not be found out whose they are."""
    from msgspec.structs import replace

    from pipeline.signing.signers import judged

    try:
        return judged(site, store, version), ()
    except PipelineError as error:  # the signers cannot be read: what is kept is told all the same
        found = judged(replace(site, signing=None), store, version)
        told = error.problems[0]
        return tuple(each if each.problem else replace(each, problem=told) for each in found), error.problems


def told_signatures(site: Site, found: Sequence[Signed]) -> str:
    """In one line: who has signed, or that it is not signed as the site asks."""
    good = [each for each in found if each.problem is None]
    by = ", ".join(f"{each.principal or each.key}, {when(each.when)}" for each in good)
    names = {each.principal for each in good}
    asked = site.signing.required if site.signing else 0
    if len(names) >= asked:
        return by or "no"
    return f"not as the site asks ({len(names)} of {asked}){': ' if by else ''}{by}"


def not_counting(found: Sequence[Signed], unreadable: Sequence[Problem]) -> list[str]:
    """The signatures that do not count, with why, and what to do."""
    bad = (*unreadable, *(each.problem for each in found if each.problem and each.problem not in unreadable))
    return [line for each in bad for line in ("", f"SIGNATURE: {each}")]
