"""Services of a device are started and stopped."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.session import Call, Session, Verb
from pipeline.lab.head.verbs.places import only
from pipeline.lab.head.verbs.reading import device_of

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


VERBS: Mapping[str, Verb] = {"start": _service, "stop": _service, "restart": _service}
