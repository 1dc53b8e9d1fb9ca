"""Which devices an option names: ``-n`` nodes, ``-c`` category, ``-m`` image and so on."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.looks import image_of, status
from pipeline.lab.head.nodes import expand
from pipeline.lab.head.session import Session

LETTERS = "ngcrhms"


def selected(session: Session, found: Mapping[str, str]) -> list[str]:
    """The devices that the options name together, all without one. A name that is none is reported and left
    out. Raises ``CommandError`` for a list that can't be read, or if the session ends at the first error."""
    names = session.top_names("device")
    if "n" in found:
        names = _listed(session, found["n"])
    for letter, value in found.items():
        if letter != "n":
            names = [name for name in names if _is(session, name, letter, value)]
    return names


def _listed(session: Session, text: str) -> list[str]:
    names = []
    for name in map(session.alias, expand(text, lambda path: _read(session, path))):
        if session.top("device", name) is not None:
            names.append(name)
        elif session.quit_on_error:
            raise session.unknown("Device", name)
        else:
            session.refuse(str(session.unknown("Device", name)))
    return names


def _read(session: Session, path: str) -> str:
    inside = f"{session.store.root}{path}"
    try:
        with open(inside if os.path.exists(inside) else path) as file:
            return file.read()
    except OSError:
        raise CommandError(f"Cannot read {path}") from None


def _is(session: Session, name: str, letter: str, value: str) -> bool:
    one = session.top("device", name)
    if one is None:
        return False
    category = str(one["values"].get("category", ""))
    if letter == "c":
        return category in value.split(",")
    if letter == "m":
        return image_of(session, one, category) in value.split(",")
    if letter == "r":
        return one["values"].get("rack") in value.split(",")
    if letter == "s":
        return value.upper() in status(session, name)
    return False
