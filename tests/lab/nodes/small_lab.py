"""A lab that a test has for itself, and what is asked of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pipeline.lab.head.state import State, Store
from pipeline.lab.nodes import adapter, power, running

SECONDS = 120.0


class Lab(NamedTuple):
    """A lab at ``home``, whose nodes run or not."""

    home: Path

    @property
    def head(self) -> Path:
        return self.home / "head"

    @property
    def place(self) -> Path:
        return self.home / "nodes"

    def up(self, nodes: int, virtual: int = 0) -> bool:
        return running.up(self.home, nodes, virtual, lambda line: None)

    def type(self, text: str) -> str:
        """What cmsh prints for commands that all are right."""
        argv = [str(self.head / "bin/cmsh"), "-n", "--color=no", "--hide-events", "-q", "-c", text]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def run(self, node: str, command: str) -> str:
        """What a shell command prints on a node, over ssh; its exit code doesn't matter."""
        config = [
            "ssh",
            "-F",
            str(self.place / "ssh_config"),
            "-o",
            "BatchMode=yes",
            "-o",
            "ConnectTimeout=2",
        ]
        done = subprocess.run([*config, node, command], capture_output=True, text=True, check=False)
        assert done.returncode != 255, done.stderr
        return done.stdout

    def status(self, node: str) -> str:
        """Its state as the head node has it, and the message."""
        found = re.search(r"\[\s*(\w+)\s*\]\s*(?:\((.*?)\))?", self.type(f"device; status {node}"))
        assert found
        return f"{found[1]} {found[2] or ''}".strip()

    def reboot(self, *nodes: str, until: str = "UP") -> None:
        """Reboot them (what has no daemon, by its power), and wait until all are as that says."""
        before = {node: self.booted(node) for node in nodes}
        down = [
            node for node in nodes if self.status(node) in ("DOWN", "INSTALLER_FAILED provisioning failed")
        ]
        for word, chosen in (("reboot -n {}", set(nodes) - set(down)), ("power -n {} reset", set(down))):
            if chosen:
                self.type(f"device; {word.format(','.join(sorted(chosen)))}")
        wait(lambda: all(self.booted(node) > before[node] for node in nodes), "they boot")
        for node in nodes:
            wait(lambda node=node: self.status(node).startswith(until), f"{node} is {until}")  # type: ignore[misc]

    def booted(self, node: str) -> int:
        """How often it was booted since the nodes are up."""
        return (self.place / "supervisor.log").read_text().count(f"{node}: boots\n")

    def sync(self, node: str) -> tuple[str, str, bool]:
        """Image, mode and success of its last provisioning."""
        found = self.state()["syncs"][node]
        return found["image"], found["mode"], found["ok"]

    def state(self) -> State:
        return Store(str(self.head)).state

    def change(self, change: Callable[[State], None]) -> None:
        store = Store(str(self.head))
        with store.changing() as state:
            change(state)
            store.touch()

    def device(self, node: str, **values: str | bool) -> None:
        """Set properties of a node, without cmsh's ado."""
        self.change(lambda state: state["objects"]["device"][node]["values"].update(values))

    def agents(self) -> dict[tuple[str, str], bool]:
        rows = json.loads((self.head / "agents.json").read_text())
        return {(row["host"], row["binary"]): row["alive"] for row in rows}

    def flash(self, node: str, *, sriov: bool, vfs: int) -> None:
        adapter.put(self.place / node, adapter.Flash(sriov=sriov, vfs=vfs))

    def account(self) -> str:
        """How its nodes are, and what was last said of them, for whoever looks at a failure."""
        state = self.state()
        known = [f"{name}: {found}" for name, found in state["status"].items()]
        asked = [f"requests: {state['requests']}", f"run by: {state['runner']}"]
        return "\n".join([*known, *asked, *(self.place / "supervisor.log").read_text().splitlines()[-30:]])

    def left(self) -> list[str]:
        """Processes, mounts and cables of this lab's nodes that are there."""
        place = str(self.home.resolve())
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if place in (folder / "mounts").read_text():
                    found.append((folder / "cmdline").read_text())
            except OSError:
                continue
        found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if place in line]
        prefix = power.link_prefix(self.place)
        return found + [name for name in os.listdir("/sys/class/net") if name.startswith(prefix)]


def wait(done: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < until, what
        time.sleep(0.05)
