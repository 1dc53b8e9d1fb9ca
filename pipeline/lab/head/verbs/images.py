"""What only software images have: locks, ramdisks, revisions, provisioning."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from pipeline.lab.head import effects
from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.objects import Object
from pipeline.lab.head.output import Column, table
from pipeline.lab.head.session import Call, Session, Verb, head_name
from pipeline.lab.head.verbs.options import options
from pipeline.lab.head.verbs.places import none
from pipeline.lab.head.verbs.selection import LETTERS, selected


def _lock(session: Session, call: Call) -> None:
    name, one = _image(session, call)
    if bool(one["values"].get("locked")) == (call.verb == "lock"):
        raise CommandError(f"{name} is {'already' if call.verb == 'lock' else 'not'} locked")
    with session.store.changing() as state:
        values = state["objects"]["softwareimage"][name]["values"]
        if call.verb == "lock":
            values["locked"] = True
        else:
            values.pop("locked", None)
        session.store.touch()


def _islocked(session: Session, call: Call) -> None:
    names = [_image(session, call)[0]] if call.words or session.level.name else session.names()
    images = session.store.state["objects"]["softwareimage"]
    rows = [(name, "yes" if images[name]["values"].get("locked") else "no") for name in names]
    table(session.out, (Column("Name", 32), Column("Locked", 8)), rows)


def _createramdisk(session: Session, call: Call) -> None:
    name, _ = _image(session, call)
    if name in session.store.state["copying"]:
        raise CommandError(f"{name} is being copied")
    session.store.record(image=name, action="createramdisk")
    session.out.event(
        head_name(session.store), f"Initial ramdisk for image {name} was generated successfully"
    )


def _updateprovisioners(session: Session, call: Call) -> None:
    names = [_image(session, call)[0]] if call.words else session.names()
    for name in names:
        session.store.record(image=name, action="updateprovisioners")
    session.out.event(head_name(session.store), f"Provisioning started: sending {', '.join(names)}")


def _provisioningstatus(session: Session, call: Call) -> None:
    none(call)
    copying = session.store.state["copying"]
    session.out.line(
        "Provisioning subsystem status:   " + ("busy" if copying else "idle, accepting requests")
    )
    for name, what in copying.items():
        session.out.line(f"  copying {what['source']} -> {what['path']} (image {name})")


def _imageupdate(session: Session, call: Call) -> None:
    """Without ``-w`` it's a dry run."""
    found, rest = options(call, LETTERS, "w")
    really = found.pop("w", None) is not None
    if session.level.mode != "device" or rest:
        raise CommandError("imageupdate: not here")
    for name in selected(session, found) if found else [session.level.name]:
        session.store.record(node=name, action="imageupdate" if really else "imageupdate dry run")
        session.out.line(f"Performing {'' if really else 'dry '}run (use synclog command to see the log)")


def _newrevision(session: Session, call: Call) -> None:
    """The tree becomes the image ``IMAGE@N``, in ``IMAGE's path-N``."""
    if len(call.words) != 2:
        raise CommandError("newrevision: takes an image and a text")
    name, one = _image(session, call._replace(words=call.words[:1]))
    number = 1 + sum(other.startswith(f"{name}@") for other in session.names())
    path = str(one["values"]["path"])
    revision = copy.deepcopy(one)
    revision["values"].update(
        {"path": f"{path}-{number}", "parentsoftwareimage": name, "notes": call.words[1]}
    )
    with session.store.changing() as state:
        state["objects"]["softwareimage"][f"{name}@{number}"] = revision
        session.store.touch()
    effects.copy_image(session, f"{name}@{number}", path, f"{path}-{number}", wait=True)


def _revisions(session: Session, call: Call) -> None:
    name, _ = _image(session, call)
    names = [other for other in session.names() if other.startswith(f"{name}@")]
    images = session.store.state["objects"]["softwareimage"]
    rows = [(other, str(images[other]["values"].get("notes", ""))) for other in names]
    table(session.out, (Column("Revision", 32), Column("Description", 48)), rows)


def _setparent(session: Session, call: Call) -> None:
    if len(call.words) != 2:
        raise CommandError("setparent: takes two images")
    name, _ = _image(session, call._replace(words=call.words[:1]))
    session.need("softwareimage", call.words[1])
    with session.store.changing() as state:
        state["objects"]["softwareimage"][name]["values"]["parentsoftwareimage"] = call.words[1]
        session.store.touch()


def _image(session: Session, call: Call) -> tuple[str, Object]:
    """The image that is named or in use. Raises ``CommandError`` for one that is not committed."""
    if session.level.mode != "softwareimage":
        raise CommandError(f"Command not found: {call.verb}")
    if len(call.words) > 1:
        raise CommandError(f"{call.verb}: too many arguments")
    name = call.words[0] if call.words else session.level.name
    one = session.store.state["objects"]["softwareimage"].get(name)
    if one is None:
        raise session.unknown("SoftwareImage", name)
    return name, one


VERBS: Mapping[str, Verb] = {
    "lock": _lock,
    "unlock": _lock,
    "islocked": _islocked,
    "createramdisk": _createramdisk,
    "updateprovisioners": _updateprovisioners,
    "provisioningstatus": _provisioningstatus,
    "imageupdate": _imageupdate,
    "newrevision": _newrevision,
    "revisions": _revisions,
    "setparent": _setparent,
}
