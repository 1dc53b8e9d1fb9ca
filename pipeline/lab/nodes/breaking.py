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

Word = TypeVar("Word", bound=str)

HEAD = "head"
OF_HEAD = ("dead", "none")


def put(home: Path, words: Sequence[str]) -> None:
    """``words`` are who and what. Raises ``UsageError`` with what is known."""
    if len(words) != 2:
        raise UsageError(
            f"lab fault takes two words, got {len(words)}",
            hint=f"who (a node, {HEAD}) and what ({', '.join(faults.FAULTS)}; {HEAD}: {', '.join(OF_HEAD)})",
            command="pipeline lab fault node002 never-returns",
        )
    who, what = words
    if who == HEAD:
        _choose(what, OF_HEAD)
        head = str(home / "head")
        write_faults(head, read_faults(head)._replace(unreachable=True) if what == "dead" else Faults())
        return
    names = wishes.known(Store(str(home / "head")).state)
    _choose(who, (*names, HEAD), "node")
    faults.put(home / "nodes", who, _choose(what, faults.FAULTS))


def _choose(word: str, known: Sequence[Word], kind: str = "fault") -> Word:
    for one in known:
        if one == word:
            return one
    near = difflib.get_close_matches(word, known, 1)
    listed = ", ".join(known) if len(known) < 9 else f"{known[0]} … {known[-1]}"
    raise UsageError(
        f"there is no {kind} {word!r}", hint=f"did you mean {near[0]}?" if near else f"it is one of {listed}"
    )
