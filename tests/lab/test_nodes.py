"""The lab's nodes: apart from this machine, like real ones where it matters, and gone when they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.lab.nodes import adapter
from pipeline.lab.nodes.nodes import OFED_DIRECTORY, Nodes, running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")


@pytest.fixture(scope="module")
def nodes(
    lab_home: Path, lab_images: Mapping[str, Path], lab_mirror: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    with running(lab_home, ["node001"], folder=tmp_path_factory.mktemp("nodes")) as nodes:
        yield nodes


def test_a_node_is_what_its_image_says_and_shares_the_installer(nodes: Nodes) -> None:
    said = nodes.run("node001", f"hostname; uname -r; cat /etc/issue; ls {OFED_DIRECTORY}; whoami")
    for word in ("node001", "2.6.32-431.el6.x86_64", "CentOS release 6.5", "mlnxofedinstall", "root"):
        assert word in said
    assert "read-only" in nodes.run("node001", f"touch {OFED_DIRECTORY}/x 2>&1 || true").lower()


def test_a_node_sees_its_own_adapter_and_nothing_of_this_machine(nodes: Nodes) -> None:
    folder = nodes["node001"].folder
    adapter.put(folder, adapter.Flash("2.30.3110", vfs=4))
    assert nodes.run("node001", "ls /sys/bus/pci/devices").split() == [adapter.ADDRESS]
    assert "total_vfs = 4" in nodes.run("node001", "cat /dev/mst/mt4099_pci_cr0")
    processes = nodes.run("node001", "ps -e -o pid,comm").splitlines()
    assert processes[1].split() == ["1", "sshd"]
    assert len(processes) < 10
    here = nodes.run("node001", "cat /proc/mounts")
    assert str(Path.cwd()) not in "".join(
        line for line in here.splitlines() if not line.startswith("overlay ")
    )
    refused = nodes.run("node001", "mount -t tmpfs tmpfs /mnt 2>&1 && echo DONE; mknod /tmp/d b 8 0; "
                                   "cat /proc/self/status | grep CapEff")  # fmt: skip
    assert "DONE" not in refused


def test_a_reboot_keeps_disk_and_firmware_and_a_new_disk_only_the_firmware(nodes: Nodes) -> None:
    node = nodes["node001"]
    adapter.put(node.folder, adapter.Flash("2.32.5100"))
    nodes.run("node001", "touch /root/kept /tmp/lost")
    node.stop()
    assert not node.answers()
    node.boot()
    node.wait()
    assert "kept" in nodes.run("node001", "ls /root /tmp")
    assert "lost" not in nodes.run("node001", "ls /root /tmp")
    node.stop()
    node.wipe()
    node.boot()
    node.wait()
    assert "kept" not in nodes.run("node001", "ls /root")
    assert adapter.read(node.folder).version == "2.32.5100"


def test_the_nodes_of_a_place_run_once(nodes: Nodes, lab_home: Path) -> None:
    place = nodes["node001"].folder.parent
    with pytest.raises(PipelineError, match="already running"), running(lab_home, ["node001"], folder=place):
        raise AssertionError


def test_a_node_that_does_not_come_up_is_told_with_what_it_printed(
    lab_home: Path, lab_mirror: Path, lab_images: Mapping[str, Path], tmp_path: Path
) -> None:
    with (
        pytest.raises(PipelineError, match=r"no such program|No such file"),
        running(lab_home, ["node001"], folder=tmp_path, init=["/no/such/program"]),
    ):
        raise AssertionError


CHILD = """\
import sys, time
from pathlib import Path
from pipeline.lab.nodes.nodes import running
with running(Path(sys.argv[1]), ["node001", "node002"], folder=Path(sys.argv[2])) as nodes:
    nodes.run("node001", "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
    print("up", flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_nothing_of_the_nodes_is_left(
    number: signal.Signals, lab_home: Path, lab_mirror: Path, lab_images: Mapping[str, Path], tmp_path: Path
) -> None:
    words = [sys.executable, "-c", CHILD, str(lab_home), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        assert _left(tmp_path)
        child.send_signal(number)
        child.wait(10)
    until = time.monotonic() + 5
    while _left(tmp_path):
        assert time.monotonic() < until, _left(tmp_path)
        time.sleep(0.05)
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def _left(place: Path) -> list[str]:
    """Processes that run in a root of this place."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mounts = (folder / "mounts").read_text()
        except OSError:
            continue
        if str(place) in mounts:
            found.append(folder.name)
    return found
