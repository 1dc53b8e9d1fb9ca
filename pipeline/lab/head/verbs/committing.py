"""commit, validate, modified, refresh: from a session's drafts to the state."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from pipeline.lab.head import effects
from pipeline.lab.head.errors import CommandError, DisconnectedError
from pipeline.lab.head.kinds import KINDS
from pipeline.lab.head.objects import merged
from pipeline.lab.head.output import Column, table
from pipeline.lab.head.session import Call, Draft, Session, Verb
from pipeline.lab.head.switches import keep_faults, read_faults
from pipeline.lab.head.validation import Wrong, wrong_with
from pipeline.lab.head.verbs.options import options
from pipeline.lab.head.verbs.places import only
from pipeline.lab.head.verbs.reading import users

PLURALS = {"Category": "Categories"}
COLUMNS = (Column("Code", 5), Column("Field", 24), Column("Message", 120))

Key = tuple[str, str]


def _commit(session: Session, call: Call) -> None:
    words = ["-w" if word == "--wait" else word for word in call.words]
    found, rest = options(call._replace(words=words), "", "w")
    keys = _meant(session, rest)
    _check_all(session, keys)
    done: list[str] = []
    for key in keys:
        done.append(KINDS[key[0]].title)
        _write(session, key, session.drafts.pop(key), wait="w" in found)
    if session.switches.commit == "counted" and done:
        title = done[0] if len(done) == 1 else PLURALS.get(done[0], f"{done[0]}s")
        session.out.line(f"Successfully committed {len(done)} {title}")


def _meant(session: Session, words: Sequence[str]) -> list[Key]:
    """The drafts that a command is about: of the object in use or named, or all of the mode."""
    mode = session.levels[0].mode if session.levels else ""
    name = session.levels[0].name if session.levels else ""
    if words:
        if len(words) > 1 or not mode:
            raise CommandError("Too many arguments")
        name = session.alias(words[0])
        if (mode, name) not in session.drafts:
            session.need(mode, name)
    if name and (mode, name) in session.drafts:
        return [(mode, name)]
    return [] if name else [key for key in session.drafts if not mode or key[0] == mode]


def _check_all(session: Session, keys: Sequence[Key]) -> None:
    """Raises ``CommandError`` when the daemon would not take one of them; then none is written."""
    rows = [row for key in keys for row in _wrong(session, key)]
    if rows:
        table(session.out, COLUMNS, [(str(one.code), one.field, one.message) for one in rows])
        raise CommandError("Commit failed" if session.switches.wording != "plain" else "Validation failed")


def _wrong(session: Session, key: Key) -> list[Wrong]:
    draft = session.drafts[key]
    if draft.now is not None:
        return wrong_with(session, *key, draft.now)
    return [
        Wrong(4, prop, f"The {KINDS[key[0]].title.lower()} is used by {kind} {name}")
        for kind, name, prop in users(session, *key)
    ]


def _write(session: Session, key: Key, draft: Draft, *, wait: bool) -> None:
    mode, name = key
    with session.store.changing() as state:
        objects = state["objects"][mode]
        session.store.touch()
        if draft.now is None:
            objects.pop(name, None)
            effects.removed(session, mode, name, draft)
        else:
            objects[name] = merged(draft.base, draft.now, objects.get(name))
            effects.committed(session, mode, name, draft.base, objects[name])
    if draft.source and draft.now is not None:
        effects.copy_image(session, name, draft.source, str(draft.now["values"]["path"]), wait=wait)
    _count(session)


def _count(session: Session) -> None:
    """Die, when this is the commit after which tests want it."""
    if session.faults.die_after_commits is None:
        return
    faults = read_faults(session.store.directory)
    left = (faults.die_after_commits or 0) - 1
    dies = left <= 0
    keep_faults(
        session.store.directory,
        faults._replace(die_after_commits=None if dies else left, unreachable=faults.unreachable or dies),
    )
    if dies:
        raise DisconnectedError


def _validate(session: Session, call: Call) -> None:
    keys = _meant(session, call.words)
    if not keys and session.level.name:
        name = session.levels[0].name
        one = session.need(session.levels[0].mode, name)
        session.drafts[session.levels[0].mode, name] = Draft(one, copy.deepcopy(one))
        keys = [(session.levels[0].mode, name)]
    _check_all(session, keys)
    session.out.line("All good")


def _modified(session: Session, call: Call) -> None:
    found, _ = options(call, "", "a")
    mode = session.levels[0].mode if session.levels and "a" not in found else ""
    rows = [
        (_state(draft), KINDS[of].title, name)
        for (of, name), draft in session.drafts.items()
        if (not mode or of == mode) and draft.base != draft.now
    ]
    if rows:
        table(session.out, (Column("State", 6), Column("Type", 24), Column("Name", 24)), rows)
    else:
        session.out.line(f"No modified objects of type {mode}" if mode else "No modified objects")


def _state(draft: Draft) -> str:
    return "+" if draft.base is None else "-" if draft.now is None else ""


def _refresh(session: Session, call: Call) -> None:
    name = session.alias(only(call)) if call.words else session.levels[0].name if session.levels else ""
    mode = session.levels[0].mode if session.levels else ""
    for key in list(session.drafts):
        if (not mode or key[0] == mode) and (not name or key[1] == name):
            del session.drafts[key]
    session.store.reload()
    if name and session.top(mode, name) is None:
        session.levels = [session.levels[0]._replace(name="")]


VERBS: Mapping[str, Verb] = {
    "commit": _commit,
    "validate": _validate,
    "modified": _modified,
    "refresh": _refresh,
}
