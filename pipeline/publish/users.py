"""Who uses a published directory, as far as this machine knows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.publish.mounted import mount_points


def is_used(target: Path) -> bool:
    """Whether a process is in ``target``, runs a program of it or has a file of it open, or it has a mount.

    Processes of others are seen only by root; nodes that have it by the network never.
    """
    inside = os.path.realpath(target)
    below = f"{inside}/"
    return any(place.startswith(below) for place in mount_points()) or any(
        place == inside or place.startswith(below) for place in _places()
    )


def _places() -> Iterator[str]:
    for process in filter(str.isdecimal, os.listdir("/proc")):
        links = [f"/proc/{process}/{name}" for name in ("cwd", "root", "exe")]
        with suppress(OSError):  # it has ended, or belongs to somebody else
            links += [f"/proc/{process}/fd/{number}" for number in os.listdir(f"/proc/{process}/fd")]
        for link in links:
            with suppress(OSError):
                yield os.readlink(link)
