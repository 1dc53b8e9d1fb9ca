"""How nodes are, and what was provisioned to them: what ``status`` and ``syncinfo`` print, as data.

The form of a status is seen in public transcripts. No manual shows what ``syncinfo`` prints, so tables and
blocks with any of many headers are taken; what is none of them is an error, and never "nothing".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from pipeline.cluster.drivers.bright.moments import Zone, seconds, utc
from pipeline.cluster.drivers.bright.parse import CUT, Row, UnexpectedError
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
    """Those of ``nodes`` that the lines of ``status`` tell of; a line that is odd is odd for its node only.

    Raises ``UnexpectedError`` when no line at all is understood.
    """
    wanted = nodes if isinstance(nodes, (set, frozenset)) else frozenset(nodes)
    found, odd, is_known = {}, "", False
    for line in lines:
        match = LINE.match(line)
        if match is not None:
            is_known = True
            if match["name"] in wanted:
                found[match["name"]] = status(match["cell"])
        elif line.strip():
            odd = odd or line.strip()
            name, _, rest = line.strip().partition(" ")
            if name in wanted:
                found[name] = NodeStatus("unknown", rest.strip())
    if odd and not is_known:
        raise UnexpectedError(odd)
    return found


def syncs(rows: Iterable[Row], zone: Zone = utc) -> dict[str, Sync]:
    """From rows whose keys are header labels in any of the known words.

    Of a node whose row is odd (a word in place of the time, a value that was cut off) nothing is known, so
    it isn't told. Raises ``UnexpectedError`` when no row is understood, and that isn't because of such words.
    """
    found, odd = {}, None
    for row in rows:
        try:
            name, sync = _sync(row, zone)
        except UnexpectedError as error:
            odd = odd or error
        except _NotEndedError:
            continue
        else:
            found[name] = sync
    if odd and not found:
        raise odd
    return found


class _NotEndedError(Exception):
    """Where the time should be stands something that is none: ``in progress``."""


def _sync(row: Row, zone: Zone) -> tuple[str, Sync]:
    node, image, mode, ended, result = columns = _columns(tuple(row))
    for column in columns:
        if column is not None and row[column] is CUT:
            raise UnexpectedError(f"a value that was cut off: {column} of {row[node]}")
    when = _text(row[ended])
    try:
        at = seconds(when, zone)
    except UnexpectedError:
        if not re.search(r"\d", when):
            raise _NotEndedError from None
        raise
    told = _text(row[result]) if result is not None else "done"
    good = at > 0 and GOOD.match(told) is not None
    return _text(row[node]), Sync(
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


def inherited(cell: str) -> tuple[str, bool]:
    """A value without its suffix, and whether it is another object's: ``AUTO (Category)``."""
    match = re.fullmatch(r"(.*?)\s*\((?:[Cc]ategory|[Dd]efault|[Pp]artition)\b[^)]*\)", cell)
    return (match[1], True) if match else (cell, False)
