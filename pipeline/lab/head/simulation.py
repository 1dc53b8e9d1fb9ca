"""Nodes that nobody runs: they boot, are installed and come up as time goes by, whenever somebody looks."""

from __future__ import annotations

import time

from pipeline.lab.head.power import SYNCS, Install, StateWord, install_of, is_run, note_install, set_status
from pipeline.lab.head.state import State, Store
from pipeline.lab.head.switches import Faults, Switches

STEPS: tuple[tuple[float, StateWord, str], ...] = (
    (0.05, "INSTALLING", "checking disks"),
    (0.1, "INSTALLING", "recreating partitions and filesystems"),
    (0.15, "INSTALLING", "waiting for {mode} provisioning to start"),
    (0.8, "INSTALLING", "provisioning started"),
    (0.9, "INSTALLING", "provisioning complete"),
    (1.0, "INSTALLER_CALLINGINIT", "switching to local root"),
)
"""Until which part of the install's time a node shows what."""

COPIED = 0.8
"""The part of its time after which the copying has ended."""


def begin(store: Store, node: str, switches: Switches, faults: Faults) -> None:
    """Let ``node`` boot from now on; ``store`` is being changed."""
    store.state["motion"][node] = {"since": time.time()}
    set_status(store.state, node, "BOOTING")
    _move(store, node, switches, faults, time.time())
    store.touch()


def settle(store: Store, switches: Switches, faults: Faults) -> None:
    """Bring all that are in motion to where they are by now."""
    if not store.state["motion"]:
        return
    with store.changing() as now:
        for node in list(now["motion"]):
            if is_run(now, node) or node not in now["objects"]["device"]:
                del now["motion"][node]
            else:
                _move(store, node, switches, faults, time.time())
        store.touch()


def _move(store: Store, node: str, switches: Switches, faults: Faults, clock: float) -> None:
    now = store.state
    motion = now["motion"][node]
    if node in faults.never_return:
        _rest(now, node, "DOWN")
        return
    begins = motion["since"] + switches.boot_seconds
    if clock < begins:
        return
    install = install_of(now, node, store.root)
    if waiting := _held(install):
        motion["since"] = clock - switches.boot_seconds
        set_status(now, node, "INSTALLING", waiting)
    elif node in faults.failing_installs:
        note_install(now, node, False, install.mode, install.image, clock)
        _rest(now, node, "INSTALLER_FAILED", "provisioning failed")
    elif clock < begins + switches.install_seconds:
        _show(now, node, install, (clock - begins) / switches.install_seconds)
    else:
        if install.mode in SYNCS:
            ended = begins + COPIED * switches.install_seconds
            note_install(now, node, True, install.mode, install.image, ended)
        now["objects"]["device"][node]["values"].pop("nextinstallmode", None)
        _rest(now, node, "UP")


def _held(install: Install) -> str:
    """What keeps an install from beginning."""
    if install.waits:
        return "waiting for confirmation of FULL provisioning"
    if install.is_locked and install.mode in SYNCS:
        return f"waiting for {install.mode} provisioning to start"
    return ""


def _show(now: State, node: str, install: Install, part: float) -> None:
    state, message = next((state, message) for until, state, message in STEPS if part < until)
    set_status(now, node, state, message.format(mode=install.mode))


def _rest(now: State, node: str, state: StateWord, message: str = "") -> None:
    del now["motion"][node]
    set_status(now, node, state, message)
