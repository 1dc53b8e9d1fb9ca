"""Reading: what is asked of cmsh goes into a few files of commands, whatever the number of nodes."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from pipeline.cluster.drivers.bright.parse import (
    STATUS,
    Answer,
    Row,
    UnexpectedError,
    plain,
    refusals,
    troubles,
)
from pipeline.cluster.drivers.bright.quote import argument
from pipeline.cluster.drivers.bright.ranges import folded
from pipeline.cluster.drivers.bright.session import Session
from pipeline.cluster.drivers.bright.words import WIDTHS, key
from pipeline.cluster.head import Ran
from pipeline.errors import MachineError, PipelineError

DEFAULT_WIDTH = 64

HEAD_NAME = "master"
"""What ``use`` takes for the active head node, whatever its name is (the seed). Lists of nodes may not."""

T = TypeVar("T")


class List(msgspec.Struct, frozen=True):
    """All objects of a mode, or with ``owners`` those in a submode of each of these."""

    mode: str
    columns: tuple[str, ...]
    submode: str = ""
    owners: tuple[str, ...] = ()


Tables = Mapping[str, Sequence[Row]]
"""Rows by the owner's name; of a mode's own list under ``""``."""


def over(mode: str, names: Sequence[str], block: Iterable[str]) -> str:
    """A foreach over objects of ``mode``: ``block`` is done in each, one after the other."""
    which = f"-n {folded(names)}" if mode == "device" else " ".join(map(argument, names))
    return f"foreach {which} ({'; '.join(block)})"


def inside(mode: str, names: Sequence[str], block: Iterable[str]) -> list[str]:
    """Commands that do ``block`` in each of these objects; each prints its name first, but for the head."""
    if tuple(names) == (HEAD_NAME,):
        return ["home", mode, f"use {HEAD_NAME}", *block]
    return ["home", mode, over(mode, names, [f"get {key(mode)}", *block])]


def tables(session: Session, lists: Sequence[List]) -> list[Tables]:
    """What each of ``lists`` has, in one call; where JSON isn't known, in padded tables by another one."""
    lists_left = [one for one in lists if not one.submode or one.owners]
    if not lists_left:
        return [{} for _ in lists]
    if session.speaks_json is not False:
        try:
            found = _tables(session, lists_left, as_json=True)
            session.speaks_json = True
        except PipelineError:
            if session.speaks_json:
                raise
            found = _tables(session, lists_left, as_json=False)
            session.speaks_json = False
    else:
        found = _tables(session, lists_left, as_json=False)
    answers = iter(found)
    return [next(answers) if not one.submode or one.owners else {} for one in lists]


def _tables(session: Session, lists: Sequence[List], *, as_json: bool) -> list[Tables]:
    everyone = frozenset(name for one in lists for name in one.owners)

    def taken(answer: Answer) -> list[Tables]:
        return [_take(answer, one, everyone) for one in lists]

    commands = [line for one in lists for line in _asked(one, as_json=as_json)]
    return ask(session, commands, taken, as_json=as_json)


def _asked(one: List, *, as_json: bool) -> list[str]:
    if as_json:
        listing = f"list -f {','.join(one.columns)} -d {{}}"
    else:
        widths = (f"{name}:{WIDTHS.get(name, DEFAULT_WIDTH)}" for name in one.columns)
        listing = f"list -f {','.join(widths)}"
    if not one.submode:
        return ["home", one.mode, listing]
    return inside(one.mode, one.owners, (one.submode, listing))


def _take(answer: Answer, one: List, everyone: frozenset[str]) -> Tables:
    if not one.submode:
        return {"": answer.table(one.columns)}
    if one.owners == (HEAD_NAME,):
        return {HEAD_NAME: answer.table(one.columns, everyone)}
    waiting = set(one.owners)
    found: dict[str, list[Row]] = {}
    while waiting:
        name = answer.name(waiting)
        waiting.discard(name)
        found[name] = answer.table(one.columns, everyone)
    return found


LAST = List("softwareimage", ("name",))
"""What every file of commands asks at its end: there are images, so an answer without them was cut short."""


END = re.compile(r"^name(?: \(key\))?\s*\n-{2,}\s*\n\s*\S", re.MULTILINE | re.IGNORECASE)
"""It in a padded table, with an image."""

BY_SIGNAL = 128
"""A shell's exit code of a program that was killed, and those above: that is no answer."""


class CutError(MachineError):
    """The answer came only in part, and nobody says why: nothing is known."""


def ask(session: Session, commands: Sequence[str], taken: Callable[[Answer], T], *, as_json: bool) -> T:
    """Run ``commands`` and take their output; anything that isn't in it, or is over, is an error."""
    typed = "\n".join([*commands, *_asked(LAST, as_json=as_json), ""])
    ran = session.run(typed, seconds=session.head.answer_seconds)
    answer = Answer(ran.out, as_json=as_json)
    try:
        found = taken(answer)
        if not answer.table(LAST.columns) or answer.rest():
            raise UnexpectedError(answer.rest() or "the end of the answer is missing")
    except UnexpectedError as error:
        said = ran.err.strip() or str(error)
        if _is_cut(ran, as_json=as_json):
            raise CutError(
                f"cmsh's answer came only in part: {said[-500:]}", where=session.head.label
            ) from None
        raise PipelineError(
            f"cmsh did not answer as expected: {said[:500]}",
            where=session.head.label,
            hint="nothing was changed",
        ) from None
    if ran.code:
        raise PipelineError(
            f"cmsh ended with exit code {ran.code}: {ran.err.strip() or 'it said nothing'}",
            where=session.head.label,
            hint="nothing was changed",
        )
    return found


def says_no(ran: Ran, lines: Sequence[str]) -> bool:
    """Whether cmsh itself ended it, by what it says in ``lines`` or beside them; else somebody cut it off."""
    killed = signal.strsignal(ran.code - BY_SIGNAL) if 0 < ran.code - BY_SIGNAL < signal.NSIG else None
    # The shell that ran it says on its behalf that it was killed.
    said = [line for line in ran.err.splitlines() if line.strip() and not (killed and killed in line)]
    return bool(said or troubles(lines) or refusals(lines)) or 0 < ran.code < BY_SIGNAL


def _is_cut(ran: Ran, *, as_json: bool) -> bool:
    text = plain(ran.out).rstrip()
    last = text.splitlines()[-1:] if ran.out.endswith("\n") else []
    if says_no(ran, [line for line in last if not STATUS.match(line)]):
        return False
    if as_json:
        return not text or (text[0] == "[" and text[-1] != "]")
    return END.search(text) is None


def reachable(session: Session) -> None:
    """Raise ``MachineError`` when there is no connection now."""
    ask(session, [], lambda answer: None, as_json=False)


def lines_of(answer: Answer, owners: Sequence[str], like: re.Pattern[str]) -> dict[str, list[str]]:
    """What ``inside`` printed for each owner: lines ``like`` that, as many as there are."""
    if tuple(owners) == (HEAD_NAME,):
        answer.take_line()  # the head node's own name
        return {HEAD_NAME: answer.lines(like)}
    waiting = set(owners)
    found: dict[str, list[str]] = {}
    while waiting:
        name = answer.name(waiting)
        waiting.discard(name)
        found[name] = answer.lines(like)
    return found
