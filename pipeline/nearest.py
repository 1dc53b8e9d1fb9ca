"""What somebody may have meant who wrote a name that is not there."""

from __future__ import annotations

from collections.abc import Collection


def nearest(name: str, known: Collection[str]) -> str:
    """`` (did you mean "x"?)`` when something in ``known`` looks like ``name``, otherwise nothing."""
    from difflib import get_close_matches

    close = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""
