"""Times as people read them where hours pass: how long, and when."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache


def span(seconds: float) -> str:
    """``45 s``, ``3 min 05 s``, ``2 h 05 min``, ``3 d 04 h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


@lru_cache(4096)
def moment(at: float) -> str:
    """``2026-11-22 21:45:51`` in this machine's zone, for ``at`` in seconds since 1970; "" for never."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def zone(at: float) -> str:
    """The zone of ``moment``: ``+0100``."""
    return datetime.fromtimestamp(at).astimezone().strftime("%z")
