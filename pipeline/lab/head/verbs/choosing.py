"""foreach: the same commands for many objects."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.lab.head.errors import CommandError, Quit
from pipeline.lab.head.nodes import expand
from pipeline.lab.head.session import Call, Session, Verb
from pipeline.lab.head.verbs.making import copied
from pipeline.lab.head.verbs.options import options
from pipeline.lab.head.verbs.selection import LETTERS, selected


class Stop(Quit):
    """An error under ``-q``, or the connection was lost: the session ends."""


def _foreach(session: Session, call: Call) -> None:
    if call.block is None:
        raise CommandError("foreach: missing ( … )")
    on_devices = session.level.mode == "device" and len(session.levels) == 1
    found, rest = options(call, f"o{LETTERS if on_devices else ''}", "q")
    quits = "q" in found
    found.pop("q", None)
    source = found.pop("o", "")
    here = [*session.levels[:-1], session.level._replace(name="")]
    with session.at(here), session.store.changing():
        names = _names(session, found, rest, may_be_new=bool(source), quits=quits)
        for name in names:
            session.levels = list(here)
            if source and session.find(name) is None:
                copied(session, session.alias(source), name)
            session.levels = [*here[:-1], here[-1]._replace(name=name)]
            for command in call.block:
                if not session.attempt(command) or session.lost:
                    raise Stop


def _names(
    session: Session, found: dict[str, str], rest: list[str], *, may_be_new: bool, quits: bool
) -> list[str]:
    if found and not may_be_new:
        before, session.quit_on_error = session.quit_on_error, session.quit_on_error or quits
        try:
            return selected(session, found)
        finally:
            session.quit_on_error = before
    if may_be_new and "n" in found:
        return list(expand(found["n"], lambda path: ""))
    if not rest:
        raise CommandError("foreach: no objects given")
    return _matching(session, rest, may_be_new=may_be_new, quits=quits)


def _matching(session: Session, words: list[str], *, may_be_new: bool, quits: bool) -> list[str]:
    """Names, and patterns of names."""
    from fnmatch import fnmatchcase

    there = session.names()
    names: dict[str, None] = {}
    for word in words:
        if "*" in word or "?" in word:
            names.update(dict.fromkeys(name for name in there if fnmatchcase(name, word)))
        elif may_be_new or session.alias(word) in there:
            names[session.alias(word)] = None
        elif quits:
            raise session.unknown(session.level.kind.title, word)
        elif not session.refuse(str(session.unknown(session.level.kind.title, word))):
            raise Stop
    return list(names)


VERBS: Mapping[str, Verb] = {"foreach": _foreach}
