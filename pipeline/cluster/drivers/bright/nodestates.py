"""How nodes are, and what was provisioned to them: what ``status`` and ``syncinfo`` print, as data.

The form of a status is seen in public transcripts. No manual shows what ``syncinfo`` prints, so tables and
blocks with any of many headers are taken; what is none of them is an error, and never "nothing".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from pipeline.cluster.drivers.bright.parse import Row, UnexpectedError
from pipeline.cluster.drivers.bright.words import label
from pipeline.cluster.drivers.nodes import Condition, NodeStatus, Sync

LINE = re.compile(r"(?P<name>\S+)\s+\.*\s*(?P<cell>\[.*)")
"""``node001 ............. [   UP   ] restart-required``; the dots vary."""

CELL = re.compile(r"\[\s*(?P<word>[^\]]+?)\s*\][\s,]*(?P<rest>.*)")
"""``[     INSTALLING      ] (provisioning started)``, ``[  DOWN  ], unassigned``."""

CONDITIONS: Mapping[str, Condition] = {
    "UP": "up",
    "DOWN": "down",
    "BOOTING": "booting",
    "INSTALLER_REBOOTING": "booting",
    "INSTALLING": "installing",
    "INSTALLER_CALLINGINIT": "starting",
    "INSTALLER_FAILED": "failed",
    "INSTALLER_UNREACHABLE": "down",
    "CLOSED": "closed",
    "OPENING": "closed",
}
"""An installer that can't be reached may be back in a moment: such a node is only not there now."""

NODE = frozenset({"hostname", "node", "nodename", "device", "name"})
IMAGE = frozenset({"softwareimage", "image"})
MODE = frozenset({"mode", "installmode", "provisioningmode", "synctype", "type"})
ENDED = frozenset(
    {"ended", "end", "endtime", "finished", "completed", "lastsync", "synctime", "time", "date", "timestamp"}
)
RESULT = frozenset({"result", "status", "state", "success"})
GOOD = re.compile(r"(?i)(done|ok|yes|true|success(ful(ly)?)?|succeeded|completed?|finished)\W*\Z")

ZONE = re.compile(r"(?<=\d) [A-Z]{2,5}(?= \d{4}\b)|(?<=\d) [A-Z]{3,5}\Z")
FORMS = ("%a %b %d %H:%M:%S %Y", "%Y/%m/%d %H:%M:%S", "%d %b %Y %H:%M:%S", "%b %d %H:%M:%S %Y")
MILLISECONDS = 1e11
"""A number above is no count of seconds: that would be the year 5138."""

BLOCK = re.compile(
    r"(?:(?:node|device|hostname)(?::\s*|\s+))?(?P<name>[A-Za-z0-9_][\w.-]*):?\Z", re.IGNORECASE
)
PAIR = re.compile(r"\s+(?P<label>[A-Za-z][\w ()-]*?)\s*[:=]\s*(?P<value>.*)\Z")


def status(cell: str) -> NodeStatus:
    """A status from what stands behind the dots, or in a list's column."""
    match = CELL.match(cell)
    if match is None:
        return NodeStatus("unknown", cell)
    text = f"{match['word']} {match['rest']}".strip()
    return NodeStatus(CONDITIONS.get(match["word"].upper(), "unknown"), text)


def statuses(lines: Iterable[str], nodes: Collection[str]) -> dict[str, NodeStatus]:
    """Those of ``nodes`` that the lines of ``status`` tell of."""
    wanted = nodes if isinstance(nodes, (set, frozenset)) else frozenset(nodes)
    found = {}
    for line in lines:
        match = LINE.match(line)
        if match is not None and match["name"] in wanted:
            found[match["name"]] = status(match["cell"])
    return found


def syncs(rows: Iterable[Row]) -> dict[str, Sync]:
    """From rows whose keys are header labels in any of the known words."""
    return dict(map(_sync, rows))


def _sync(row: Row) -> tuple[str, Sync]:
    node, image, mode, ended, result = _columns(tuple(row))
    name, at = _text(row[node]), seconds(_text(row[ended]))
    told = _text(row[result]) if result is not None else "done"
    good = at > 0 and GOOD.match(told) is not None
    return name, Sync(
        _text(row[image]) if image is not None else "",
        _text(row[mode]).upper() if mode is not None else "",
        at,
        good,
        "" if good else told,
    )


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


@lru_cache(64)
def _columns(headers: tuple[str, ...]) -> tuple[str, str | None, str | None, str, str | None]:
    """Which headers stand for node, image, mode, time and result. Raises ``UnexpectedError`` without the
    first or the time."""
    node, image, mode, ended, result = (
        next((header for header in headers if label(header) in words), None)
        for words in (NODE, IMAGE, MODE, ENDED, RESULT)
    )
    if node is None or ended is None:
        raise UnexpectedError(f"syncinfo without the node or the time: {', '.join(headers)}")
    return node, image, mode, ended, result


def blocks(text: str) -> Sequence[Row]:
    """Rows from ``node001:`` with lines ``  Mode: FULL`` below. Raises ``UnexpectedError``."""
    rows: list[dict[str, object]] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        pair = PAIR.match(line)
        if pair is not None and rows:
            rows[-1][pair["label"]] = pair["value"]
        elif (head := BLOCK.match(line.rstrip())) and not line[:1].isspace():
            rows.append({"hostname": head["name"]})
        else:
            raise UnexpectedError(line.strip())
    return rows


@lru_cache(1 << 15)
def seconds(text: str) -> float:
    """A time as seconds since 1970; without a zone as if it were in UTC: times of one clock are compared,
    and nothing else. "never", a dash or nothing is 0. Raises ``UnexpectedError``.
    """
    if text.lower() in ("", "-", "never", "none", "n/a"):
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", text):
        number = float(text)
        return number / 1000 if number > MILLISECONDS else number
    when = _iso(text)
    for form in FORMS:
        if when is None:
            when = _formed(ZONE.sub("", text), form)
    if when is None:
        raise UnexpectedError(f"a time that is not understood: {text}")
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


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


def inherited(cell: str) -> tuple[str, bool]:
    """A value without its suffix, and whether it is another object's: ``AUTO (Category)``."""
    match = re.fullmatch(r"(.*?)\s*\((?:[Cc]ategory|[Dd]efault|[Pp]artition)\b[^)]*\)", cell)
    return (match[1], True) if match else (cell, False)
