"""add, clone, assign, unassign, remove: objects come and go."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.instances import SINGLE
from pipeline.lab.head.kinds import ROLES
from pipeline.lab.head.objects import Object, blank
from pipeline.lab.head.session import Call, Draft, Session, Verb
from pipeline.lab.head.values import ADDRESS, NAME
from pipeline.lab.head.verbs.options import options
from pipeline.lab.head.verbs.places import only
from pipeline.lab.head.wordings import EXISTS, VALUE


def _add(session: Session, call: Call) -> None:
    kind, words = session.level.kind, list(call.words)
    if session.level.mode in ("roles", SINGLE):
        raise CommandError(f"Command not found: {call.verb}")
    type_ = kind.title
    if kind.types:
        if not words or words[0] not in kind.types:
            raise CommandError(f"add: the type should be one of {', '.join(kind.types)}")
        type_ = kind.types[words.pop(0)]
    address = words.pop() if len(words) == 2 and kind.types and ADDRESS.fullmatch(words[1]) else ""
    name = only(call._replace(words=words))
    one = blank(type_)
    if address and session.level.mode == "interfaces":
        one["values"]["ip"] = address
    elif address:
        boot = blank("physical")
        boot["values"]["ip"] = address
        one["sub"]["interfaces"] = {"BOOTIF": boot}
    if session.level.mode == "softwareimage":
        one["values"]["path"] = f"/cm/images/{name}"
    insert(session, name, one)


def _clone(session: Session, call: Call) -> None:
    if len(call.words) != 2 or session.level.mode in ("roles", SINGLE):
        raise CommandError("clone: takes two names")
    copied(session, session.alias(call.words[0]), call.words[1])


def copied(session: Session, source: str, name: str) -> None:
    """Make ``name`` like ``source``, and use it."""
    there = session.find(source)
    if there is None:
        raise session.unknown(session.level.kind.title, source)
    one = copy.deepcopy(there)
    if session.level.mode == "device":
        one["values"].pop("mac", None)
        for interface in one["sub"].get("interfaces", {}).values():
            interface["values"].pop("ip", None)
    tree = ""
    if session.level.mode == "softwareimage":
        tree = str(there["values"].get("path", ""))
        one["values"]["path"] = f"/cm/images/{name}"
        one["values"].pop("locked", None)
    insert(session, name, one, tree)


def insert(session: Session, name: str, one: Object, tree: str = "") -> None:
    """Put a new object into this mode and use it. Raises ``CommandError`` for a bad name too."""
    title = session.level.kind.title
    if not NAME.fullmatch(name):
        raise CommandError(VALUE[session.switches.wording].format(name="name", value=name))
    level = session.level
    if session.find(name) is not None:
        raise CommandError(EXISTS[session.switches.wording].format(kind=title, name=name))
    if len(session.levels) == 1:
        gone = session.drafts.get((level.mode, name))
        session.drafts[(level.mode, name)] = Draft(gone.base if gone else None, one, tree)
    else:
        session.container()[name] = one
    session.levels = [*session.levels[:-1], level._replace(name=name)]


def _assign(session: Session, call: Call) -> None:
    _in_roles(session, call)
    name = only(call)
    if name not in ROLES:
        raise session.unknown("Role", name)
    insert(session, name, blank(ROLES[name]))


def _unassign(session: Session, call: Call) -> None:
    _in_roles(session, call)
    _take_out(session, only(call) if call.words else session.level.name)


def _in_roles(session: Session, call: Call) -> None:
    if session.level.mode != "roles":
        raise CommandError(f"Command not found: {call.verb}")


def _remove(session: Session, call: Call) -> None:
    found, rest = options(call, "", "d")
    if "d" in found and session.level.mode != "softwareimage":
        raise CommandError("Illegal option: d")
    if session.level.mode in ("roles", SINGLE):
        raise CommandError("Command not found: remove")
    name = session.alias(only(call._replace(words=rest))) if rest else session.level.name
    one = session.find(name) if name else None
    if one is None:
        raise session.unknown(session.level.kind.title, name)
    if one["type"] == "HeadNode":
        raise CommandError("The head node can't be removed")
    if len(session.levels) > 1:
        _take_out(session, name)
        return
    key = (session.level.mode, name)
    draft = session.drafts.get(key) or Draft(session.store.state["objects"][key[0]].get(name), None)
    draft.now, draft.delete_data = None, "d" in found
    session.drafts[key] = draft
    if draft.base is None:
        del session.drafts[key]
    session.levels = [session.level._replace(name="")]


def _take_out(session: Session, name: str) -> None:
    if not name or session.find(name) is None:
        raise session.unknown(session.level.kind.title, name)
    del session.container()[name]
    session.levels = [*session.levels[:-1], session.level._replace(name="")]


VERBS: Mapping[str, Verb] = {
    "add": _add,
    "clone": _clone,
    "assign": _assign,
    "unassign": _unassign,
    "remove": _remove,
}
