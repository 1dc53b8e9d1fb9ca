"""A thousand nodes, with a stand-in for ssh: one process for each, however many checks there are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

NODES = 1_000
OWN_SECONDS = 60.0
MEGABYTES = 200

SSH = """\
#!{python} -IS
# In place of ssh: the shell of a node, without its programs; it starts a thousand times.
import binascii, sys, time
with open({count!r}, "a") as file:
    file.write("x")
command = sys.argv[-1]
at = " ".join(sys.argv[1:-1])
node = at[at.rindex("node") :][:8]
if node == "node0500":
    sys.exit("ssh: connect to host node0500 port 22: No route to host")
sign = command[command.index("@pipeline:"):].split()[0].rstrip(";'")
say = lambda text: (sys.stdout.write(f"{{sign}} {{text}}\\n"), sys.stdout.flush())
say("hello")
read = sys.stdin.buffer
while line := read.readline().split():
    text = read.read(int(line[3])).decode()
    if line[0] == b"run":
        number = line[1].decode()
        time.sleep({seconds})
        say(f"begin {{number}}")
        said = f"{{node}} was asked {{text}}\\n".encode()
        say(f"out {{number}} {{binascii.b2a_base64(said, newline=False).decode()}}")
        say(f"end {{number}} 0")
"""

CHILD = """\
import json, re, resource, sys, time
from pathlib import Path
from pipeline.cluster.fanout import Way
from pipeline.rollout import verifying
from pipeline.rollout.model import Node, Target
from pipeline.store.store import Store
from tests.small_store import add_version

folder, count = Path(sys.argv[1]), int(sys.argv[2])
store = Store.open(folder / "store")
add_version(store, [], packages=())
verifying.expected = lambda *arguments: None
nodes = [Node(f"node{number:04}", "compute") for number in range(1, count + 1)]
verifier = verifying.NodeVerifier(store, [folder / "test_many.py"], way=Way(ssh=str(folder / "ssh")))
begun = time.monotonic()
verdicts = verifier.verify(nodes, Target("web-1", "web", 1), folder / "logs")
own = sum(getattr(resource.getrusage(resource.RUSAGE_SELF), name) for name in ("ru_utime", "ru_stime"))
# Not ru_maxrss: that keeps, over exec, what the process had that started this one, such as a pytest.
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({
    "own": own,
    "megabytes": peak,
    "wall": time.monotonic() - begun,
    "passed": sum(verdict.passed for verdict in verdicts.values()),
    "checks": sum(len(verdict.checks) for verdict in verdicts.values()),
    "why": [verdict.why for verdict in verdicts.values() if not verdict.passed][:2],
}))
"""

TESTS = """\
import resource
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def what_this_process_costs(node):
    yield
    used = resource.getrusage(resource.RUSAGE_SELF)
    Path(__file__).with_name("pytest.cost").write_text(str(used.ru_utime + used.ru_stime))


@pytest.mark.parametrize("number", range({checks}))
def test_one_of_many(host, node, number):
    assert host.check_output(f"check {{number}}") == f"{{node.name}} was asked check {{number}}"
"""


def verify(folder: Path, nodes: int, checks: int, seconds: float = 0.0) -> dict[str, float]:
    """What verifying costs, when each check takes so many seconds; ``ssh`` is how many there were."""
    folder.mkdir()
    count = folder / "count"
    (folder / "ssh").write_text(SSH.format(python=sys.executable, count=str(count), seconds=seconds))
    (folder / "ssh").chmod(0o755)
    (folder / "test_many.py").write_text(TESTS.format(checks=checks))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder), str(nodes)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    figures: dict[str, float] = json.loads(done.stdout)
    figures["ssh"] = len(count.read_text())
    figures["pytest"] = float((folder / "pytest.cost").read_text())
    print(figures)
    return figures


def test_a_thousand_nodes_take_one_ssh_each_and_little_of_this_machine(tmp_path: Path) -> None:
    figures = verify(tmp_path / "many", NODES, 20)
    assert figures["passed"] == NODES - 1, figures
    assert figures["checks"] == (NODES - 1) * 20 + 1
    assert figures["ssh"] == NODES
    assert figures["own"] + figures["pytest"] < OWN_SECONDS
    assert figures["megabytes"] < MEGABYTES


@pytest.mark.parametrize("checks", [1, 100])
def test_the_number_of_ssh_does_not_grow_with_the_checks(tmp_path: Path, checks: int) -> None:
    figures = verify(tmp_path / "few", 30, checks)
    assert (figures["passed"], figures["ssh"]) == (30, 30), figures


def test_nodes_are_asked_side_by_side_what_the_first_was_asked(tmp_path: Path) -> None:
    nodes, checks, seconds = 40, 10, 0.2
    figures = verify(tmp_path / "slow", nodes, checks, seconds)
    assert figures["passed"] == nodes
    assert figures["wall"] < nodes * checks * seconds / 4
