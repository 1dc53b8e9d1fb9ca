"""What is different about an object, as people read it; nothing in it drives a terminal."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from pipeline.cluster.objects import Value
from pipeline.printable import plain

LONGEST = 120
MOST_LINES = 20


def differences(old: Mapping[str, Value] | None, new: Mapping[str, Value] | None) -> list[str]:
    """A text for each property that is no longer as it was; None: the object was or is not there."""
    if old is None or new is None:
        return (
            [] if old is new else ["was not there, and is now" if old is None else "was there, and is gone"]
        )
    return [
        f"{name} {_difference(old.get(name), new.get(name), 'was', 'is')}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]


def unlike(name: str, there: Value | None, wanted: Value | None) -> str:
    """A property that is not as it is to be."""
    return f"{name} {_difference(there, wanted, 'is', 'wanted')}"


def _difference(old: Value | None, new: Value | None, before: str, after: str) -> str:
    if any(isinstance(value, str) and "\n" in value for value in (old, new)):
        lines = "\n".join(f"  {line}" for line in changed_lines(str(old or ""), str(new or ""), ""))
        return f"{before} (-), and {after} (+):\n{lines}"
    old, new = _cut(old, new)
    joined = ", and is" if after == "is" else f", {after}"
    return f"{before} {told(old)}{joined} {told(new)}"


def _cut(old: Value | None, new: Value | None) -> tuple[Value | None, Value | None]:
    """Lists that are too long to be shown without those members that both begin with."""
    if (
        not isinstance(old, tuple)
        or not isinstance(new, tuple)
        or max(len(" ".join(one)) for one in (old, new)) <= LONGEST
    ):
        return old, new
    same = next(
        (n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    return ("…", *old[same:]), ("…", *new[same:])


def changed_lines(old: str, new: str, rest: str) -> list[str]:
    """Lines of ``old`` with ``-``, of ``new`` with ``+`` before them; also those that differ in their ends.

    ``rest`` is said of those that are too many.
    """
    found = list(difflib.unified_diff(_ended(old), _ended(new), lineterm="", n=0))[2:]
    found = [shown(line) for line in found if not line.startswith("@@")]
    more = len(found) - MOST_LINES
    return [*found[:MOST_LINES], *([f"... {more} more lines{rest}"] if more > 0 else [])]


def _ended(text: str) -> list[str]:
    """The lines; ends that a terminal doesn't show are written out where there are such."""
    lines = text.split("\n")
    if lines[-1]:
        return [*lines[:-1], f"{lines[-1]} (without an end of the line)"]
    return lines[:-1]


def shown(text: str) -> str:
    """``text`` of a cluster as it may be shown, with escapes for bytes that are no UTF-8."""
    return plain(text).encode(errors="backslashreplace").decode()


def told(value: Value | None) -> str:
    """A value in one line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = shown(" ".join(value) if isinstance(value, tuple) else str(value))
    if "\n" in text:
        return f"{len(text.splitlines())} lines"
    return (text if len(text) <= LONGEST else text[: LONGEST - 1] + "…") or '""'
