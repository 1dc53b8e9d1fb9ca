"""syncinfo, synclog: what was provisioned to devices last.

The manual has both commands and shows the output of neither. The switch ``syncinfo`` gives three guesses:
a table with all that is known and times to the millisecond (``table``), one with other headers, dates as
events have them and no install mode (``short``), and a block of lines for each device (``blocks``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.output import Column, delimited, json_list, table
from pipeline.lab.head.session import Call, Session, Verb
from pipeline.lab.head.simulation import settle
from pipeline.lab.head.state import SYNC_LOGS
from pipeline.lab.head.verbs.options import options
from pipeline.lab.head.verbs.powering import named
from pipeline.lab.head.verbs.selection import LETTERS, selected
from pipeline.lab.head.wordings import illegal_option

LABELS = ("hostname (key)", "softwareimage", "mode", "path", "ended", "result")
SHORT = ("Node", "Image", "Last sync", "Status")
WIDTHS: Mapping[tuple[str, ...], tuple[int, ...]] = {LABELS: (64, 64, 6, 64, 24, 8), SHORT: (64, 64, 24, 8)}


def _syncinfo(session: Session, call: Call) -> None:
    if session.level.mode != "device":
        raise CommandError("Command not found: syncinfo")
    found, rest = options(call, f"d{LETTERS}")
    delimiter = found.pop("d", None)
    if delimiter is not None and (
        session.switches.json == "illegal" or session.switches.syncinfo == "blocks"
    ):
        raise CommandError(illegal_option("d"))
    settle(session.store, session.switches, session.faults)
    if rest or session.level.name:
        names = named(session, call._replace(words=[*rest, *(f"-{k}{v}" for k, v in found.items())]))
    else:
        names = selected(session, found)
    syncs = session.store.state["syncs"]
    there = [(name, syncs[name]) for name in names if name in syncs]
    if session.switches.syncinfo == "blocks":
        _blocks(session, there)
        return
    labels, rows = _rows(session, there)
    if delimiter == "{}" and session.switches.json == "yes":
        json_list(session.out, labels, rows)
    elif delimiter is not None:
        delimited(session.out, delimiter, labels, rows)
    else:
        table(session.out, [Column(*one) for one in zip(labels, WIDTHS[labels], strict=True)], rows)


def _rows(
    session: Session, there: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[tuple[str, ...], Sequence[Sequence[str]]]:
    if session.switches.syncinfo == "short":
        return SHORT, [
            (name, str(one["image"]), time.ctime(one["ended"]), "OK" if one["ok"] else "Failed")
            for name, one in there
        ]
    images = session.store.state["objects"]["softwareimage"]
    rows = []
    for name, one in there:
        image = images.get(one["image"])
        path = str(image["values"].get("path", "")) if image else ""
        result = "done" if one["ok"] else "failed"
        rows.append((name, str(one["image"]), str(one["mode"]), path, _iso(one["ended"]), result))
    return LABELS, rows


def _blocks(session: Session, there: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for name, one in there:
        session.out.line(f"{name}:")
        session.out.line(f"  Software image:     {one['image']}")
        session.out.line(f"  Mode:               {one['mode']}")
        session.out.line(f"  End time:           {one['ended']:.3f}")
        session.out.line(f"  Result:             {'success' if one['ok'] else 'failure'}")


def _iso(seconds: float) -> str:
    whole = int(seconds)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.localtime(whole))}.{int((seconds - whole) * 1000):03}"


def _synclog(session: Session, call: Call) -> None:
    for name in named(session, call):
        path = f"{session.store.directory}/{SYNC_LOGS}/{name}"
        if os.path.exists(path):
            with open(path, errors="replace") as file:
                session.out.line(file.read().rstrip("\n"))
        elif name in session.store.state["syncs"]:
            one = session.store.state["syncs"][name]
            session.out.line(f"{one['mode']} provisioning of {name} from {one['image']} (simulated)")
        else:
            raise CommandError(f"No provisioning log for {name}")


VERBS: Mapping[str, Verb] = {"syncinfo": _syncinfo, "synclog": _synclog}
