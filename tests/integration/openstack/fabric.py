"""A real opensm on a simulated InfiniBand fabric: two nodes on a switch, no hardware, no kernel driver.

opensm, ibsim and smpquery come from the distribution's packages, unpacked aside: installing them would start
opensm. ibsim stands in for the fabric below libibumad; all above it, the partition manager included, is real.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aside
import msgspec
import pytest

from pipeline.lab.debs import APT_CONF

PACKAGES = ("opensm", "infiniband-diags", "ibsim-utils")

NET = """\
Switch 8 "Switch1"
[1] "Hca1"[1]
[2] "Hca2"[1]

Hca 1 "Hca1"
[1] "Switch1"[1]

Hca 1 "Hca2"
[1] "Switch1"[2]
"""

NODES: Mapping[str, str] = {"Hca1": "0", "Hca2": "0,1,2"}
"""Each node → the way to it from Hca1, where opensm runs."""

WHOLE_PKEY = re.compile(r"0x([0-9a-f]{4})")


class Run(msgspec.Struct, frozen=True):
    """What one sweep of opensm said, and the PKeys that each node's port has after it."""

    out: str
    log: str
    pkeys: Mapping[str, frozenset[int]]


def installed() -> Path:
    """The root of the unpacked packages; those that this machine has are not among them."""
    if not shutil.which("apt-get"):
        pytest.skip("opensm and ibsim are taken from Debian's or Ubuntu's packages: apt-get is not here")

    def install(folder: Path) -> None:
        apt = folder / "apt"
        for needed in ("cache/archives/partial", "state/lists/partial"):
            (apt / needed).mkdir(parents=True)
        shutil.copyfile("/var/lib/dpkg/status", apt / "state/status")
        (apt / "apt.conf").write_text(APT_CONF.format(apt=apt))
        get = ["apt-get", "-qq", "-c", apt / "apt.conf"]
        aside.call([*get, "update"])
        aside.call([*get, "install", "--download-only", "--yes", *PACKAGES])
        for deb in (apt / "cache/archives").glob("*.deb"):
            aside.call(["dpkg-deb", "-x", deb, folder / "root"])
        shutil.rmtree(apt)

    return aside.kept("opensm", " ".join(PACKAGES), install) / "root"


def environment(root: Path) -> dict[str, str]:
    """In which the unpacked programs find each other."""
    folders = [str(folder) for folder in root.glob("usr/lib/*-linux-gnu*")]
    path = f"{root}/usr/sbin:{root}/usr/bin:{os.environ['PATH']}:/usr/sbin"
    return {**os.environ, "PATH": path, "LD_LIBRARY_PATH": ":".join(folders)}


@contextmanager
def simulated(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of programs that see the simulated fabric from Hca1."""
    env = environment(installed())
    (folder / "net").write_text(NET)
    env["IBSIM_SOCKNAME"] = f"pipeline-{uuid.uuid4().hex[:12]}"
    with (folder / "ibsim.log").open("wb") as log:
        simulator = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "ibsim", "-s", "net", "--no-console"],
            env=env,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    library = [
        *installed().glob("usr/lib/*/umad2sim/libumad2sim.so"),
        *Path("/usr/lib").glob("*/umad2sim/*.so"),
    ]
    try:
        _wait(simulator, folder / "ibsim.log")
        temporary = {"OSM_TMP_DIR": str(folder), "OSM_CACHE_DIR": str(folder), "SIM_HOST": "Hca1"}
        yield {**env, **temporary, "LD_PRELOAD": str(library[0])}
    finally:
        simulator.kill()
        simulator.wait()


def swept(folder: Path, partitions: str, options: str) -> Run:
    """One sweep of opensm with these partitions.conf and opensm.conf."""
    (folder / "partitions.conf").write_text(partitions)
    (folder / "opensm.conf").write_text(options)
    log = folder / "opensm.log"
    with simulated(folder) as env:
        opensm = ["opensm", "-o", "-F", "opensm.conf", "-P", "partitions.conf", "-f", str(log), "-s", "0"]
        out = _output(opensm, env, folder)
        pkeys = {
            node: frozenset(
                number
                for line in _output(["smpquery", "pkeys", "-D", way], env, folder).splitlines()
                for word in WHOLE_PKEY.findall(line)
                if (number := int(word, 16))
            )
            for node, way in NODES.items()
        }
    return Run(out, log.read_text(), pkeys)


def understood(folder: Path, options: str) -> Mapping[str, str]:
    """What opensm makes of this opensm.conf: every option of it, with its value."""
    (folder / "opensm.conf").write_text(options)
    env = environment(installed())
    env |= {"OSM_TMP_DIR": str(folder), "OSM_CACHE_DIR": str(folder)}
    _output(["opensm", "-F", "opensm.conf", "-c", "understood.conf", "-f", str(folder / "log")], env, folder)
    lines = (folder / "understood.conf").read_text().splitlines()
    words = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return {pair[0]: pair[1] for pair in words if len(pair) == 2}


def _wait(simulator: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and simulator.poll() is None:
        if b"simulator ready" in log.read_bytes():
            return
        time.sleep(0.02)
    raise AssertionError("ibsim did not start:\n" + log.read_text())


def _output(argv: list[str], env: Mapping[str, str], folder: Path) -> str:
    done = subprocess.run(
        argv, env=dict(env), cwd=folder, text=True, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr
