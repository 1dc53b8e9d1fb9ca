"""A node that has power: its namespaces, its cable, its first process; and all of that taken away again."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from pipeline import programs
from pipeline.lab import ofed
from pipeline.lab.nodes import adapter, keys
from pipeline.lab.nodes.nodes import BOOT, NAMESPACES
from pipeline.lab.roots import DIES_WITH_US

WIRE = Path(__file__).with_name("wire.sh")
INIT = Path(__file__).with_name("init.sh")
FRONT = Path(__file__).with_name("front")
PORT = 22
FIRST = ("bash", "/run/lab/init")
MOST = 250
"""Nodes of one lab: the last byte of their addresses."""

DMESG = """\
Linux version {kernel} (mockbuild@c6b8.bsys.dev.centos.org)
Command line: {parameters}
Kernel command line: {parameters}
"""
DMAR = """\
ACPI: DMAR 00000000bddd02d8 000E0 (v01 AMI    OEMDMAR  00000001 MSFT 00000097)
Intel-IOMMU: enabled
dmar: Host address width 46
DMAR: Intel(R) Virtualization Technology for Directed I/O
"""
"""What a kernel says that was told ``intel_iommu=on`` on a machine with VT-d."""


class Plug(msgspec.Struct, frozen=True):
    """Where a node is plugged in: ``address`` is its own, ``gateway`` this machine's end of its cable, whose
    name here is ``link``."""

    address: str
    gateway: str
    link: str


def plug(place: Path, number: int) -> Plug:
    """Of the node that is the lab's ``number``-th, from 1.

    Addresses are of 198.18.0.0/15, which is kept for benchmarks, so that no real network has them; each lab
    has a /24 of it.
    """
    assert 1 <= number <= MOST
    first, second = hashlib.sha256(str(place.resolve()).encode()).digest()[:2]
    net = f"198.{18 + first % 2}.{second}"
    return Plug(f"{net}.{number}", f"{net}.254", f"{link_prefix(place)}{number}")


def link_prefix(place: Path) -> str:
    """What the names of all cables of this lab begin with on this machine."""
    return f"lab{hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:6]}."


class Wish(msgspec.Struct, frozen=True):
    """What a node is booted with: ``services`` the daemon starts, ``ib0`` is its address there ("": none)."""

    kernel_parameters: str = ""
    services: tuple[str, ...] = ()
    ib0: str = ""
    first_eth: int = 6


class Power:
    """The power of the node whose directory is ``folder``: ``on`` and ``off``."""

    def __init__(self, name: str, folder: Path, shared: Path, secret: Path, plug: Plug) -> None:
        self.name, self.folder, self.plug = name, folder, plug
        self._shared, self._secret = shared, secret
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def disk(self) -> Path:
        """What the node's own root is."""
        return self.folder / "disk"

    def on(self, wish: Wish) -> None:
        """Boot what is on the disk."""
        assert self._process is None
        for name in ("disk", "root", "adapters"):
            (self.folder / name).mkdir(exist_ok=True)
        self._dress(wish)
        plug = self.plug
        wire = ["sh", str(WIRE), str(os.getpid()), plug.link, plug.address, plug.gateway]
        boot = ["sh", str(BOOT), str(self.folder), self.name, "", str(self._shared), ofed.KERNEL]
        with open(self.folder / "console.log", "ab") as console:
            self._process = subprocess.Popen(
                [*DIES_WITH_US, programs.find("unshare"), *NAMESPACES, "--net", *wire, *boot, *FIRST],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def _dress(self, wish: Wish) -> None:
        """What the node sees at /run/lab, new for each boot; of its adapters, what no driver has made."""
        folder = self.folder / "keys"
        shutil.rmtree(folder, ignore_errors=True)
        keys.write_node(self._secret, folder, self.plug.address, PORT, own_network=True)
        shutil.copytree(FRONT, folder / "front")
        shutil.copy(INIT, folder / "init")
        parameters = f"ro root=/dev/sda1 {wish.kernel_parameters}".rstrip()
        dmesg = DMESG.format(kernel=ofed.KERNEL, parameters=parameters)
        if "intel_iommu=on" in wish.kernel_parameters.split():
            dmesg += DMAR
        files = {
            "cmdline": f"{parameters}\n",
            "dmesg": dmesg,
            "services": "".join(f"{name}\n" for name in wish.services),
            "first_eth": f"{wish.first_eth}\n",
            **({"ib0": f"{wish.ib0}\n"} if wish.ib0 else {}),
        }
        for name, text in files.items():
            (folder / name).write_text(text)
        adapter.unload(self.folder)

    def is_on(self) -> bool:
        """Whether its first process is there."""
        return self._process is not None and self._process.poll() is None

    def first_process(self) -> int | None:
        """The number that its first process has on this machine; None: it is not there (yet)."""
        if self._process is None:
            return None
        with suppress(OSError, IndexError):
            number = self._process.pid
            return int(Path(f"/proc/{number}/task/{number}/children").read_text().split()[0])
        return None

    def stage(self) -> str:
        """How far its first process is: see ``init.sh``."""
        try:
            return (self.folder / "keys/state").read_text().strip()
        except FileNotFoundError:
            return ""

    def off(self) -> None:
        """End all that runs on it, at once; nothing writes to its disk any more when this returns."""
        if self._process is None:
            return
        first = self.first_process()
        with suppress(ProcessLookupError):
            # unshare ends when that process has ended, and that ends only after all of its namespace has.
            os.kill(first, signal.SIGKILL) if first else self._process.kill()
        self._process.wait()
        self._process = None

    def bind(self, mac: str, segment: int) -> bool:
        """Have its eSwitch's daemon bind a guest's interface to a segment; whether it answered."""
        request = f'{{"action": "set_vlan", "fabric": "*", "port_mac": "{mac}", "vlan": {segment}}}'
        code = 'exec 3<>"/dev/tcp/127.0.0.1/60001" && echo "$1" >&3 && read -r -t 2 answer <&3'
        first = self.first_process()
        try:
            programs.run(["nsenter", f"--target={first}", "--net", "bash", "-c", code, "bash", request])
        except programs.ProgramError:  # its port isn't open (yet)
            return False
        return True

    def runs(self, program: str, seconds: float) -> bool:
        """Whether a process of this program runs on it, and has for so many seconds."""
        first = self.first_process()
        if first is None:
            return False
        try:
            space = os.readlink(f"/proc/{first}/ns/pid")
            pids = [name for name in os.listdir("/proc") if name.isdigit()]
        except OSError:
            return False
        return any(_is(pid, space, program) and _age(pid) >= seconds for pid in pids)


def _is(pid: str, space: str, program: str) -> bool:
    try:
        if os.readlink(f"/proc/{pid}/ns/pid") != space:
            return False
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    # A script's first word is its interpreter; a shell that was told to start it has it inside a word.
    return any(os.path.basename(word) == program for word in words[:2])


def _age(pid: str) -> float:
    try:
        began = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")
