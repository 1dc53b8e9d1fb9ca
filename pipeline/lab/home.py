"""The lab as a whole: base images and vendor, built once and kept."""

from __future__ import annotations

from pathlib import Path

from pipeline.events import Note, Observer


def ensure(home: Path, observer: Observer) -> None:
    """Build what is missing of the lab below ``home``; a lab that is there costs a few milliseconds.

    Raises ``MachineError`` with every program that this machine lacks.
    """
    from pipeline.lab.bases import ensure_bases
    from pipeline.lab.vendor import ensure_vendor

    def note(text: str) -> None:
        observer(Note(image="", stage="", text=text))

    ensure_bases(home, note)
    ensure_vendor(home, note)
