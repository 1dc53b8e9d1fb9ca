"""The lab as a whole: base images, vendor and head node, built once and kept."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from pipeline.errors import MachineError
from pipeline.events import Note, Observer

LAB = Path(__file__).parent
STAMP = ".complete"
"""The file of the lab's home that holds the digest of the sources by which all of it was last looked at."""

PLACES = ("images/openstack-image", "images/virtual-node-image", "mirror", "head")


def ensure(home: Path, observer: Observer) -> bool:
    """Build what is missing of the lab below ``home``; a lab that is there costs a few milliseconds.

    Returns whether something was missing. Raises ``MachineError`` with every program that this machine lacks.
    """
    stamp, wanted = home / STAMP, _digest()
    if _is_complete(home, wanted):
        return False
    _require_debian()
    from pipeline.lab.bases import ensure_bases
    from pipeline.lab.head.start import ensure as ensure_head
    from pipeline.lab.vendor import ensure_vendor

    def note(text: str) -> None:
        observer(Note(image="", stage="", text=text))

    ensure_bases(home, note)
    ensure_vendor(home, note)
    ensure_head(home / "head")
    # Stopped here or before: the next run looks again, closely, at what each part was built from.
    stamp.write_text(wanted)
    return True


def _require_debian() -> None:
    """The base images are Debian's packages rebuilt as RPMs: only Debian and Ubuntu have them at hand."""
    if not Path("/etc/debian_version").exists():
        raise MachineError(
            "the lab takes Debian or Ubuntu: its base images are made of their packages",
            hint="on EL, write a site of your own into pipeline.toml; docs/bright.toml is one",
            command="pipeline doctor",
        )


def _is_complete(home: Path, wanted: str) -> bool:
    try:
        return (home / STAMP).read_text() == wanted and all((home / place).is_dir() for place in PLACES)
    except FileNotFoundError:
        return False


def _digest() -> str:
    """Of all sources of the lab, modes included."""
    total = hashlib.sha256()
    for folder, folders, names in os.walk(LAB):
        folders[:] = sorted(set(folders) - {"__pycache__"})
        for path in (f"{folder}/{name}" for name in sorted(names)):
            with open(path, "rb") as file:
                content = file.read()
            runs = os.access(path, os.X_OK)
            total.update(f"{os.path.relpath(path, LAB)}\0{runs}\0{len(content)}\0".encode())
            total.update(content)
    return total.hexdigest()
