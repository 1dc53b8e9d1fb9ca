"""What Warewulf can't keep, or takes for something else, is refused before anything is changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from warewulf_server import Server

from pipeline.cluster.drivers.warewulf.driver import Warewulf
from pipeline.cluster.drivers.warewulf.wwctl import Wwctl
from pipeline.cluster.head import Head
from pipeline.cluster.objects import Assignment, Change, Kind, Ref, Wanted
from pipeline.errors import MachineError, PipelineError, UsageError
from pipeline.lab.warewulf import registry, start

LITERAL = [
    'a="b c"',
    "a='b'",
    "a=b;touch /tmp/x",
    "a=$(touch x)`touch y`",
    "a=[1-3],{x}",
    "a\\nb\\",
    "--force",
    '"',
    "console=ttyS0,115200",
    "ä=€",
    "|&<>*?#!",
]


def image(server: Server, *words: str) -> tuple[Wanted, ...]:
    more = {"kernel_parameters": words}
    return (
        Wanted(Ref("image", "web"), {"path": str(server.published / "web")}, more),
        Wanted(Ref("category", "openstack-network-nodes"), {"image": "web"}, make=False),
    )


@pytest.mark.parametrize("remote", [False, True], ids=["local", "ssh"])
def test_values_arrive_as_they_are(server: Server, remote: bool) -> None:
    if remote:
        server.driver = Warewulf(over_ssh(server))
    before = registry.snapshot(server.home)["nodes"]
    wanted = image(server, *LITERAL)
    server.apply(wanted)
    assert server.plan(wanted) == ()
    after = registry.snapshot(server.home)
    assert after["profiles"]["openstack-network-nodes"]["kernel"]["args"] == LITERAL
    assert after["nodes"] == before


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\rb", "", " a", "UNSET", "undef", "--", "nil", "~quiet"])
def test_a_value_that_would_be_something_else_is_refused(server: Server, value: str) -> None:
    with pytest.raises(UsageError) as raised:
        server.state(image(server, "first", value))
    assert raised.value.problems[0].where == "image/web"
    assert raised.value.problems[0].message.startswith(f"kernel_parameters {value!r}: ")
    assert server.calls(reading=True) == []


@pytest.mark.parametrize("name", ["undef", "a b", "~x", "-y", "n[1-3]", "a,b", "a;b", "$(x)", "ä"])
def test_a_name_that_would_be_something_else_is_refused(server: Server, name: str) -> None:
    wanted = (
        Wanted(Ref("category", name), {"image": "openstack-image"}),
        server.member("node002", name),
        server.member(name, "default"),
        Wanted(Ref("category", "other"), {"image": name}),
        server.interface("node002", name),
    )
    with pytest.raises(UsageError) as raised:
        server.driver.read(wanted)
    assert [problem.where for problem in raised.value.problems] == [str(item.ref) for item in wanted]


def test_what_has_no_place_in_warewulf_is_refused_all_at_once_when_planning(server: Server) -> None:
    owner = "category/hosts-web"
    kinds: list[tuple[Kind, str, str]] = [
        ("service", "eswitchd", owner),
        ("setting", "/etc/x.ini[a]b", owner),
        ("network", "ibnet", ""),
    ]
    with pytest.raises(UsageError) as raised:
        server.driver.read([Wanted(Ref(*kind)) for kind in kinds])
    assert [problem.message for problem in raised.value.problems] == [
        "Warewulf keeps no service",
        "Warewulf keeps no setting",
        "Warewulf keeps no network",
    ]
    assert all(problem.hint for problem in raised.value.problems)
    assert server.driver.kinds.isdisjoint(kind for kind, _, _ in kinds)


def test_dhcp_and_types_that_need_more_are_refused(server: Server) -> None:
    ref = Ref("interface", "ib0", "node/node001")
    with pytest.raises(UsageError, match="static addresses only"):
        server.driver.read([Wanted(ref, {"network": "ibnet", "dhcp": True})])
    with pytest.raises(UsageError, match="type: 'bond'"):
        server.driver.read([Wanted(ref, {"network": "ibnet", "type": "bond"})])


def refused(server: Server, wanted: Wanted, match: str) -> None:
    before = registry.snapshot(server.home)
    with pytest.raises(PipelineError, match=match) as raised:
        server.apply([wanted])
    assert raised.value.problems[0].where == str(wanted.ref)
    assert registry.snapshot(server.home) == before
    assert server.calls() == []


def test_an_interface_is_not_moved_and_takes_no_other_ones_place(server: Server) -> None:
    refused(server, server.interface("node002", "ibnet", "eth1"), "eth1 is in 'storage', with its address")
    refused(server, server.interface("node002", "storage", "ib0"), "'storage' already has the device eth1")


def test_an_image_needs_a_directory(server: Server) -> None:
    with pytest.raises(UsageError, match="path: Warewulf imports images from a directory"):
        server.driver.read([Wanted(Ref("image", "web"))])
    with pytest.raises(UsageError, match="path: Warewulf imports images from a directory"):
        server.driver.read([Wanted(Ref("image", "web"), {"path": "docker://web"})])


def test_a_directory_that_is_no_image_stops_everything(server: Server) -> None:
    before = registry.snapshot(server.home)
    shutil.rmtree(server.published / "web-3")
    with pytest.raises(PipelineError, match="invalid dir or uri") as raised:
        server.apply(server.wanted())
    assert raised.value.problems[0].where == "image/web"
    assert registry.snapshot(server.home) == before


def test_an_image_that_is_not_there_is_never_set(server: Server) -> None:
    refused(
        server,
        Wanted(Ref("category", "openstack-network-nodes"), {"image": "nowhere-9"}, make=False),
        "no image 'nowhere-9' that has been built",
    )


def test_a_clone_that_would_lack_something_is_refused(server: Server) -> None:
    other = registry.Registry(server.home)
    other.profiles["openstack-compute-hosts"]["resources"] = {"fstab": [{"file": "/home"}]}
    other.profiles["openstack-compute-hosts"]["tags"]["motto"] = '"so"'
    other.profiles["openstack-compute-hosts"]["network devices"]["storage"]["tags"] = {"DNS1": "10.0.0.1"}
    other.save()
    wanted = Wanted(Ref("category", "hosts"), source="openstack-compute-hosts")
    refused(server, wanted, "has resources, tag motto, storage: tags, which wwctl can't copy")


def test_what_somebody_else_did_in_between_is_refused(server: Server) -> None:
    wanted = server.wanted()
    state = server.state(wanted)
    changes = server.plan(wanted)
    other = registry.Registry(server.home)
    del other.nodes["node003"]
    other.profiles["hosts-web"] = {}
    other.save()
    with pytest.raises(PipelineError) as raised:
        server.driver.write(changes, state)
    assert [(problem.where, problem.message) for problem in raised.value.problems] == [
        ("category/hosts-web", "this profile has been made since it was read"),
        ("node/node003", "there is no such node any more"),
        ("node/node003/interface/ib0", "there is no such node any more"),
    ]
    assert server.calls() == []


def test_a_warning_that_nothing_was_done_is_an_error(server: Server) -> None:
    for what in ("node", "profile"):
        with pytest.raises(PipelineError, match=f"invalid {what}: nobody"):
            Wwctl(Head(programs=(str(server.home / "bin"),))).run(
                what, "set", "--yes", "--comment=x", "--", "nobody", where="somewhere"
            )


def test_a_change_of_another_manager_is_refused(server: Server) -> None:
    change = Change(Ref("service", "x", "node/node001"), "set", (Assignment("running", False, True),))
    with pytest.raises(PipelineError, match="Warewulf keeps no service"):
        server.driver.write([change], server.state(()))


def over_ssh(server: Server) -> Head:
    """A head node behind a program that runs a command as sshd does: by a shell, and with its exit code."""
    program = server.home / "bin/ssh"
    program.write_text('#!/bin/sh\nfor last; do :; done\nexec /bin/sh -c "$last"\n')
    program.chmod(0o755)
    return Head(address="root@head", programs=(str(server.home / "bin"),))


def test_a_refusal_over_ssh_is_no_lost_connection(server: Server) -> None:
    shutil.rmtree(server.published / "web-3")
    server.driver = Warewulf(over_ssh(server))
    with pytest.raises(PipelineError, match="invalid dir or uri") as raised:
        server.apply(server.wanted())
    assert raised.value.exit_code == 1


def test_a_lost_connection_is_told_as_one(server: Server) -> None:
    head = over_ssh(server)
    (server.home / "bin/ssh").write_text("#!/bin/sh\necho 'No route to host' >&2\nexit 255\n")
    with pytest.raises(MachineError, match="could not be reached: No route to host"):
        Warewulf(head).read(())


@pytest.mark.parametrize("remote", [False, True], ids=["local", "ssh"])
def test_a_server_without_wwctl_is_told(server: Server, remote: bool) -> None:
    head = over_ssh(server) if remote else Head(programs=(str(server.home / "bin"),))
    (server.home / "bin/wwctl").unlink()
    with pytest.raises(MachineError, match="'wwctl' is missing"):
        Warewulf(head).read(())


def test_an_older_release_is_told(server: Server) -> None:
    start.switch(server.home, release="4.5")
    with pytest.raises(MachineError, match=r"4\.6 and newer do: .*unknown command"):
        server.driver.read(())


def test_a_broken_registry_is_told(server: Server, tmp_path: Path) -> None:
    program = server.home / "bin/wwctl"
    program.write_text('#!/bin/sh\n[ "$1" = image ] && echo "IMAGE NAME" || echo "{not json}"\n')
    with pytest.raises(MachineError, match="profile list --json did not answer"):
        server.driver.read(())


def test_two_interfaces_of_a_node_in_one_network_are_refused_by_the_plan(server: Server) -> None:
    wanted = [
        server.interface("node001"),
        server.interface("node002"),
        server.interface("node001", name="ib1"),
    ]
    with pytest.raises(UsageError) as raised:
        server.plan(wanted)
    (problem,) = raised.value.problems
    assert problem.where == "node/node001/interface/ib1"
    assert problem.message.endswith("keeps one device of a node in 'ibnet', and ib0 is in it already")
    server.apply(wanted[:1])
    (note,) = [note for note in server.state(wanted[2:]).notes if "ib1" in note]
    assert note == (
        "node/node001/interface/ib1: network: 'ibnet' already has the device ib0 on this node; "
        "an apply refuses it"
    )
    with pytest.raises(PipelineError, match="already has the device ib0"):
        server.apply(wanted[2:])
