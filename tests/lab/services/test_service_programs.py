"""The stand-ins for the services' programs: strict about arguments, and as the nodes and releases have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cluster.head import Head, Ran
from pipeline.lab.head import start
from pipeline.lab.head.power import put_status
from pipeline.lab.services import state, switches
from pipeline.lab.services.switches import CEPHS, Services


class Programs:
    """Those of a head node of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        start.make(directory)
        self._head = Head(root=str(directory / "root"), programs=(str(directory / "bin"),))

    def run(self, *argv: str) -> Ran:
        return self._head.run(argv)

    def switch(self, services: Services) -> None:
        switches.write(str(self.directory / state.FOLDER), services)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path / "head")


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ("ceph osd frobnicate", 22, "no valid command found"),
        ("ceph status --colour", 22, "unrecognized arguments: --colour"),
        ("ceph osd ok-to-stop 9", 2, "osd.9 does not exist"),
        ("ceph osd ok-to-stop x", 22, "x is not a valid osd id"),
        ("ceph osd set nonsense", 22, "invalid command"),
        ("ceph osd ok-to-stop 0 2", 16, "Error EBUSY: unsafe to stop"),
        ("scontrol update nodename=node002 state=drain", 1, "You must specify a reason"),
        ("scontrol update nodename=node009 state=drain reason=x", 1, "Invalid node name specified"),
        ("scontrol update nodename=node002 state=resume", 1, "Invalid node state specified"),
        ("scontrol update nodename=node002 colour=red", 1, "not supported"),
        ("squeue -w node009", 1, "Invalid node name node009"),
        ("sinfo -o %Q", 1, "Invalid job format specification: Q"),
        ("sinfo --frobnicate", 1, "unrecognized option"),
        ("openstack compute service frobnicate", 2, "is not an openstack command"),
        ("openstack compute service set --enable --disable node002 nova-compute", 2, "error"),
        (
            "openstack compute service set --enable --disable-reason x node002 nova-compute",
            1,
            "Cannot specify option --disable-reason",
        ),
        ("nova service-disable node009 nova-compute", 1, "HTTP 404"),
        ("nova service-disable node002 nova-compute --frobnicate", 2, "unrecognized arguments"),
        ("neutron port-list", 2, "Unknown command"),
    ],
)
def test_what_is_not_known_is_refused_in_the_programs_words(
    programs: Programs, argv: str, code: int, said: str
) -> None:
    ran = programs.run(*argv.split())
    assert ran.code == code and said in ran.err
    assert "Traceback" not in ran.err


def test_the_answer_is_printed_although_it_is_no(programs: Programs) -> None:
    ran = programs.run("ceph", "osd", "ok-to-stop", "0", "2", "--format=json")
    assert ran.code == 16 and json.loads(ran.out)["ok_to_stop"] is False


@pytest.mark.parametrize(
    ("release", "commands"),
    [
        ("icehouse", []),
        ("luminous", ["ok-to-stop", "add-noout"]),
        ("nautilus", ["ok-to-stop", "add-noout", "set-group noout"]),
    ],
)
def test_a_release_has_its_commands_and_no_later_ones(
    programs: Programs, release: str, commands: list[str]
) -> None:
    programs.switch(Services(ceph=release))
    every = ("ok-to-stop", "add-noout", "set-group noout")
    ran = {words: programs.run("ceph", "osd", *words.split(), "osd.0") for words in every}
    assert [words for words in every if not ran[words].code] == commands


@pytest.mark.parametrize("release", CEPHS)
def test_a_status_has_the_shape_of_its_release(programs: Programs, release: str) -> None:
    programs.switch(Services(ceph=release))
    said = json.loads(programs.run("ceph", "status", "-f", "json").out)
    words = {name for name in ("status", "overall_status") if name in said["health"]}
    assert words == {
        "icehouse": {"overall_status"},
        "luminous": {"status", "overall_status"},
    }.get(release, {"status"})
    assert ("osdmap" in said["osdmap"]) is (release != "quincy")
    assert "HEALTH_OK" in programs.run("ceph", "health").out


def test_osds_computes_and_slurmds_are_down_with_their_node(programs: Programs) -> None:
    put_status(programs.directory, "node002", "INSTALLING", "provisioning started")
    assert json.loads(programs.run("ceph", "osd", "dump", "-f", "json").out)["osds"][0]["up"] == 0
    listed = json.loads(programs.run("openstack", "compute", "service", "list", "-f", "json").out)
    assert [(row["Host"], row["State"]) for row in listed] == [("node002", "down"), ("node003", "up")]
    assert programs.run("sinfo", "-h", "-o", "%N %T").out == "node002 down*\nnode003 idle\n"
    put_status(programs.directory, "node002", "UP")
    assert programs.run("ceph", "health").out == "HEALTH_OK\n"


def test_two_hosts_away_at_once_take_data_away(programs: Programs) -> None:
    for name in ("node002", "node003"):
        put_status(programs.directory, name, "DOWN")
    assert programs.run("ceph", "health").out.startswith("HEALTH_ERR")
    assert state.read(str(programs.directory))["most_away"] == 2


def test_agents_are_those_that_are_told_beside_the_head_node(programs: Programs) -> None:
    agents = [
        {"host": "node002", "binary": "neutron-mlnx-agent", "alive": True},
        {"host": "node003", "binary": "neutron-mlnx-agent", "alive": False},
    ]
    (programs.directory / "agents.json").write_text(json.dumps(agents))
    lines = [line.split("|") for line in programs.run("neutron", "agent-list").out.splitlines()]
    rows = [[cell.strip() for cell in line[2:5]] for line in lines if len(line) > 5]
    assert rows[1:] == [
        ["Mellanox plugin agent", "node002", ":-)"],
        ["Mellanox plugin agent", "node003", "xxx"],
    ]
    listed = json.loads(programs.run("openstack", "network", "agent", "list", "-f", "json").out)
    assert [row["Alive"] for row in listed] == [True, False]


def test_a_new_head_node_has_new_services(programs: Programs) -> None:
    programs.run("ceph", "osd", "set", "noout")
    start.make(programs.directory)
    assert programs.run("ceph", "health").out == "HEALTH_OK\n"
    assert len(state.calls(str(programs.directory))) == 1
