"""What programs leave behind that no image needs: no layer keeps it, so no stage may be told to write it."""

from __future__ import annotations

import posixpath
import re

UNWANTED = tuple(
    (directory, re.compile(names))
    for directory, names in (
        (b"", rb"\.pipeline"),
        (b"etc", rb"\.pwd\.lock|(passwd|shadow|group|gshadow|subuid|subgid)-"),
        (b"var/log", rb"yum\.log|dnf.*\.log.*|hawkey\.log.*|.*lock\.pid"),
        (b"var/cache", rb"yum|dnf"),
        (b"var/cache/ldconfig", rb"aux-cache"),
        (b"var/lib/dnf", rb"history\.sqlite.*|.*lock\.pid"),
        (b"var/lib/yum", rb"history"),
        (b"var/lib/rpm", rb"__db\..*|\.rpm\.lock|rpmdb\.sqlite-shm"),
        (b"usr/lib/sysimage/rpm", rb"\.rpm\.lock|rpmdb\.sqlite-shm"),
    )
)
"""Logs, caches, histories and locks of the package managers, and what useradd, which packages run, leaves of
the accounts as they were: (directory, names in it).

The shared memory of SQLite and of Berkeley DB is made anew by whoever opens the database first.
"""


def is_unwanted(path: str) -> bool:
    """Whether no layer keeps a file at the absolute ``path`` of an image."""
    parts = posixpath.normpath("/" + path.lstrip("/")).encode(errors="surrogateescape").split(b"/")[1:]
    return any(
        names.fullmatch(name) is not None
        for directory, names in UNWANTED
        for number, name in enumerate(parts)
        if b"/".join(parts[:number]) == directory
    )
