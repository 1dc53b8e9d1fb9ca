"""A thousand nodes, with a stand-in for ssh: what the fan-out itself costs, and that none is lost."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cluster.fanout import FANOUT, Target, Way
from pipeline.cluster.firmware import choose, run_firmware
from pipeline.cluster.model import Firmware
from pipeline.cluster.shells import Lost, Ran, Shells
from pipeline.errors import UsageError

NODES = 1_000
LINES = 100
OWN_SECONDS = 12.0
MEGABYTES = 120

SSH = """\
#!/bin/sh
# In place of ssh: what a node prints, after which it is known how it ended.
for word; do last=$word; done
run=firmware-1
case "$*" in *node0500*) echo "ssh: connect to host node0500 port 22: No route to host"; exit 255 ;; esac
echo "@pipeline:$run begin somebody"
i=0
while [ $i -lt {lines} ]; do
    echo "Installing package $i of all that there are, with a line of usual length"
    i=$((i+1))
done
echo "@pipeline:$run adapter before 04:00.0 version=2.30.3110 sriov_en=false total_vfs=0"
echo "@pipeline:$run adapter after 04:00.0 version=2.32.5100 sriov_en=true total_vfs=16"
echo "@pipeline:$run end installer 0"
"""

CHILD = """\
import json, re, resource, sys, time
from pathlib import Path
from pipeline.cluster.fanout import Target, Way
from pipeline.cluster.firmware import choose, run_firmware
from pipeline.cluster.model import Firmware
from pipeline.errors import UsageError

folder, count = Path(sys.argv[1]), int(sys.argv[2])
targets = tuple(Target(f"node{number:04}") for number in range(1, count + 1))
order = Firmware((), "", False, "/cm/shared/ofed")
lines = 0
def show(node, line):
    global lines
    lines += 1
begun = time.monotonic()
chosen = choose(order, targets, folder / "runs")
record = run_firmware(order, chosen, folder / "runs", way=Way(ssh=str(folder / "ssh")), show=show)
used = resource.getrusage(resource.RUSAGE_SELF)
statuses = {}
for result in record.results.values():
    statuses[result.status] = statuses.get(result.status, 0) + 1
# Not ru_maxrss: that keeps, over exec, what the process had that started this one, such as a pytest.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"own": used.ru_utime + used.ru_stime, "megabytes": peak, "lines": lines,
    "wall": time.monotonic() - begun, "statuses": statuses}))
"""


def test_a_thousand_nodes_cost_little_and_all_have_a_result(tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH.format(lines=LINES))
    ssh.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(NODES)], capture_output=True, text=True, check=True
    )
    figures = json.loads(done.stdout)
    print(figures)
    assert figures["statuses"] == {"updated": NODES - 1, "unreachable": 1}
    assert figures["lines"] == (NODES - 1) * (LINES + 4) + 1
    assert len(list((tmp_path / "runs/firmware-1").glob("*.log"))) == NODES
    assert figures["own"] < OWN_SECONDS, figures
    assert figures["megabytes"] < MEGABYTES, figures


GATEWAY = """\
#!/bin/sh
# In place of ssh: a gateway is this machine, a node says through which gateway it was reached.
for word; do host=$command command=$word; done
case $host in
    gateway*) export GATEWAY=$host PATH={python}:$PATH; exec sh -c "$command" ;;
esac
echo "@pipeline:firmware-1 begin somebody"
echo "through $GATEWAY"
echo "Device #1: Updating FW ... Done"
echo "@pipeline:firmware-1 end installer 0"
"""


def by_gateways(folder: Path, ssh: str, *routes: str, fanout: int = FANOUT) -> Way:
    """By gateways of a topology with these ``routes``, and a stand-in for ``ssh``."""
    program, topology = folder / "ssh", folder / "topology.conf"
    program.write_text(ssh.format(python=Path(sys.executable).parent))
    program.chmod(0o755)
    here = socket.gethostname().split(".")[0]
    topology.write_text("\n".join(("[routes]", *routes, "")).format(here=here))
    return Way(fanout=fanout, ssh=str(program), topology=topology)


def test_with_a_topology_nodes_are_reached_through_gateways(tmp_path: Path) -> None:
    targets = tuple(Target(f"node{number:02}") for number in range(1, 41))
    order = Firmware((), "", False, "/cm/shared/ofed")
    way = by_gateways(tmp_path, GATEWAY, "{here}: gateway[1-2]", "gateway[1-2]: node[01-40]", fanout=8)
    record = run_firmware(order, choose(order, targets, tmp_path / "runs"), tmp_path / "runs", way=way)
    assert {result.status for result in record.results.values()} == {"updated"}
    assert len(record.results) == 40
    logs = [(tmp_path / f"runs/firmware-1/{target.name}.log").read_text() for target in targets]
    through = {line for log in logs for line in log.splitlines() if line.startswith("through")}
    assert through == {"through gateway1", "through gateway2"}


def test_a_topology_and_addresses_that_gateways_do_not_know_are_refused(tmp_path: Path) -> None:
    topology = tmp_path / "topology.conf"
    topology.write_text("[routes]\nhere: gateway1\ngateway1: node01\n")
    order = Firmware((), "", False, "/cm/shared/ofed")
    for targets, way, message in (
        ([Target("node01", "127.0.0.1")], Way(topology=topology), "a topology can't be used here"),
        ([Target("node01")], Way(topology=tmp_path / "none"), "no topology of ClusterShell"),
    ):
        with pytest.raises(UsageError, match=message):
            run_firmware(order, choose(order, targets, tmp_path / "runs"), tmp_path / "runs", way=way)


FAILING = """\
#!/bin/sh
# In place of ssh: gateways are this machine; one can't be reached, one is lost before a node says a word.
for word; do host=$command command=$word; done
case $host in
    dead) echo "ssh: connect to host dead port 22: No route to host" >&2; exit 255 ;;
    alive | lost) export GATEWAY=$host PATH={python}:$PATH; exec sh -c "$command" ;;
    node5*) kill -9 $PPID; exit 1 ;;
esac
cat # as a program that reads what it is given: there is an end to it
echo "@pipeline:firmware-1 begin somebody"
echo "through $GATEWAY"
echo "Device #1: Updating FW ... Done"
echo "@pipeline:firmware-1 end installer 0"
"""


@pytest.fixture
def failing(tmp_path: Path) -> Way:
    """Nodes behind a dead gateway, a live one, both of them, and one that is lost."""
    routes = ("{here}: dead,alive,lost", "dead: node[10-12]", "alive: node[20-22]", "lost: node50")
    return by_gateways(tmp_path, FAILING, *routes)


def test_a_lost_gateway_costs_only_the_nodes_behind_it(tmp_path: Path, failing: Way) -> None:
    order = Firmware((), "", False, "/cm/shared/ofed")
    names = ("node10", "node11", "node12", "node20", "node21", "node22", "node50")
    runs = tmp_path / "runs"
    record = run_firmware(order, choose(order, [Target(name) for name in names], runs), runs, way=failing)
    told = {name: (result.status, result.why) for name, result in record.results.items()}
    gone = ("unreachable", "gateway dead: ssh: connect to host dead port 22: No route to host")
    assert [told[f"node1{number}"] for number in range(3)] == [gone] * 3
    assert [told[f"node2{number}"][0] for number in range(3)] == ["updated"] * 3
    status, why = told["node50"]
    assert (status, why[:14], why[-27:]) == ("unreachable", "gateway lost: ", "; what was run is not known")
    assert not (runs / "firmware-1/dead.log").exists()


def test_nodes_go_through_the_gateways_that_are_left(tmp_path: Path, failing: Way) -> None:
    topology = tmp_path / "topology.conf"
    here = socket.gethostname().split(".")[0]
    topology.write_text(f"[routes]\n{here}: dead,alive\ndead,alive: node[10-13]\n")
    order = Firmware((), "", False, "/cm/shared/ofed")
    targets = [Target(f"node{number}") for number in range(10, 14)]
    record = run_firmware(order, choose(order, targets, tmp_path / "runs"), tmp_path / "runs", way=failing)
    assert {result.status for result in record.results.values()} == {"updated"}


def test_shells_behind_a_dead_gateway_are_unreachable_and_the_others_open(
    tmp_path: Path, failing: Way
) -> None:
    ssh = Path(failing.ssh)
    ssh.write_text(ssh.read_text().replace("esac\n", '    node*) exec sh -c "$command" ;;\nesac\n'))
    targets = [Target("node10"), Target("node20")]
    with Shells(targets, failing, tmp_path, 20, Nobody()) as shells:
        answers = [shells.wait_for(name, shells.ask(name, "echo here")) for name in ("node10", "node20")]
    assert answers == [
        Lost("unreachable: gateway dead: ssh: connect to host dead port 22: No route to host"),
        Ran(0, b"here\n"),
    ]


class Nobody:
    """Wants to know nothing."""

    def opened(self, node: str) -> None:
        pass


@pytest.mark.parametrize(
    "text", [None, "Host node01\nHostName 127.0.0.1\nPort 1\nProxyCommand none\nLogLevel INFO\n"]
)
def test_where_a_configuration_is_given_ssh_goes_to_nobody_else(tmp_path: Path, text: str | None) -> None:
    """Real ssh: it would have asked the resolver for a name, and the user's own configuration before."""
    if text:
        (tmp_path / "its").write_text(text)
    way = Way(configuration=tmp_path / "its", otherwise="100% not up")
    targets = tuple(Target(name) for name in ("node01", "localhost"))
    order = Firmware((), "", False, "/cm/shared/ofed")
    record = run_firmware(order, choose(order, targets, tmp_path / "runs"), tmp_path / "runs", way=way)
    told = {name: result.why for name, result in record.results.items()}
    assert {result.status for result in record.results.values()} == {"unreachable"}
    assert told["localhost"] == "100% not up"
    assert ("port 1: Connection refused" in told["node01"]) is (text is not None), told
    assert (tmp_path / "runs/firmware-1/localhost.log").read_text() == "100% not up\n"
