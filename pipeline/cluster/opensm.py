"""``partitions.conf`` of opensm: a partition for each segment of the InfiniBand networks."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.cluster.segments import PKEYS, Range
from pipeline.errors import UsageError

MANAGEMENT = "management=0x7fff,ipoib, sl=0, defmember=full : ALL, ALL_SWITCHES=full,SELF=full;"

LONGEST_LINE = 4095
"""Bytes; longer lines break opensm's parser."""


def partitions(ranges: Iterable[Range]) -> str:
    """The whole file. A segment's number is its PKey; channel adapters are full members.

    Raises ``UsageError`` for segments that cannot be PKeys.
    """
    segments = sorted({number for first, last in ranges for number in range(first, last + 1)})
    wrong = [number for number in segments if number not in PKEYS]
    if wrong:
        raise UsageError(
            f"no partition can have the PKey {wrong[0]:#x}",
            hint=f"segments of InfiniBand lie within {PKEYS.start} to {PKEYS.stop - 1}",
        )
    lines = [f"vlan{number}={number:#x}, ipoib, sl=0, defmember=full : ALL_CAS;" for number in segments]
    return "\n".join([MANAGEMENT, *lines, ""])
