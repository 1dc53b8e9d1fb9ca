"""Values and node names as arguments of wwctl that can be nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipeline.errors import Problem

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names of nodes, profiles, networks and devices that no list of Warewulf takes for something else."""

IMAGE = re.compile(r"[A-Za-z0-9][\w\-.:]*", re.ASCII)
NUMBERED = re.compile(r"(.*?)([0-9]+)")

TAKES_AWAY = frozenset({"unset", "undef", "delete", "nil", "--", "0.0.0.0"})
"""Values that wwctl does not set: they take away what is there."""

LONGEST = 60_000
"""Characters of node names in one call; Linux takes 128 KiB for one argument, which ssh makes of a call."""


def refusal(value: str) -> str:
    """Why Warewulf can't keep this value; empty: it can."""
    if not value or value != value.strip():
        return "an empty value, or space around it, is not kept by Warewulf"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        return "a control character, such as a line break, is in it"
    if value.lower() in TAKES_AWAY:
        return "Warewulf takes this word for: take the value away"
    if value.startswith("~"):
        return "Warewulf takes ~ for: take the rest of this out of the list"
    return ""


def bad_name(kind: str, name: str, where: str) -> Problem | None:
    """What is wrong with a name; None: nothing."""
    pattern = IMAGE if kind == "image" else NAME
    if pattern.fullmatch(name) and name.lower() not in TAKES_AWAY:
        return None
    return Problem(
        f"{name!r} can't be the name of {kind} objects in Warewulf",
        where,
        "letters, digits, dots, hyphens and underscores, a letter or digit first",
    )


def members(values: Iterable[str]) -> str:
    """A list as one value: CSV as encoding/csv reads it."""
    return ",".join(_member(value) for value in values)


def _member(value: str) -> str:
    if not re.search(r'[",]', value):
        return value
    return '"' + value.replace('"', '""') + '"'


def folded(names: Iterable[str]) -> list[str]:
    """Node names as node sets that Warewulf expands to exactly these: ``n[001-010,012]``."""
    numbers: dict[tuple[str, int], list[int]] = {}
    plain: list[str] = []
    for name in dict.fromkeys(names):
        found = NUMBERED.fullmatch(name)
        if found:
            numbers.setdefault((found[1], len(found[2])), []).append(int(found[2]))
        else:
            plain.append(name)
    return [*plain, *(_range(prefix, width, every) for (prefix, width), every in numbers.items())]


def _range(prefix: str, width: int, numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"{prefix}{numbers[0]:0{width}}"
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    told = (
        f"{first:0{width}}" if first == last else f"{first:0{width}}-{last:0{width}}" for first, last in runs
    )
    return f"{prefix}[{','.join(told)}]"


def calls(names: Iterable[str]) -> list[list[str]]:
    """Arguments that name these nodes, for as few calls as are long enough: one, nearly always.

    A set whose members have nothing in common is cut where a call would be too long.
    """
    found: list[list[str]] = [[]]
    size = 0
    for part in folded(names):
        for piece in _pieces(part):
            if found[-1] and size + len(piece) > LONGEST:
                found.append([])
                size = 0
            found[-1].append(piece)
            size += len(piece) + 3
    return found


def _pieces(part: str) -> list[str]:
    """One node set as several when it is longer than a call may be."""
    if len(part) <= LONGEST:
        return [part]
    prefix, _, inside = part[:-1].partition("[")
    runs = inside.split(",")
    step = max(1, len(runs) * LONGEST // (2 * len(part)))
    return [f"{prefix}[{','.join(runs[at : at + step])}]" for at in range(0, len(runs), step)]
