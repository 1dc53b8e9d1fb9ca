"""What the services keep, in one JSON file, changed under a lock by one program at a time."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypedDict

from pipeline.lab.head import switches as heads
from pipeline.lab.head.simulation import settle
from pipeline.lab.head.state import Store
from pipeline.lab.services import switches
from pipeline.lab.services.options import RefusedError
from pipeline.lab.services.switches import Services

FOLDER = "services"
"""In the head node's directory."""


class State(TypedDict):
    """``osds`` are by number: ``host``, ``up``, ``in``, ``noout``, ``since`` (when it went down or came up),
    ``boots`` (of its host, as last seen) and ``was_away``; ``bucket`` is its host in the CRUSH map
    where that is called otherwise. ``flags`` are the cluster's, ``groups`` those of
    hosts. ``most_away`` is how many hosts with OSDs were ever seen to be away at once.

    ``computes`` are by host: ``disabled``, and why: ``reason``. ``guests`` have id, name, host and status.
    ``slots`` are Slurm's nodes: ``drain``, ``down``, ``away`` (it doesn't answer), ``held``
    (somebody made it so: "down" or "fail"), ``reason``, ``boots``;
    ``jobs`` have id, user, nodes and when each ``ends`` (0: never)."""

    osds: dict[str, dict[str, Any]]
    flags: list[str]
    groups: dict[str, list[str]]
    most_away: int
    computes: dict[str, dict[str, Any]]
    guests: list[dict[str, str]]
    slots: dict[str, dict[str, Any]]
    jobs: list[dict[str, Any]]


class Hosts(NamedTuple):
    """The nodes that are up, and how often each was told to boot."""

    down: frozenset[str]
    boots: Mapping[str, int]

    def is_up(self, name: str) -> bool:
        return name not in self.down


def first() -> State:
    """The seed's environment: node002 and node003 are compute hosts, and have the OSDs."""
    return {
        "osds": {
            str(number): {
                "host": host,
                "up": True,
                "in": True,
                "noout": False,
                "since": 0.0,
                "boots": 0,
                "was_away": False,
            }
            for number, host in enumerate(("node002", "node002", "node003", "node003"))
        },
        "flags": [],
        "groups": {},
        "most_away": 0,
        "computes": {host: {"disabled": False, "reason": ""} for host in ("node002", "node003")},
        "guests": [],
        "slots": {
            host: {"drain": False, "down": False, "away": False, "held": "", "reason": "", "boots": 0}
            for host in ("node002", "node003")
        },
        "jobs": [],
    }


def read(directory: str) -> State:
    """What there is now; ``directory`` is the head node's."""
    try:
        with open(f"{directory}/{FOLDER}/state.json") as file:
            state: State = json.load(file)
            return state
    except FileNotFoundError:
        return first()


@contextmanager
def changing(directory: str) -> Iterator[State]:
    """Alone with the state; it is written at the end."""
    folder = f"{directory}/{FOLDER}"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = read(directory)
        yield state
        with open(f"{folder}/state.json.new", "w") as file:
            json.dump(state, file, indent=1)
        os.replace(f"{folder}/state.json.new", f"{folder}/state.json")


def hosts(directory: str) -> Hosts:
    """How the head node has its nodes; one that it doesn't know is up."""
    store = Store(directory)
    settle(store, heads.read_switches(directory), heads.read_faults(directory))
    down = (name for name, status in store.state["status"].items() if status.get("state", "UP") != "UP")
    return Hosts(frozenset(down), store.state["requests"])


def calls(directory: str) -> list[list[str]]:
    """Every call of a program so far, with its name."""
    try:
        with open(f"{directory}/{FOLDER}/calls.jsonl") as file:
            return [json.loads(line)["argv"] for line in file]
    except FileNotFoundError:
        return []


Program = Callable[[Sequence[str], State, Hosts, Services], str]
"""Gets its arguments; returns what it prints. Raises ``RefusedError``."""


def run(directory: str, name: str, program: Program) -> int:
    """Run a program once: noted, with the services as they are by now."""
    argv = sys.argv[1:]
    os.makedirs(f"{directory}/{FOLDER}", exist_ok=True)
    with open(f"{directory}/{FOLDER}/calls.jsonl", "a") as file:
        file.write(json.dumps({"time": round(time.time(), 3), "argv": [name, *argv]}) + "\n")
    services = switches.read(f"{directory}/{FOLDER}")
    try:
        with changing(directory) as state:
            out = program(argv, state, hosts(directory), services)
    except RefusedError as error:
        if error.out:
            sys.stdout.write(error.out + "\n")
        sys.stderr.write(error.text + "\n")
        return error.code
    if out:
        sys.stdout.write(out + "\n")
    return 0
