"""Services of a device are started and stopped, devices rebooted."""

from __future__ import annotations

import time
from collections.abc import Mapping

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.objects import Object
from pipeline.lab.head.session import Call, Session, Verb, head_name
from pipeline.lab.head.verbs.options import options
from pipeline.lab.head.verbs.places import only
from pipeline.lab.head.verbs.reading import device_of
from pipeline.lab.head.verbs.selection import LETTERS, selected

DONE = {"start": "started", "stop": "stopped", "restart": "restarted"}


def _service(session: Session, call: Call) -> None:
    if session.level.mode != "services":
        raise CommandError(f"Command not found: {call.verb}")
    device = device_of(session)
    name = only(call) if call.words or not session.level.name else session.level.name
    if session.find(name) is None:
        raise session.unknown("Service", name)
    set_running(session, device, name, call.verb)


def set_running(session: Session, device: str, service: str, verb: str) -> None:
    """Start, stop or restart, leave a record, and say so as an event."""
    with session.store.changing() as state:
        state["running"].setdefault(device, {})[service] = (
            verb != "stop" and service not in session.faults.dead_services
        )
        session.store.touch()
    session.store.record(node=device, service=service, action=verb)
    session.out.event(device, f"Service {service} was {DONE[verb]}")


def _reboot(session: Session, call: Call) -> None:
    found, rest = options(call, LETTERS)
    if session.level.mode != "device":
        raise CommandError("Command not found: reboot")
    if rest:
        found["n"] = ",".join(rest)
    if not found and not session.level.name:
        raise CommandError("reboot: no devices given")
    for name in selected(session, found) if found else [session.level.name]:
        _reboot_one(session, name)


def _reboot_one(session: Session, name: str) -> None:
    """The next install mode is for one install, and is gone after it."""
    with session.store.changing() as state:
        one: Object = state["objects"]["device"][name]
        mode = str(one["values"].pop("nextinstallmode", ""))
        state["status"][name] = {"state": "BOOTING", "since": time.time()}
        session.store.touch()
    session.store.record(node=name, action="reboot", install=mode)
    session.out.line(f"Reboot in progress for: {name}")
    session.out.event(head_name(session.store), f"{name} [  DOWN  ]")


VERBS: Mapping[str, Verb] = {"start": _service, "stop": _service, "restart": _service, "reboot": _reboot}
