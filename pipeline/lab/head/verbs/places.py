"""Going from mode to mode."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.lab.head.errors import CommandError, Quit
from pipeline.lab.head.session import Call, Session, Verb


def _use(session: Session, call: Call) -> None:
    name = session.alias(only(call))
    if session.find(name) is None:
        raise session.unknown(session.level.kind.title, name)
    session.levels = [*session.levels[:-1], session.level._replace(name=name)]


def _exit(session: Session, call: Call) -> None:
    none(call)
    if not session.levels:
        raise Quit
    last = session.level
    leaves = not last.name or last.name == last.mode
    session.levels = session.levels[:-1] if leaves else [*session.levels[:-1], last._replace(name="")]


def _home(session: Session, call: Call) -> None:
    none(call)
    session.levels = []


def _path(session: Session, call: Call) -> None:
    none(call)
    words = [word for level in session.levels for word in (level.mode, level.name) if word]
    session.out.line(f"home;{';'.join(words)}" if words else "home")


def _quit(session: Session, call: Call) -> None:
    none(call)
    raise Quit


def only(call: Call) -> str:
    """The one word behind the verb. Raises ``CommandError``."""
    if len(call.words) != 1:
        raise CommandError(f"{call.verb}: {'too many arguments' if call.words else 'missing argument'}")
    return call.words[0]


def none(call: Call) -> None:
    """Raises ``CommandError`` when there are words behind the verb."""
    if call.words:
        raise CommandError(f"{call.verb}: too many arguments")


VERBS: Mapping[str, Verb] = {
    "use": _use,
    "exit": _exit,
    "..": _exit,
    "home": _home,
    "/": _home,
    "path": _path,
    "quit": _quit,
}
