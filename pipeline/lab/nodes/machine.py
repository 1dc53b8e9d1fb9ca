"""A node of the lab as a machine that somebody boots: switched on, installed, started, up. Step by step.

A machine's life is a generator: it yields whenever it waits, so that one thread runs all machines. That
thread must be the one that lives longest: what it starts ends with it.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from pipeline.lab.head.power import SYNCS, Install, StateWord, installed, put_status
from pipeline.lab.nodes import adapter, installer, keys, wishes
from pipeline.lab.nodes.faults import Fault
from pipeline.lab.nodes.power import PORT, Power, Wish

SETTLES = 1.0
"""Seconds after which a service that was started has either ended or stays."""

WIPED = "disk.old"
"""What a node's disk is called while it is taken away."""

Life = Iterator[None]


class Asked(msgspec.Struct, frozen=True):
    """What a machine asks its head node for while it boots; each answer is as of then.

    ``tree`` is where an image lies on this machine, None without one; ``finalize`` writes to a disk that was
    filled; ``settled`` is told before it is UP.
    """

    install: Callable[[], Install]
    tree: Callable[[Install], Path | None]
    wish: Callable[[Install, int], Wish]
    finalize: Callable[[Path], None]
    settled: Callable[[Machine], None]


class Machine:
    """A node, and what its head node is told of it. ``step`` goes on until it has to wait."""

    def __init__(self, power: Power, head: Path, secret: Path, first_eth: int) -> None:
        self.power, self._head, self._secret, self._first_eth = power, head, secret, first_eth
        self.name = power.name
        self.state: StateWord = "DOWN"
        self.message = ""
        self._life: Life | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._wiping: subprocess.Popen[bytes] | None = None
        self._code = 0

    @property
    def is_moving(self) -> bool:
        return self._life is not None

    def boot(self, asked: Asked, fault: Fault | None) -> None:
        """Switch it off, and on again."""
        self.off()
        self._life = self._lives(asked, fault)

    def off(self) -> None:
        """As when its power goes."""
        self._life = None
        if self._child is not None:
            # The copy has a process group of its own: both of rsync's ends.
            self._child.kill()
            self._child.wait()
            self._child = None
        self.power.off()

    def step(self) -> None:
        """Go on, if there is something to go on with."""
        if self._life is not None:
            try:
                next(self._life)
            except StopIteration:
                self._life = None
        elif self.state == "UP" and not self.power.is_on():
            self.say("DOWN")

    def say(self, state: StateWord, message: str = "") -> None:
        """Tell the head node how it is."""
        if (state, message) != (self.state, self.message):
            self.state, self.message = state, message
            put_status(self._head, self.name, state, message)

    def say_again(self) -> None:
        """Tell the head node how it is, whatever was told before."""
        put_status(self._head, self.name, self.state, self.message)

    def _lives(self, asked: Asked, fault: Fault | None) -> Life:
        if fault == "never-returns":
            self.say("DOWN")
            return
        self.say("BOOTING")
        self._firmware(fault)
        yield
        install = asked.install()
        yield from self._installs(asked, install, fault)
        if self.state == "INSTALLER_FAILED":
            return
        yield from self._starts(asked, install)

    def _firmware(self, fault: Fault | None) -> None:
        """The flash as it is, or with SR-IOV switched off; it is put back when that fault is over."""
        saved, folder = self.power.folder / "flash.json", self.power.folder
        if fault == "no-sriov":
            if not saved.exists():
                saved.write_bytes(msgspec.json.encode(adapter.read(folder)))
            adapter.put(folder, msgspec.structs.replace(adapter.read(folder), sriov=False))
        elif saved.exists():
            adapter.put(folder, msgspec.json.decode(saved.read_bytes(), type=adapter.Flash))
            saved.unlink()

    def _installs(self, asked: Asked, install: Install, fault: Fault | None) -> Life:
        self.say("INSTALLING", "checking disks")
        yield
        mode = self._mode(install)
        while mode == "FULL" and install.waits:
            self.say("INSTALLING", "waiting for confirmation of FULL install")
            yield
            install = asked.install()
        if mode == "FULL":
            yield from self._partitions(install)
        if mode not in SYNCS:
            return
        while install.is_locked:
            self.say("INSTALLING", f"waiting for {mode} provisioning to start")
            yield
            install = asked.install()
        yield from self._copies(asked, install, mode, fault)

    def _mode(self, install: Install) -> str:
        """AUTO on a disk that isn't laid out so is FULL, and so is every other mode that boots from it."""
        layout = self.power.folder / installer.LAYOUT
        fits = layout.exists() and layout.read_text() == install.disk_setup
        return install.mode if fits and install.mode in ("FULL", "AUTO", "NOSYNC") else "FULL"

    def _partitions(self, install: Install) -> Life:
        """A new, empty disk. Stopped anywhere in it, the next boot makes it again."""
        self.say("INSTALLING", "recreating partitions and filesystems")
        folder, disk = self.power.folder, self.power.disk
        (folder / installer.LAYOUT).unlink(missing_ok=True)
        yield from self._wiped()
        if disk.exists():
            disk.rename(folder / WIPED)
        # What was on it is gone from here on; that its blocks are given back is nobody's to wait for.
        argv = ["rm", "-rf", "--one-file-system", str(folder / WIPED)]
        self._wiping = installer.start(argv, folder / "wipe.log")
        disk.mkdir()
        (folder / installer.LAYOUT).write_text(install.disk_setup)

    def _wiped(self) -> Life:
        """Until there is room for another old disk, also after somebody was killed here."""
        while self._wiping is not None and self._wiping.poll() is None:
            yield
        if (self.power.folder / WIPED).exists():
            argv = ["rm", "-rf", "--one-file-system", str(self.power.folder / WIPED)]
            yield from self._child_of(argv, self.power.folder / "wipe.log")

    def _copies(self, asked: Asked, install: Install, mode: str, fault: Fault | None) -> Life:
        folder, disk, log = self.power.folder, self.power.disk, self.power.folder / "rsync.log"
        source = asked.tree(install)
        if source is None:
            text = f"no image is at {install.path}"
            installed(self._head, self.name, False, mode, install.image, f"{text}\n")
            self.say("INSTALLER_FAILED", text)
            return
        self.say("INSTALLING", "provisioning started")
        if source != install.directory:  # whoever asks the head node what a node should have finds it there
            argv = ["sh", "-c", installer.MAKES_WHOLE, "sh", str(source), str(install.directory)]
            yield from self._child_of(argv, log)
        argv = ["rsync", *installer.arguments(source, disk, mode, install.exclude, fault)]
        half = installer.HALF if fault == "installs-half" else 0
        yield from self._child_of(argv, log, stop_after=half)
        code = self._code
        text = installer.last_lines(log)
        if half:
            text += "rsync error: received SIGINT, SIGTERM, or SIGHUP (code 20)\n"
        if code not in (0, installer.VANISHED) or half:
            (folder / installer.LAYOUT).unlink(missing_ok=True)
            installed(self._head, self.name, False, mode, install.image, text)
            self.say("INSTALLER_FAILED", "provisioning failed")
            return
        asked.finalize(disk)
        keys.write_disk(self._secret, disk)
        installed(self._head, self.name, True, mode, install.image, text)
        self.say("INSTALLING", "provisioning complete")

    def _starts(self, asked: Asked, install: Install) -> Life:
        self.say("INSTALLER_CALLINGINIT", "switching to local root")
        wish = asked.wish(install, self._first_eth)
        self.power.on(wish)
        while self.power.stage() != "up" or not self._answers():
            if not self.power.is_on():
                self.say("DOWN")
                return
            yield
        until = time.monotonic() + SETTLES
        while time.monotonic() < until:
            yield
        asked.settled(self)
        self.say("UP")

    def _child_of(self, argv: list[str], log: Path, *, stop_after: int = 0) -> Life:
        self._child = installer.start(argv, log, stop_after=stop_after)
        while self._child.poll() is None:
            yield
        self._code = self._child.returncode
        self._child = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.power.plug.address, PORT), 0.2) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def agents(self, wanted: tuple[str, ...]) -> dict[str, bool]:
        """The agents that it has, and whether each lives."""
        return {
            name: self.state != "DOWN" and self.power.runs(name, SETTLES)
            for name in wishes.AGENTS
            if name in wanted
        }
