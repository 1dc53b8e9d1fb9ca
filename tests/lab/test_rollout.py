"""The procedure's last part on the lab: real nodes are taken to a version, proved, and taken back.

One after the other, on the same nodes: each step begins where the one before it has ended.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.lab.head.instances import instance as instance_of
from pipeline.lab.head.state import Store as HeadState
from pipeline.lab.home import ensure
from pipeline.lab.nodes import adapter, faults, running
from pipeline.rollout import folder as folders
from tests.faults.site import until
from tests.lab.own_lab import own_lab
from tests.lab.project import Project, Result, make_project, unmount_all

pytestmark = pytest.mark.xdist_group("rollout")

CLUSTER = "openstack-mellanox"
IMAGE = "openstack-image-mellanox"
NODES = ("node001", "node002", "node003")
GUESTS = "virtual-node-image"
VIRTUAL = f"""\
[[image]]
name = "{GUESTS}"
path = "/cm/images/{GUESTS}"

[[category]]
name = "virtual-nodes"
image = "{GUESTS}"

[rollout.virtual]
interface = "ib0"
terminate = true
power_on = true

[rollout]
"""
FAST = "poll = 0.5\nverify = 8\nbegin = 15\n"


class Lab:
    """A project whose lab has three nodes up."""

    def __init__(self, project: Project, home: Path) -> None:
        self.project = project
        self.home = home
        self.place = project.path / "store/clusters" / CLUSTER / "rollouts"

    def rollout(self, *words: str, timeout: float = 240) -> Result:
        return self.project.run("rollout", *words, "--json", timeout=timeout)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """A rollout in the background."""
        command = [sys.executable, "-m", "pipeline", "rollout", *words, "--plain"]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.project.path, stdout=pipe, stderr=pipe, text=True)

    def last(self) -> folders.Kept:
        kept = folders.last(self.place)
        assert kept is not None
        return kept

    def times_of(self, node: str) -> Mapping[str, float]:
        """When a node came to which state, in a rollout that goes on."""
        kept = self.last()
        progress = kept.progress.nodes.get(node)
        return progress.times if progress and not kept.progress.outcome else {}

    def image_of(self, node: str) -> str:
        """What the node was provisioned from last, as its manager knows."""
        return str(HeadState(str(self.home / "head")).state["syncs"][node]["image"])

    def category_image(self, category: str) -> str:
        objects = HeadState(str(self.home / "head")).state["objects"]
        return str(objects["category"][category]["values"]["softwareimage"])


@pytest.fixture(scope="module")
def lab(
    tmp_path_factory: pytest.TempPathFactory, lab_home: Path, lab_images: object, lab_mirror: object
) -> Iterator[Lab]:
    ensure(lab_home, lambda event: None)
    path = tmp_path_factory.mktemp("rollout")
    home = own_lab(path / "lab", lab_home)
    project = make_project(path / "project", home)
    cluster = project.path / f"recipes/clusters/{CLUSTER}.toml"
    text = cluster.read_text().replace("[rollout.waits]\n", f"[rollout.waits]\n{FAST}")
    text = text.replace("[rollout]\n", VIRTUAL).replace(
        'hooks = ["ceph", "nova"]', 'hooks = ["ceph", "nova", "virtual"]'
    )
    cluster.write_text(text)
    try:
        well(project.run("build"))
        well(project.run("lab", "up", "--nodes", "3", "--virtual", "1"))
        well(project.run("cluster", "apply", "--yes"))
        well(project.run("cluster", "run", "firmware", "--nodes", ",".join(NODES)))
        yield Lab(project, home)
    finally:
        running.down(home)
        unmount_all(project)


def well(ended: Result) -> Result:
    assert ended.exit_code == 0, (ended.out, ended.err)
    return ended


def nodes_come_to_the_version_one_after_the_other_and_are_proved(lab: Lab) -> None:
    told = well(lab.rollout("start", "--image", f"{IMAGE}@1")).json()
    assert told["outcome"] == "ended" and told["failed"] == []
    assert told["batches"] == [["node001"], ["node002"], ["node003"]]
    assert {node["state"] for node in told["nodes"]} == {"released"}
    assert {name: lab.image_of(name) for name in NODES} == dict.fromkeys(NODES, f"{IMAGE}-1")
    assert lab.category_image("openstack-compute-hosts-mellanox") == f"{IMAGE}-1"
    facts = {node["name"]: node["facts"] for node in told["nodes"]}
    assert facts["node002"]["ib_interface"] == "eth6" and facts["node003"]["ib_interface"] == "eth4"
    assert "nothing to do" in well(lab.project.run("cluster", "plan")).out
    again = well(lab.project.run("cluster", "run", "firmware", "--nodes", "node003", "--json")).json()
    assert again["results"]["node003"]["status"] == "up to date"  # with its virtual functions


def a_version_without_the_sleep_is_stopped_at_the_canary_and_taken_back_by_itself(lab: Lab) -> None:
    recipe = lab.project.path / f"recipes/{IMAGE}/recipe.toml"
    whole = recipe.read_text()
    assert "agent_waits_seconds = 3\n" in whole
    recipe.write_text(whole.replace("agent_waits_seconds = 3\n", "agent_waits_seconds = 0\n"))
    try:
        well(lab.project.run("build", IMAGE))  # its tests can't know that this is too short
    finally:
        recipe.write_text(whole)
    ended = lab.rollout("start", "--image", f"{IMAGE}@2")
    assert ended.exit_code == 1
    told = ended.json()
    assert "the canary node002 failed" in told["why"]
    assert "neutron-mlnx-agent" in str(told["taken_back"])
    nodes = {node["name"]: (node["state"], node["way"]) for node in told["nodes"]}
    back = ("released", "back")
    assert nodes == {"node001": back, "node002": back, "node003": ("waiting", "out")}
    assert {name: lab.image_of(name) for name in NODES} == dict.fromkeys(NODES, f"{IMAGE}-1")
    assert lab.category_image("openstack-network-nodes") == f"{IMAGE}-1"
    categories = "openstack-compute-hosts-mellanox, openstack-network-nodes"
    why = f"the categories {categories} of {CLUSTER} have it, as rolled out"
    kept = well(lab.project.run("gc", "--keep", "1", "--unpublish", "--dry-run")).out
    assert f"{IMAGE}@1 stays: {why}" in kept
    refused = lab.project.run("unpublish", "--dry-run", f"{IMAGE}@1")
    assert refused.exit_code == 1 and why in refused.err


FAULTS: tuple[tuple[faults.Fault, str], ...] = (
    ("installs-half", "INSTALLER_FAILED (provisioning failed)"),
    ("no-sriov", "test_compute_nodes.py"),
    ("never-returns", "its installation has not begun"),
)


def a_node_that_fails_is_told_with_why_and_taken_back(lab: Lab, fault: faults.Fault, why: str) -> None:
    before = lab.last().order.number
    faults.put(lab.home / "nodes", "node002", fault)
    process = lab.begin("start", "--image", f"{IMAGE}@1", "--nodes", "node002")
    until(lambda: lab.last().order.number > before and lab.last().progress.is_going_back, "it goes back", 90)
    faults.put(lab.home / "nodes", "node002", "none")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, (out, err)
    node = lab.last().progress.nodes["node002"]
    assert (node.state, node.way) == ("released", "back"), (out, err)
    assert node.before is not None and why in f"{node.before.why} {node.before.failed_checks}"
    assert lab.image_of("node002") == f"{IMAGE}-1"


def killed_in_the_middle_it_is_resumed_and_nothing_is_done_twice(lab: Lab) -> None:
    process = lab.begin("start", "--image", f"{IMAGE}@1", "--nodes", "node001")
    until(lambda: "installing" in lab.times_of("node001"), "it is being installed", 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert lab.last().is_unfinished and not lab.last().is_running
    refused = lab.rollout("start", "--image", f"{IMAGE}@1", "--nodes", "node[001-002]")
    assert refused.exit_code == 2 and "has not come to its end" in refused.err
    burnt = lab.project.run("cluster", "run", "firmware", "--nodes", "node[001-002]")
    number = lab.last().order.number
    assert burnt.exit_code == 2 and f"node001: rollout {number} of {CLUSTER} has it on its way" in burnt.err
    assert f"pipeline rollout status {CLUSTER} --number {number}" in burnt.err
    told = well(lab.rollout("resume")).json()
    assert [node["state"] for node in told["nodes"]] == ["released"]


def where_firmware_is_burnt_no_node_goes(lab: Lab) -> None:
    adapter.break_it(lab.home / "nodes/node002", slow=20)
    words = ("cluster", "run", "firmware", "--nodes", "node002")
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", *words], cwd=lab.project.path, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    until_it_burns = (line for line in process.stderr if "requiring firmware update" in line)
    assert next(until_it_burns, None), "it never burnt"
    refused = lab.rollout("start", "--image", f"{IMAGE}@1", "--nodes", "node002")
    assert refused.exit_code == 2 and "node002: firmware-" in refused.err, refused.err
    assert f"of {CLUSTER} is under way there" in refused.err
    process.kill()  # what burns goes on
    process.communicate()


def while_the_head_node_is_dead_it_waits_and_then_goes_on(lab: Lab) -> None:
    process = lab.begin("start", "--image", f"{IMAGE}@1", "--nodes", "node002")
    until(lambda: "rebooting" in lab.times_of("node002"), "it is rebooting", 60)
    well(lab.project.run("lab", "fault", "head", "dead"))
    until(lambda: any("can't be asked" in note for note in lab.last().progress.notes), "it is noticed", 60)
    well(lab.project.run("lab", "fault", "head", "none"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, (out, err)
    assert "the cluster manager answers again" in lab.last().progress.notes
    journal = (lab.last().folder / folders.JOURNAL).read_text()
    assert "has begun there still burns" in journal  # what the step before has left there
    assert journal.index("still burns") < journal.index('"rebooting"')
    adapter.break_it(lab.home / "nodes/node002", "")


def where_ceph_is_not_well_no_host_of_osds_goes(lab: Lab) -> None:
    well(lab.project.run("lab", "fault", "ceph", "unhealthy"))
    refused = lab.rollout("start", "--image", f"{IMAGE}@1", "--nodes", "node003")
    well(lab.project.run("lab", "fault", "ceph", "none"))
    assert refused.exit_code == 2 and "Ceph" in refused.err


def what_only_claims_to_be_what_it_was_is_not_given_to_users(lab: Lab) -> None:
    """What the nodes had before their first rollout is no version: its directory is what they are to be."""
    faults.put(lab.home / "nodes", "node002", "claims-success")
    ended = lab.rollout("rollback", "--number", "1", "--nodes", "node002", "--yes")
    faults.put(lab.home / "nodes", "node002", "none")
    assert ended.exit_code == 1
    [failed] = ended.json()["failed"]
    assert failed["failed_checks"] == [f"is exactly /cm/images/{IMAGE}: files"], failed
    log = (lab.place / f"rollout-{lab.last().order.number}" / failed["log"]).read_text()
    assert "/etc/modprobe.d: missing" in log, log
    assert "not verified against a version" in str(ended.json()["notes"])
    well(lab.rollout("abort"))


def by_hand_all_nodes_are_taken_back(lab: Lab) -> None:
    told = well(lab.rollout("rollback", "--number", "1", "--yes")).json()
    assert told["back_of"] == 1 and {node["state"] for node in told["nodes"]} == {"released"}
    assert {name: lab.image_of(name) for name in NODES} == dict.fromkeys(NODES, IMAGE)
    assert lab.category_image("openstack-compute-hosts-mellanox") == IMAGE
    assert "nothing to do" in well(lab.project.run("cluster", "plan")).out


def virtual_nodes_come_back_with_a_new_instance_and_an_address_on_infiniband(lab: Lab) -> None:
    """Its host runs an eSwitch by now: the agent binds the guest's interface."""

    def instance() -> str:
        return instance_of(HeadState(str(lab.home / "head")).state["objects"]["device"]["vnode001"])

    before = instance()
    assert before
    told = well(lab.rollout("start", "--image", f"{GUESTS}@1", "--nodes", "vnode001")).json()
    [node] = told["nodes"]
    assert node["state"] == "released" and lab.image_of("vnode001") == f"{GUESTS}-1", node
    assert instance() not in ("", before)
    assert node["facts"]["ib_address"].startswith("192.168.80."), node


def test_the_last_part_of_the_procedure(lab: Lab) -> None:
    """One after the other, on the same nodes."""
    nodes_come_to_the_version_one_after_the_other_and_are_proved(lab)
    virtual_nodes_come_back_with_a_new_instance_and_an_address_on_infiniband(lab)
    a_version_without_the_sleep_is_stopped_at_the_canary_and_taken_back_by_itself(lab)
    for fault, why in FAULTS:
        a_node_that_fails_is_told_with_why_and_taken_back(lab, fault, why)
    killed_in_the_middle_it_is_resumed_and_nothing_is_done_twice(lab)
    where_firmware_is_burnt_no_node_goes(lab)
    while_the_head_node_is_dead_it_waits_and_then_goes_on(lab)
    where_ceph_is_not_well_no_host_of_osds_goes(lab)
    what_only_claims_to_be_what_it_was_is_not_given_to_users(lab)
    by_hand_all_nodes_are_taken_back(lab)
