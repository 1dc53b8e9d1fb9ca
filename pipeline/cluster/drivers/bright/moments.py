"""Times as cmsh prints them, as seconds since 1970: the same moment is the same number in every form.

A time without a zone is one of the head node's clock, so its zone is asked for; a zone's name tells summer
from winter, and with it the one hour a year that comes twice.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from io import BytesIO

import msgspec

from pipeline.cluster.drivers.bright.parse import UnexpectedError
from pipeline.cluster.head import Head

NEVER = ("", "-", "never", "none", "n/a")

ZONE = re.compile(r"(?<=\d) (?P<name>[A-Z]{2,5})(?=(?: \d{4})?\Z)")
FORMS = (
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S %z %Y",
    "%Y/%m/%d %H:%M:%S",
    "%d %b %Y %H:%M:%S",
    "%b %d %H:%M:%S %Y",
)
OF_WORLD = ("UTC", "GMT")

MILLISECONDS = 1e11
"""A number above is no count of seconds: that would be the year 5138."""

ASK = """
case ${TZ#:} in
    '') file=/etc/localtime ;;
    /*) file=${TZ#:} ;;
    *) file=/usr/share/zoneinfo/${TZ#:} ;;
esac
base64 < "$file" || exit 1
"""
"""For a shell: the zone's table, which cmsh reads as well."""

Zone = Callable[[], tzinfo]
"""Gives the head node's zone; only asked when a time doesn't say its own."""


class Wall(msgspec.Struct, frozen=True):
    """What a clock on the wall shows; ``zone`` is its name for the time of the year, if it is told."""

    when: datetime
    zone: str = ""


def utc() -> tzinfo:
    """The zone of a head node that has none."""
    return UTC


def zone_of(head: Head) -> tzinfo:
    """The head node's zone; UTC where it has no table of one. Raises ``MachineError``."""
    from zoneinfo import ZoneInfo  # slow

    ran = head.run(("sh", "-c", ASK), seconds=head.answer_seconds)
    try:
        return UTC if ran.code else ZoneInfo.from_file(BytesIO(b64decode(ran.out)))
    except (ValueError, EOFError):
        return UTC


def seconds(text: str, zone: Zone = utc) -> float:
    """A time as seconds since 1970. "never", a dash or nothing is 0. Raises ``UnexpectedError``."""
    at = _read(text)
    return at if isinstance(at, float) else _at(at, zone())


def _at(wall: Wall, zone: tzinfo) -> float:
    if wall.zone in OF_WORLD:
        return wall.when.replace(tzinfo=UTC).timestamp()
    times = [wall.when.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
    return next((time for time in times if time.tzname() == wall.zone), times[0]).timestamp()


@lru_cache(1 << 15)
def _read(text: str) -> float | Wall:
    if text.lower() in NEVER:
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", text):
        number = float(text)
        return number / 1000 if number > MILLISECONDS else number
    named = ZONE.search(text)
    bare = ZONE.sub("", text)
    when = _iso(bare)
    for form in FORMS:
        if when is None:
            when = _formed(bare, form)
    if when is None:
        raise UnexpectedError(f"a time that is not understood: {text}")
    return when.timestamp() if when.tzinfo else Wall(when, named["name"] if named else "")


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _formed(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form)
    except ValueError:
        return None
