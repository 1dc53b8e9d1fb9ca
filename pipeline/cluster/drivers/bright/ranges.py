"""Names of nodes, folded into cmsh's lists: ``node001..node003,node007``."""

from __future__ import annotations

import re
from collections.abc import Iterable

NUMBERED = re.compile(r"(?P<stem>.*?\D)(?P<number>[0-9]{1,9})\Z")


def folded(names: Iterable[str]) -> str:
    """``names`` as one list; each once, in the order of their numbers behind the same stem."""
    stems: dict[tuple[str, int], list[int]] = {}
    single: list[str] = []
    for name in dict.fromkeys(names):
        match = NUMBERED.match(name)
        if match is None:
            single.append(name)
        else:
            stems.setdefault((match["stem"], len(match["number"])), []).append(int(match["number"]))
    parts = [
        f"{stem}{first:0{width}d}" + (f"..{stem}{last:0{width}d}" if last > first else "")
        for (stem, width), numbers in stems.items()
        for first, last in _runs(sorted(numbers))
    ]
    return ",".join([*parts, *single])


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """First and last of each run without a gap."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
