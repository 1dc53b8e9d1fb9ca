"""The state on disk: one JSON file, replaced by one rename, changed under a lock by one process at a time."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, TypedDict

from pipeline.lab.head.objects import Object, Value

STATE = "state.json"
LOCK = "state.lock"
RECORDS = "records.jsonl"
CALLS = "calls.jsonl"
SYNC_LOGS = "synclogs"

WRITE_SECONDS = 0.5
"""A foreach over thousands of nodes commits each of them; the file is written this often, and at its end."""


class State(TypedDict):
    """``objects`` are by mode and name, ``running`` by device and service. ``status`` is by device: state,
    message and remarks, where it isn't just UP. ``copying`` are images whose tree is not complete yet.
    ``base_files`` are the daemon's own files on the head node without modifications, by path. ``at_boot`` is
    what chkconfig was told on the head node.

    ``requests`` is how often each device was told to boot, ``off`` which have no power. ``motion`` is when
    those that are only simulated began to boot. ``syncs`` are the last provisionings, ``runner`` is the
    process that runs nodes: see ``power.py``."""

    objects: dict[str, dict[str, Object]]
    running: dict[str, dict[str, bool]]
    status: dict[str, dict[str, Any]]
    copying: dict[str, dict[str, str]]
    base_files: dict[str, str]
    at_boot: dict[str, bool]
    requests: dict[str, int]
    off: dict[str, bool]
    motion: dict[str, dict[str, Any]]
    syncs: dict[str, dict[str, Any]]
    runner: dict[str, Any]


LATER = ("requests", "off", "motion", "syncs", "runner")
"""What a state that was written by an earlier program doesn't have."""


class Store:
    """The state as this process read it last."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.state: State
        self._file: IO[str] | None = None
        self._depth = 0
        self._touched = False
        self._written = 0.0
        self.reload()

    @property
    def root(self) -> str:
        return f"{self.directory}/root"

    def reload(self) -> None:
        """Read again what another process may have changed."""
        if self._touched or self.is_fresh():
            return
        file = open(f"{self.directory}/{STATE}")  # noqa: SIM115 - kept until there is another
        self.state = {**{name: {} for name in LATER}, **json.loads(file.read())}  # type: ignore[typeddict-item]
        self._keep(file)

    def is_fresh(self) -> bool:
        """Whether nobody else has written since. Each change is a new file, and as long as this one is held
        open its number is given to no other: two changes within a tick of the clock are told apart."""
        if self._file is None:
            return False
        return os.path.samestat(os.stat(f"{self.directory}/{STATE}"), os.fstat(self._file.fileno()))

    def _keep(self, file: IO[str]) -> None:
        if self._file is not None:
            self._file.close()
        self._file = file

    @contextmanager
    def changing(self) -> Iterator[State]:
        """Alone with the state as it is now; it is written at the end if it was touched. May be nested."""
        if self._depth:
            self._depth += 1
            try:
                yield self.state
            finally:
                self._depth -= 1
            if time.monotonic() - self._written > WRITE_SECONDS:
                self._write()
            return
        with open(f"{self.directory}/{LOCK}", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._depth = 1
            try:
                self.reload()
                self._written = time.monotonic()
                yield self.state
            finally:
                self._write()
                self._depth = 0

    def touch(self) -> None:
        """The state was changed."""
        self._touched = True

    def _write(self) -> None:
        if not self._touched:
            return
        self._touched = False
        self._keep(write_state(self.directory, self.state))
        self._written = time.monotonic()

    def record(self, **what: Value) -> None:
        """Note what was done, with the time."""
        _append(f"{self.directory}/{RECORDS}", {"time": round(time.time(), 3), **what})


def write_state(directory: str, state: State) -> IO[str]:
    """Put it in place of what is there; returns the file, still open."""
    path = f"{directory}/{STATE}"
    file = open(f"{path}.new", "w")  # noqa: SIM115 - the caller's from here on
    file.write(json.dumps(state))
    file.flush()
    # Stopped here: the old state holds.
    os.replace(f"{path}.new", path)
    return file


def record_call(directory: str, argv: list[str], text: str) -> None:
    """Note a call with the commands that it was given."""
    _append(f"{directory}/{CALLS}", {"time": round(time.time(), 3), "argv": argv, "text": text})


def calls(directory: str) -> list[dict[str, Any]]:
    """Every call of cmsh so far: ``argv`` and ``text``, the commands."""
    return _lines(f"{directory}/{CALLS}")


def records(directory: str) -> list[dict[str, Any]]:
    """What was done to services and nodes, oldest first."""
    return _lines(f"{directory}/{RECORDS}")


def wait(directory: str, seconds: float = 30) -> None:
    """Until no image is being copied."""
    end = time.monotonic() + seconds
    while Store(directory).state["copying"] and time.monotonic() < end:
        time.sleep(0.01)


def snapshot(directory: str) -> dict[str, Any]:
    """Objects with what differs from the defaults, services' running state, and the head node's files with
    mode and content; without times and revisions."""
    state = Store(directory).state
    return {
        "objects": {
            mode: {name: _timeless(one) for name, one in sorted(objects.items())}
            for mode, objects in state["objects"].items()
        },
        "running": state["running"],
        "at_boot": state["at_boot"],
        "copying": state["copying"],
        "files": dict(_files(f"{directory}/root")),
    }


def _timeless(one: Object) -> dict[str, Any]:
    kept = {
        name: value
        for name, value in sorted(one["values"].items())
        if name not in ("creationtime", "revision")
    }
    below = {
        mode: {name: _timeless(below) for name, below in sorted(objects.items())}
        for mode, objects in sorted(one["sub"].items())
        if objects
    }
    return {"type": one["type"], **kept, **below}


def _files(root: str) -> Iterator[tuple[str, dict[str, str]]]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = f"{folder}/{name}"
            place = path.removeprefix(root)
            if os.path.islink(path):
                yield place, {"link": os.readlink(path)}
                continue
            with open(path, "rb") as file:
                content = file.read().decode(errors="replace")
            yield place, {"mode": f"{os.stat(path).st_mode & 0o7777:o}", "content": content}


def _append(path: str, what: dict[str, Any]) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(what) + "\n")


def _lines(path: str) -> list[dict[str, Any]]:
    try:
        with open(path) as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []
