"""``pipeline lab fault``: what is to go wrong with a node, the head node or Ceph, said in two words."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pipeline.errors import UsageError
from pipeline.lab.head.state import Store
from pipeline.lab.head.switches import Faults, read_faults, write_faults
from pipeline.lab.nodes import faults, wishes
from pipeline.lab.services import switches
from pipeline.lab.services.state import FOLDER

Word = TypeVar("Word", bound=str)

HEAD, CEPH = "head", "ceph"
OTHERS = {HEAD: ("dead", "none"), CEPH: ("unhealthy", "never-clean", "none")}
"""Who else than a node, and what: ``dead`` is a daemon that nobody can reach, ``unhealthy`` a HEALTH_WARN
that stays, ``never-clean`` placement groups that no waiting makes clean."""


def put(home: Path, words: Sequence[str]) -> None:
    """``words`` are who and what. Raises ``UsageError`` with what is known."""
    if len(words) != 2:
        raise UsageError(
            f"lab fault takes two words, got {len(words)}",
            hint="; ".join(_usage()),
            command="pipeline lab fault node002 never-returns",
        )
    who, what = words
    head = str(home / "head")
    if who in OTHERS:
        _choose(what, OTHERS[who])
        (_break_head if who == HEAD else _break_ceph)(head, what)
        return
    names = wishes.known(Store(head).state)
    _choose(who, (*names, *OTHERS), "node")
    faults.put(home / "nodes", who, _choose(what, faults.FAULTS))


def _usage() -> list[str]:
    known = {"a node": faults.FAULTS, **OTHERS}
    return [f"{who}: {', '.join(whats)}" for who, whats in known.items()]


def _break_head(head: str, what: str) -> None:
    write_faults(head, read_faults(head)._replace(unreachable=True) if what == "dead" else Faults())


def _break_ceph(head: str, what: str) -> None:
    folder = f"{head}/{FOLDER}"
    health = {"MON_DISK_LOW": "mon head is low on available space"} if what == "unhealthy" else {}
    unclean = 2 if what == "never-clean" else 0
    switches.write(folder, switches.read(folder)._replace(health=health, unclean=unclean))


def _choose(word: str, known: Sequence[Word], kind: str = "fault") -> Word:
    for one in known:
        if one == word:
            return one
    near = difflib.get_close_matches(word, known, 1)
    listed = ", ".join(known) if len(known) < 9 else f"{known[0]} … {known[-1]}"
    raise UsageError(
        f"there is no {kind} {word!r}", hint=f"did you mean {near[0]}?" if near else f"it is one of {listed}"
    )
