"""reboot, power, terminate: devices boot, are switched off, or lose their instance in the cloud.

Unknown, and so a guess: that ``reboot`` refuses a device whose daemon isn't connected, the lines that
``power`` prints, and the verb ``terminate``, of which the seed says only that it has to be done.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.instances import instance, new_instance, no_instance
from pipeline.lab.head.looks import status
from pipeline.lab.head.objects import Object
from pipeline.lab.head.power import is_run, set_status
from pipeline.lab.head.session import Call, Session, Verb, head_name
from pipeline.lab.head.simulation import begin
from pipeline.lab.head.verbs.choosing import Stop
from pipeline.lab.head.verbs.options import options
from pipeline.lab.head.verbs.selection import LETTERS, selected

CONNECTED = ("UP", "CLOSED", "OPENING")
"""States in which the device's daemon can be told to reboot it."""

NO_CONTROL = "none"


def _reboot(session: Session, call: Call) -> None:
    for name in named(session, call):
        shown = status(session, name)
        if name in session.faults.refused_reboots or not any(word in shown for word in CONNECTED):
            _refused(session, f"Reboot failed for: {name}, its status is {shown}")
            continue
        session.out.line(f"Reboot in progress for: {name}")
        _boot(session, name, "reboot")
        session.out.event(head_name(session.store), f"{name} [  DOWN  ]")


def named(session: Session, call: Call) -> list[str]:
    """The devices that a command is about: those that its options or words name, or the one in use."""
    found, rest = options(call, LETTERS)
    if session.level.mode != "device":
        raise CommandError(f"Command not found: {call.verb}")
    if rest:
        found["n"] = ",".join(rest)
    if not found and not session.level.name:
        raise CommandError(f"{call.verb}: no devices given")
    return selected(session, found) if found else [session.level.name]


def _refused(session: Session, why: str) -> None:
    """Say why one of several is not done; under ``-q`` none of the rest is."""
    if not session.refuse(why):
        raise Stop


def _boot(session: Session, name: str, how: str) -> None:
    """Ask whoever runs the node to boot it, or let it be simulated."""
    with session.store.changing() as state:
        state["requests"][name] = state["requests"].get(name, 0) + 1
        state["off"].pop(name, None)
        install = str(state["objects"]["device"][name]["values"].get("nextinstallmode", ""))
        session.store.record(node=name, action=how, install=install)
        if not is_run(state, name):
            begin(session.store, name, session.switches, session.faults)
        session.store.touch()


def _power(session: Session, call: Call) -> None:
    words = [word for word in call.words if word in POWER]
    if len(words) != 1:
        raise CommandError(f"power: one of {', '.join(POWER)}")
    rest = list(call.words)
    rest.remove(words[0])
    for name in named(session, call._replace(words=rest)):
        one = session.need("device", name)
        control = str(one["values"].get("powercontrol", "custom"))
        if control == NO_CONTROL:
            _refused(session, f"{control} ".ljust(21, ".") + f" [{'UNKNOWN':^8}] {name}: no power control")
            continue
        word = POWER[words[0]](session, name, one)
        line = f"{control} ".ljust(21, ".") + f" [{word:^8}] {name}"
        if word == "FAILED":
            _refused(session, f"{line}: not in this power state")
        else:
            session.out.line(line)


def _is_off(session: Session, name: str, one: Object) -> bool:
    gone = one["type"] == "VirtualNode" and not instance(one)
    return gone or name in session.store.state["off"]


def _on(session: Session, name: str, one: Object) -> str:
    """A virtual node gets an instance."""
    if _is_off(session, name, one):
        if one["type"] == "VirtualNode":
            with session.store.changing() as state:
                new_instance(state, name)
                session.store.touch()
        _boot(session, name, "power on")
    return "ON"


def _off(session: Session, name: str, one: Object) -> str:
    with session.store.changing() as state:
        state["off"][name] = True
        state["motion"].pop(name, None)
        session.store.record(node=name, action="power off")
        if not is_run(state, name):
            set_status(state, name, "DOWN")
        session.store.touch()
    return "OFF"


def _reset(session: Session, name: str, one: Object) -> str:
    """What is off can't be reset."""
    if _is_off(session, name, one):
        return "FAILED"
    _boot(session, name, "power reset")
    return "RESET"


def _asked(session: Session, name: str, one: Object) -> str:
    return "OFF" if _is_off(session, name, one) else "ON"


POWER = {"on": _on, "off": _off, "reset": _reset, "status": _asked}


def _terminate(session: Session, call: Call) -> None:
    """End the instances of virtual nodes; they are gone with all that was on them."""
    for name in named(session, call):
        one = session.need("device", name)
        if one["type"] != "VirtualNode":
            _refused(session, f"{name} is no virtual node")
        elif not instance(one):
            _refused(session, f"{name} has no instance")
        else:
            with session.store.changing() as state:
                no_instance(state, name)
                session.store.touch()
            _off(session, name, one)
            session.out.line(f"Terminating: {name}")


VERBS: Mapping[str, Verb] = {"reboot": _reboot, "power": _power, "terminate": _terminate}
