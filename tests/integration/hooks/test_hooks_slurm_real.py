"""The same with Slurm itself: a controller and two slurmds on loopback, which ask nobody who they are."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.cluster.head import Head
from pipeline.rollout.hooks.only import Only
from pipeline.rollout.hooks.slurm import Slurm
from tests.integration.aside import unpacked
from tests.integration.hooks.services_lab import ONE, THREE, TWO, states

PACKAGES = ("slurmctld", "slurmd", "slurm-client")
NODES = ("node002", "node003")
SECONDS = 60.0

CONFIGURATION = """\
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=1
SlurmdTimeout=3
MessageTimeout=1
TCPTimeout=1
NodeName=node002 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=node003 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=all Nodes=node002,node003 Default=YES State=UP
PartitionName=again Nodes=node002 State=UP
"""


class RealSlurm:
    """Daemons, each in the foreground and ended with the test; ``head`` finds their clients."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        library = root / "usr/lib" / f"{os.uname().machine}-linux-gnu"
        for name in ("state", *NODES):
            (folder / name).mkdir()
        configuration = CONFIGURATION.format(
            ports=_ports(3), user=_user(), plugins=library / "slurm-wlm", folder=folder
        )
        (folder / "slurm.conf").write_text(configuration)
        self.environment = {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "LD_LIBRARY_PATH": f"{library}:{library / 'slurm-wlm'}",
        }
        self.head = Head(programs=(str(root / "usr/bin"),))

    def begin(self, name: str, *arguments: str) -> None:
        """Start the controller or, by its node's name, a slurmd."""
        kind = "slurmd" if name in NODES else name
        argv = [self._root / "usr/sbin" / f"{kind}-wlm", "-D"]
        if kind == "slurmd":
            argv += ["-N", name, "-d", self._root / "usr/sbin/slurmstepd-wlm"]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                [*argv, *arguments], env={**os.environ, **self.environment}, stdout=log, stderr=log
            )

    def end(self, *names: str) -> None:
        for name in names or tuple(self._daemons):
            daemon = self._daemons.pop(name)
            daemon.send_signal(signal.SIGKILL)
            daemon.wait()

    def sinfo(self) -> str:
        ran = self.head.run(("sinfo", "-h", "-N", "-p", "all", "-o", "%N|%T|%E"))
        return ran.out if not ran.code else ran.err

    def until(self, *lines: str) -> None:
        """Wait until sinfo says so."""
        _until(lambda: self.sinfo().splitlines() == list(lines), self.sinfo)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RealSlurm]:
    found = RealSlurm(unpacked("slurm", PACKAGES), tmp_path)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    try:
        for name in ("slurmctld", *NODES):
            found.begin(name)
        found.until("node002|idle|none", "node003|idle|none")
        yield found
    finally:
        found.end()


def test_real_nodes_are_drained_waited_for_and_resumed(slurm: RealSlurm, tmp_path: Path) -> None:
    hook = Slurm(slurm.head, Only(), "pipeline rollout 12", tmp_path / "hooks")
    assert [one.where for one in hook.find([ONE, TWO, THREE])] == ["node001"]
    job = ("sbatch", "-w", "node002", "-o", "/dev/null", "-D", str(tmp_path), "--wrap", "exec sleep 600")
    number = slurm.head.run(job).out.split()[-1]
    _until(lambda: "node002|allocated" in slurm.sinfo(), slurm.sinfo)
    answers = hook.before([ONE, TWO, THREE])
    assert states(answers) == {"node001": "done", "node002": "wait", "node003": "done"}
    assert f"{number} of {_user()}" in answers["node002"].why
    assert slurm.head.run(("scancel", number)).code == 0
    _until(lambda: states(hook.before([TWO, THREE])) == {"node002": "done", "node003": "done"}, slurm.sinfo)
    slurm.end(*NODES)
    slurm.until("node002|drained*|pipeline rollout 12", "node003|drained*|pipeline rollout 12")
    assert states(hook.after([TWO, THREE])) == {"node002": "wait", "node003": "wait"}
    for name in NODES:
        slurm.begin(name, "-b")  # it says that its node was booted
    # Slurm has whole seconds: who tells of its boot twice within two of them was booted twice, for Slurm.
    booted = time.monotonic()
    _until(lambda: time.monotonic() > booted + 3 and "*" not in slurm.sinfo(), slurm.sinfo)
    _until(lambda: states(hook.after([TWO, THREE])) == {"node002": "done", "node003": "done"}, slurm.sinfo)
    slurm.until("node002|idle|none", "node003|idle|none")
    assert states(hook.after([TWO, THREE])) == {"node002": "done", "node003": "done"}


def test_a_real_node_that_somebody_set_down_stays_so_when_it_was_rebooted(
    slurm: RealSlurm, tmp_path: Path
) -> None:
    for node, state in (("node002", "down"), ("node003", "fail")):
        ran = slurm.head.run(("scontrol", "update", f"nodename={node}", f"state={state}", "reason=bad DIMM"))
        assert ran.code == 0, ran.err
    slurm.until("node002|down|bad DIMM", "node003|fail|bad DIMM")
    hook = Slurm(slurm.head, Only(), "pipeline rollout 12", tmp_path / "hooks")
    assert [one.where for one in hook.find([TWO, THREE])] == ["node002", "node003"]
    assert states(hook.before([TWO, THREE])) == {"node002": "done", "node003": "done"}
    slurm.end(*NODES)
    slurm.until("node002|down*|bad DIMM", "node003|fail*|bad DIMM")
    for name in NODES:
        slurm.begin(name, "-b")
    slurm.until("node002|down|bad DIMM", "node003|fail|bad DIMM")
    assert states(hook.after([TWO, THREE])) == {"node002": "done", "node003": "done"}
    slurm.until("node002|down|bad DIMM", "node003|fail|bad DIMM")


def _until(holds: Callable[[], bool], says: Callable[[], str]) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, says()
        time.sleep(0.1)


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_name


def _ports(count: int) -> list[int]:
    """Numbers that nobody listens on just now."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports
