"""Nodes that run: each in namespaces of its own, on an address of this machine's loopback, until ended.

``home/nodes/NAME`` is a node's directory; see ``boot.sh``. A node's disk and its adapter's flash are there
when it boots again. All of a node ends with the process that booted it, however that ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from pipeline import programs
from pipeline.errors import PipelineError
from pipeline.lab import ofed
from pipeline.lab.nodes import adapter, keys
from pipeline.lab.roots import DIES_WITH_US
from pipeline.lab.vendor import OFED

BOOT = Path(__file__).with_name("boot.sh")
PORT = 2222
SSHD = ("/usr/sbin/sshd", "-D", "-e", "-f", "/run/lab/sshd_config")
BOOT_SECONDS = 20.0
NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private")

OFED_DIRECTORY = f"/cm/shared/ofed/{ofed.NAME}"
"""On every node: the vendor's installer, in a directory that they share."""


class Node(msgspec.Struct):
    """A node of the lab. ``folder`` is its directory, ``init`` the program that is its first process."""

    name: str
    folder: Path
    address: str
    port: int
    image: Path
    shared: Path
    init: tuple[str, ...] = SSHD
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What its first process prints."""
        return self.folder / "console.log"

    def boot(self) -> None:
        """Start it; ``wait`` says when it answers."""
        for name in ("disk", "work", "root", "adapters"):
            (self.folder / name).mkdir(exist_ok=True)
        boot = ["sh", str(BOOT), str(self.folder), self.name, str(self.image), str(self.shared), ofed.KERNEL]
        with open(self.log, "ab") as console:
            self.process = subprocess.Popen(
                [*DIES_WITH_US, programs.find("unshare"), *NAMESPACES, *boot, *self.init],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until its sshd answers. Raises ``PipelineError`` with what it printed when it doesn't."""
        until = time.monotonic() + BOOT_SECONDS
        while not self.answers():
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > until:
                said = self.log.read_text(errors="replace").splitlines()[-10:]
                raise PipelineError(
                    "the node does not answer" + "".join(f"\n  | {line}" for line in said),
                    where=f"lab node {self.name}",
                )
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether an sshd greets at its address."""
        try:
            with socket.create_connection((self.address, self.port), 1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def stop(self) -> None:
        """End all that runs on it, at once, as when the power goes."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
            self.process = None

    def wipe(self) -> None:
        """Give it a new disk; its adapter keeps its firmware."""
        assert self.process is None
        for name in ("disk", "work"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


class Nodes(msgspec.Struct, frozen=True):
    """Running nodes by name; ``ssh_config`` is for ``ssh -F``, ``ssh_options`` are those of all of them."""

    nodes: Mapping[str, Node]
    ssh_config: Path
    ssh_options: tuple[str, ...]

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def run(self, name: str, command: str) -> str:
        """Run a shell command on a node, over ssh, and return what it printed."""
        return programs.run(["ssh", "-F", str(self.ssh_config), name, command])


@contextmanager
def running(
    home: Path,
    names: Sequence[str],
    *,
    image: str = "openstack-image",
    folder: Path | None = None,
    init: Sequence[str] = SSHD,
) -> Iterator[Nodes]:
    """New nodes of the lab at ``home``, which has been built; they are ended when the block is left.

    ``folder`` is where they are kept, for one such block at a time; default: ``home/nodes``. Each has an
    adapter with old firmware.
    """
    place = folder or home / "nodes"
    place.mkdir(parents=True, exist_ok=True)
    with _alone(place / "lock"):
        secret = keys.ensure(home / "nodes")
        shared = ensure_shared(home)
        nodes = {
            name: _new(place, number, name, home / "images" / image, shared, secret, tuple(init))
            for number, name in enumerate(names, start=1)
        }
        configuration = place / "ssh_config"
        keys.write_clients(
            secret, configuration, {node.name: (node.address, node.port) for node in nodes.values()}
        )
        try:
            for node in nodes.values():
                node.boot()
            for node in nodes.values():
                node.wait()
            yield Nodes(nodes, configuration, keys.options(secret))
        finally:
            for node in nodes.values():
                node.stop()


def ensure_shared(home: Path) -> Path:
    """What the nodes see at /cm/shared: MLNX_OFED, extracted from the vendor's archive once."""
    archive = (home / "mirror" / OFED / f"{ofed.NAME}.tgz").resolve()
    shared = home / "nodes/shared" / hashlib.sha256(str(archive).encode()).hexdigest()[:12]
    if not shared.is_dir():
        new = shared.with_name(f".{shared.name}.{os.getpid()}")
        shutil.rmtree(new, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(new / "ofed", filter="tar")
        with suppress(OSError):  # another process was faster
            # Stopped here, the next call extracts it again.
            new.rename(shared)
        shutil.rmtree(new, ignore_errors=True)
    return shared


def _new(
    place: Path, number: int, name: str, image: Path, shared: Path, secret: Path, init: tuple[str, ...]
) -> Node:
    folder = place / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    # Two labs on one machine have other networks: all of 127.0.0.0/8 is this machine.
    second, third = hashlib.sha256(str(place.resolve()).encode()).digest()[:2]
    address = f"127.{second or 1}.{third}.{number}"
    keys.write_node(secret, folder / "keys", address, PORT)
    adapter.put(folder)
    return Node(name, folder, address, PORT, image, shared, init)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PipelineError("nodes of this lab are already running", where=str(path.parent)) from None
        yield
