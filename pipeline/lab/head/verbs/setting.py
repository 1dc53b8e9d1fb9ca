"""set, clear, append, removefrom: properties of an object."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.kinds import KINDS, Property
from pipeline.lab.head.objects import Object, Value
from pipeline.lab.head.session import Call, Session, Verb
from pipeline.lab.head.values import stored, typed
from pipeline.lab.head.verbs.reading import subject


def _set(session: Session, call: Call) -> None:
    one, prop, words = _place(session, call)
    value = typed(prop, words, session.switches.wording, session.store.root)
    _must_exist(session, prop, value)
    stored(one(), prop, value)


def _clear(session: Session, call: Call) -> None:
    one, prop, words = _place(session, call)
    if words:
        raise CommandError("clear: too many arguments")
    one()["values"].pop(prop.name, None)


def _append(session: Session, call: Call) -> None:
    """Text is put behind the text, exactly; a list gets members behind its own."""
    one, prop, words = _place(session, call)
    if not words:
        raise CommandError("append: missing argument")
    old = one()["values"].get(prop.name, prop.default)
    if isinstance(old, list):
        stored(one(), prop, [*old, *words])
    elif prop.type == "text" and len(words) == 1:
        stored(one(), prop, f"{old}{words[0]}")
    else:
        raise CommandError(f"append: {prop.name} can't be appended to")


def _removefrom(session: Session, call: Call) -> None:
    one, prop, words = _place(session, call)
    old = one()["values"].get(prop.name, prop.default)
    if not isinstance(old, list):
        raise CommandError(f"removefrom: {prop.name} is no list")
    absent = [word for word in words if word not in old]
    if absent or not words:
        raise CommandError(f"removefrom: not in {prop.name}: {' '.join(absent)}")
    stored(one(), prop, [member for member in old if member not in words])


class _Editable:
    """The object to be changed; only when it's called is there a draft of it."""

    def __init__(self, session: Session, name: str) -> None:
        self.session = session
        self.name = name

    def __call__(self) -> Object:
        level = self.session.level._replace(name=self.name)
        with self.session.at([*self.session.levels[:-1], level]):
            return self.session.editable()


def _place(session: Session, call: Call) -> tuple[_Editable, Property, list[str]]:
    name, words = subject(session, call.words)
    if not words:
        raise CommandError(f"{call.verb}: missing argument")
    one = session.find(name)
    assert one is not None
    prop = session.property(words[0], one)
    if prop.type in ("computed", "name"):
        raise CommandError(f"{prop.name} can't be changed")
    return _Editable(session, name), prop, words[1:]


def _must_exist(session: Session, prop: Property, value: Value) -> None:
    if not prop.to or not value or session.switches.references != "set":
        return
    if session.top(prop.to, str(value)) is None:
        raise session.unknown(KINDS[prop.to].title, str(value))


VERBS: Mapping[str, Verb] = {"set": _set, "clear": _clear, "append": _append, "removefrom": _removefrom}
