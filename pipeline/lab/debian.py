"""The tables of debian.toml: which packages the base images take from Debian, and how they are changed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

TABLES = Path(__file__).with_suffix(".toml")
"""The file itself; each of its tables is explained there."""


class Tables(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """debian.toml. Paths of packages have no leading slash; lists of words are strings split at spaces."""

    wanted: str
    left_out: str
    unwanted: str
    links: dict[str, dict[str, str]]
    copies: dict[str, dict[str, str]]
    modes: dict[str, dict[str, int]]
    ghosts: dict[str, list[str]]
    provides: dict[str, str]


def tables() -> Tables:
    """What debian.toml says."""
    return msgspec.convert(tomllib.loads(TABLES.read_text(encoding="utf-8")), Tables)
