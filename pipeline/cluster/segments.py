"""Ranges of segments, ``FIRST:LAST``: VLAN IDs, which are PKeys of partitions on InfiniBand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

VLANS = range(1, 4095)
"""IDs that a VLAN can have (IEEE 802.1Q: 0 and 4095 are reserved)."""

PKEYS = range(1, 0x7FFF)
"""PKeys that a partition can have: 15 bits, of which opensm keeps 0x7fff for management."""

VNIS = range(1, 1 << 24)
"""VXLAN network identifiers: 24 bits (RFC 7348)."""

Range: TypeAlias = tuple[int, int]
"""The first and the last."""

FORM = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")


def read_range(text: str, within: range = VLANS) -> tuple[Range | None, str | None]:
    """The range that ``text`` says, or why it is none."""
    match = FORM.fullmatch(text)
    if not match:
        return None, f'"{text}" is no range: write FIRST:LAST, such as 1:10'
    first, last = int(match[1]), int(match[2])
    if first > last:
        return None, f'the range "{text}" runs backwards'
    if first not in within or last not in within:
        return None, f'the range "{text}" leaves {within.start} to {within.stop - 1}'
    return (first, last), None


def overlap(one: Sequence[Range], other: Sequence[Range]) -> Range | None:
    """The first part that is in both; None when there is none."""
    both = [(max(a, c), min(b, d)) for a, b in one for c, d in other if max(a, c) <= min(b, d)]
    return min(both, default=None)


def spelled(ranges: Iterable[Range], name: str = "") -> str:
    """``1:10,20:30``; with a name ``name:1:10,name:20:30``, as Neutron's ``network_vlan_ranges`` has it."""
    before = f"{name}:" if name else ""
    return ",".join(f"{before}{first}:{last}" for first, last in ranges)
