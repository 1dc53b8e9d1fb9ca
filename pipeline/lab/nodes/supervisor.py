"""Who runs the lab's nodes: a process of its own, which boots them when the head node is told to reboot them.

All that it starts ends with it, however it ends: namespaces, cables and mounts are the kernel's to take away.
What is left are the nodes' disks and adapters, and ``FILE`` when it was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.lab.head.power import Install, next_install, nodes_run
from pipeline.lab.head.state import State, Store
from pipeline.lab.head.switches import read_switches
from pipeline.lab.nodes import adapter, faults, keys, power, wishes
from pipeline.lab.nodes.machine import Asked, Machine
from pipeline.lab.nodes.nodes import ensure_shared
from pipeline.lab.nodes.power import Power, Wish

FILE = "supervisor.json"
LOCK = "lock"
"""Held for as long as it lives; also by ``nodes.running`` in the same folder."""

AGENTS = "agents.json"
"""In the head node's directory: Neutron's agents that were ever seen, ``[{"host", "binary", "alive"}]``."""

CLIENTS = "ssh_config"
"""How ssh gets to the nodes; there while they are run."""

POLL = 0.03
AGENTS_EVERY = 0.5

FIRST_ETH = {"node003": 4}
"""The first number of the Ethernet devices before InfiniBand; 6 elsewhere. The hand procedure's node003."""


class Supervisor:
    """The machines of the lab at ``home``, by name, in the head node's order."""

    def __init__(self, home: Path, names: tuple[str, ...]) -> None:
        self.home, self.head, self.place = home, home / "head", home / "nodes"
        self._shared, self._secret = ensure_shared(home), keys.ensure(self.place)
        state = self._state()
        self.machines = {name: self._machine(state, name) for name in names}
        self._served = dict(state["requests"])
        self._seen: Store | None = None
        self._told: dict[str, dict[str, bool]] = {}
        self._looked = 0.0
        self._unbound: set[str] = set()
        self._written = ""

    def _state(self) -> State:
        return Store(str(self.head)).state

    def _machine(self, state: State, name: str) -> Machine:
        folder = self.place / name
        folder.mkdir(exist_ok=True)
        plug = power.plug(self.place, wishes.known(state).index(name) + 1)
        if wishes.is_virtual(state, name):
            adapter.put_guest(folder)
        elif not (folder / "adapters").exists():
            adapter.put(folder)
        one = Power(name, folder, self._shared, self._secret, plug)
        return Machine(one, self.head, self._secret, FIRST_ETH.get(name, 6))

    def begin(self) -> None:
        """Tell who is there, and boot all nodes."""
        clients = {name: (one.power.plug.address, power.PORT) for name, one in self.machines.items()}
        keys.write_clients(self._secret, self.place / CLIENTS, clients)
        nodes_run(self.head, os.getpid(), tuple(self.machines))
        self._tell_agents()
        for name in self.machines:
            self._boot(name)

    def turn(self) -> None:
        """Look at what the head node asks for, and go on with every machine."""
        with suppress(FileNotFoundError):  # the head node is being made anew
            self._serve()
        for machine in self.machines.values():
            try:
                machine.step()
            except (PipelineError, OSError) as error:
                print(f"{machine.name}: {error}", file=sys.stderr, flush=True)
                machine.off()
                machine.say("INSTALLER_FAILED", str(error).splitlines()[0])
        if time.monotonic() - self._looked > AGENTS_EVERY:
            self._tell_agents()
            self._unbound = {guest for guest in self._unbound if not self._bind(guest)}
        self._write()

    def _serve(self) -> None:
        if self._seen is not None and self._seen.is_fresh():
            return
        seen = Store(str(self.head))
        state = seen.state
        if state["runner"].get("pid") != os.getpid():
            # The head node was made anew: it knows nothing of requests before, and nothing of us.
            self._served = {}
            nodes_run(self.head, os.getpid(), tuple(self.machines))
            for machine in self.machines.values():
                machine.say_again()
            state = self._state()
        for name, machine in self.machines.items():
            asked = state["requests"].get(name, 0)
            if asked > self._served.get(name, 0):
                self._boot(name)
            elif name in state["off"] and (machine.is_moving or machine.power.is_on()):
                machine.off()
                machine.say("DOWN")
            self._served[name] = asked
        self._seen = seen

    def _boot(self, name: str) -> None:
        print(f"{name}: boots", file=sys.stderr, flush=True)
        self.machines[name].boot(self._asked(name), faults.read(self.place).get(name))

    def _asked(self, name: str) -> Asked:
        def wish(install: Install, first_eth: int) -> Wish:
            state = self._state()
            wanted = wishes.services(state, name)
            return Wish(install.kernel_parameters, wanted, wishes.ib0(state, name), first_eth)

        def finalize(disk: Path) -> None:
            new = read_switches(str(self.head)).release == "new"
            wishes.write_files(self._state(), name, disk, knows_underscores=new)

        return Asked(
            install=lambda: next_install(self.head, name),
            tree=self._tree,
            wish=wish,
            finalize=finalize,
            settled=self._settled,
        )

    def _tree(self, install: Install) -> Path | None:
        """An image's directory. The head node has stubs of the base images, each with its name in
        /etc/hostname; a clone of one is a stub, too. What they stand for lies in the lab, and takes their
        place when the first node is installed from them."""
        if (install.directory / "etc/rc.d/rc").exists():
            return install.directory
        try:
            whole = self.home / "images" / (install.directory / "etc/hostname").read_text().strip()
        except OSError:
            return None
        return whole if (whole / "etc/rc.d/rc").exists() else None

    def _settled(self, machine: Machine) -> None:
        self._tell_agents()
        if wishes.is_virtual(self._state(), machine.name):
            self._unbound.add(machine.name)

    def _bind(self, guest: str) -> bool:
        """Have an eSwitch bind the guest's interface, as Nova's VIF driver does where a guest is started.

        False as long as there is none.
        """
        state = self._state()
        for machine in self.machines.values():
            if not wishes.is_virtual(state, machine.name) and machine.power.runs("eswitchd", 0):
                return machine.power.bind(f"fa:16:3e:00:00:{list(self.machines).index(guest):02x}", 1)
        return False

    def _tell_agents(self) -> None:
        """Neutron's agents as they run: one that was seen once stays known, as its server has it."""
        self._looked = time.monotonic()
        state = self._state()
        found = {
            name: machine.agents(wishes.services(state, name)) for name, machine in self.machines.items()
        }
        told = {
            name: {**dict.fromkeys(self._told.get(name, {}), False), **agents}
            for name, agents in found.items()
        }
        if told == self._told:
            return
        self._told = told
        rows = [
            {"host": name, "binary": binary, "alive": alive}
            for name, agents in told.items()
            for binary, alive in agents.items()
        ]
        _replace(self.head / AGENTS, rows)

    def _write(self) -> None:
        nodes = {
            name: {
                "state": one.state,
                "message": one.message,
                "address": one.power.plug.address,
                "log": str(one.power.folder / "console.log"),
            }
            for name, one in self.machines.items()
        }
        text = json.dumps({"pid": os.getpid(), "nodes": nodes})
        if text != self._written:
            _replace(self.place / FILE, json.loads(text))
            self._written = text

    def end(self) -> None:
        """Switch all nodes off."""
        for machine in self.machines.values():
            machine.off()
            machine.say("DOWN")
        self._tell_agents()
        nodes_run(self.head, None)
        for name in (FILE, CLIENTS):
            (self.place / name).unlink(missing_ok=True)


def _replace(path: Path, content: object) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(content, indent=1))
    new.rename(path)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    with (place / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError("nodes of this lab are already running", where=str(place)) from None
        yield


def main(home: str, names: str) -> int:
    """The process itself: ``names`` are separated by commas. Ends when it is told to (SIGTERM)."""
    stopped = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    try:
        with _alone(Path(home) / "nodes"):
            supervisor = Supervisor(Path(home), tuple(names.split(",")))
            try:
                supervisor.begin()
                while not stopped:
                    supervisor.turn()
                    time.sleep(POLL)
            finally:
                supervisor.end()
    except PipelineError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    return 0


def told(place: Path) -> Mapping[str, Any]:
    """What the last supervisor of this folder wrote: ``pid`` and ``nodes``; {} when there is nothing."""
    try:
        found: Mapping[str, Any] = json.loads((place / FILE).read_text())
    except FileNotFoundError:
        return {}
    return found
