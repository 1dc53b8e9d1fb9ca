"""An OFED of the size of a real one: the lab's, with files in its packages that somebody has to write."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.lab import ofed
from pipeline.lab.vendor import DATA

URL = "http://www.mellanox.com/downloads/ofed"
"""What a folder of ``write`` answers for (recipes/fragments/mlnx-ofed.toml)."""
COMPONENTS = ("mft", "ibutils2", "infiniband-diags", "perftest", "dapl", "mlnxofed-docs", "libibverbs-devel")
FILES = 400
"""In each of the components."""
SIZE = 80_000
"""Bytes of a file, of which half can't be compressed, as with programs."""
MEGABYTES = len(COMPONENTS) * FILES * SIZE // 10**6


def write(folder: Path) -> Path:
    """Build it below the new ``folder``; returns what mirrors ``URL``."""
    data = folder / "data"
    shutil.copytree(DATA / "ofed", data)
    for component in COMPONENTS:
        payload = data / "payload" / component / "usr/share" / component
        payload.mkdir(parents=True)
        for number in range(FILES):
            (payload / f"part{number:03}").write_bytes(os.urandom(SIZE // 2) + b"\0/bin/sh\n" * (SIZE // 18))
    rpms = folder / "rpms"
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for job in [pool.submit(job) for job in ofed.packages(data, folder / "work", rpms)]:
            job.result()
    mirror = folder / "mirror"
    ofed.write_release(data, rpms, folder / "release", mirror / f"MLNX_OFED-{ofed.VERSION}")
    return mirror
