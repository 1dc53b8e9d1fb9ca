"""What somebody may have meant who wrote a name that is not there."""

from __future__ import annotations

from collections.abc import Collection


def nearest(name: str, known: Collection[str]) -> str:
    """`` (did you mean "x"?)`` when something in ``known`` looks like ``name``, otherwise nothing."""
    close = lookalike(name, known)
    return f' (did you mean "{close}"?)' if close is not None else ""


def lookalike(name: str, known: Collection[str]) -> str | None:
    """What in ``known`` looks most like ``name``; None when nothing does."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, sorted(known), n=1, cutoff=0.6)), None)
