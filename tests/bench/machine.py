"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def facts(work: Path) -> dict[str, str | int | float]:
    """Date, processor, memory (bytes), kernel, the file system of ``work``, load, and peers' versions."""
    mount = subprocess.run(
        ["findmnt", "-no", "FSTYPE,SOURCE,OPTIONS", "-T", str(work)],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "file_system": mount.stdout.strip(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "buildah": _first_line("buildah", "--version"),
        "rsync": _first_line("rsync", "--version"),
        "commit": _first_line("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _first_line(*argv: str) -> str:
    ended = subprocess.run(argv, capture_output=True, text=True)
    return ended.stdout.partition("\n")[0] or "unknown"
