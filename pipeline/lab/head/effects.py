"""What the daemon does once a change is committed."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from typing import IO

from pipeline.lab.head.files import write_head_files
from pipeline.lab.head.objects import Object
from pipeline.lab.head.power import RESTART
from pipeline.lab.head.session import Draft, Session, head_name
from pipeline.lab.head.state import Store
from pipeline.lab.head.switches import read_switches

NEED_RESTART = ("category", "softwareimage", "kernelparameters")
"""A node restarts to have another one of these."""


def removed(session: Session, mode: str, name: str, draft: Draft) -> None:
    import shutil  # slow

    if mode == "softwareimage" and draft.delete_data and draft.base:
        shutil.rmtree(f"{session.store.root}{draft.base['values']['path']}", ignore_errors=True)


def committed(session: Session, mode: str, name: str, base: Object | None, now: Object) -> None:
    """``base`` is what the object was."""
    if any((base or now)["values"].get(one) != now["values"].get(one) for one in NEED_RESTART):
        for device in _devices_of(session, mode, name):
            remarks = session.store.state["status"].setdefault(device, {}).setdefault("remarks", [])
            if RESTART not in remarks:
                remarks.append(RESTART)
    head = head_name(session.store)
    if mode == "device" and name == head:
        write_head_files(session.store, now, session.switches.release == "new")


def _devices_of(session: Session, mode: str, name: str) -> list[str]:
    devices = session.store.state["objects"]["device"]
    categories = session.store.state["objects"]["category"]
    if mode == "device":
        return [name]
    if mode == "category":
        return [device for device, one in devices.items() if one["values"].get("category") == name]
    if mode != "softwareimage":
        return []
    using = {category for category, one in categories.items() if one["values"].get("softwareimage") == name}
    return [
        device
        for device, one in devices.items()
        if one["values"].get("softwareimage", "") == name
        or (not one["values"].get("softwareimage") and one["values"].get("category") in using)
    ]


def copy_image(session: Session, name: str, source: str, target: str, *, wait: bool) -> None:
    """Copy an image's tree; a directory that is there already is taken as it is. Another process does it, for
    which ``wait`` waits, and the image stands in the state's ``copying`` until then."""
    store = session.store
    head = head_name(store)
    there = os.path.isdir(f"{store.root}{target}")
    if there and not session.faults.copying_over:
        return
    alive = _alive(store, name)
    fcntl.flock(alive, fcntl.LOCK_EX)
    with store.changing() as state:
        state["copying"][name] = {"source": source, "path": target, **({"over": "yes"} if there else {})}
        store.touch()
    session.out.event(head, f"Started to copy: {source} -> {target}")
    if session.faults.failing_copies:
        with store.changing() as state:
            del state["copying"][name]
            store.touch()
        session.out.event(head, f"Failed to copy: {source} -> {target}")
        alive.close()
        return
    if not wait:
        session.after.append(lambda: _in_background(store.directory, name, source, target, alive))
        return
    _, status = os.waitpid(_in_background(store.directory, name, source, target, alive), 0)
    if status:
        session.out.event(head, f"Failed to copy: {source} -> {target}")
        return
    session.out.event(head, f"Copied: {source} -> {target}")
    session.out.event(head, f"Initial ramdisk for image {name} was generated successfully")


def end_dead_copies(store: Store) -> None:
    """Undo copies whose process is no more: the machine was switched off, or somebody killed it."""
    import shutil

    if not any(_is_dead(store, name) for name in store.state["copying"]):
        return
    with store.changing() as state:
        for name in [name for name in state["copying"] if _is_dead(store, name)]:
            what = state["copying"].pop(name)
            if "over" not in what:
                shutil.rmtree(f"{store.root}{what['path']}", ignore_errors=True)
        store.touch()


def _alive(store: Store, name: str) -> IO[str]:
    """What is locked as long as a process copies the image ``name``, or is about to."""
    return open(f"{store.directory}/copying-{name}.lock", "a")


def _is_dead(store: Store, name: str) -> bool:
    with _alive(store, name) as alive:
        try:
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _in_background(directory: str, name: str, source: str, target: str, alive: IO[str]) -> int:
    """Copy in a process that nobody's end ends, and that keeps ``alive`` locked; returns its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    if child := os.fork():
        alive.close()
        return child
    status = 1
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        _copy(Store(directory), name, source, target)
        status = 0
    finally:
        # The parent's buffers and handlers are not this one's.
        os._exit(status)


def _copy(store: Store, name: str, source: str, target: str) -> None:
    import shutil

    begun = time.monotonic()
    while time.monotonic() - begun < read_switches(store.directory).copy_seconds:
        time.sleep(0.02)
    shutil.copytree(f"{store.root}{source}", f"{store.root}{target}", symlinks=True, dirs_exist_ok=True)
    with store.changing() as state:
        state["copying"].pop(name, None)
        store.touch()
