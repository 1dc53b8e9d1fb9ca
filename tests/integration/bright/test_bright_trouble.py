"""What can't be done is told with the object and the property, and what was done before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cluster.drivers.bright.driver import Bright
from pipeline.cluster.head import Head
from pipeline.cluster.objects import HEAD, Assignment, Change, Ref, State, Value, Wanted
from pipeline.errors import MachineError, PipelineError
from pipeline.lab.head.switches import Switches
from tests.integration.bright_head import MELLANOX, ML2, LabHead, seed, some_switches


def change(ref: Ref, action: str = "set", source: str = "", **new: Value) -> Change:
    assignments = tuple(Assignment(name, None, value) for name, value in new.items())
    return Change(ref, action, assignments, source)  # type: ignore[arg-type]


@some_switches(0, 3)
def test_a_refused_change_is_named_with_what_was_committed(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    todo = [
        change(Ref("category", "default"), image="openstack-image"),
        change(Ref("node", "node001"), category="no-such-category"),
        change(Ref("category", "virtual-nodes"), image="openstack-image"),
    ]
    with pytest.raises(PipelineError) as caught:
        lab.driver.write(todo, State({}))
    assert not isinstance(caught.value, MachineError)
    assert caught.value.problems[0].where == "node/node001"
    assert "category" in caught.value.problems[0].message
    assert "no-such-category" in str(caught.value)
    assert "already committed: category/default; not: node/node001" in str(caught.value)
    objects = lab.snapshot()["objects"]
    assert objects["category"]["default"]["softwareimage"] == "openstack-image"
    assert objects["device"]["node001"]["category"] == "openstack-network-nodes"


@some_switches(1, 3)
def test_a_validation_is_told_by_our_property(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    with pytest.raises(PipelineError) as caught:
        lab.driver.write([change(Ref("network", "n"), "add", base_address="10.0.0.1", domain="x")], State({}))
    assert caught.value.problems[0].where == "network/n"
    assert caught.value.problems[0].message.startswith("base_address: ")
    assert "n" not in lab.snapshot()["objects"]["network"]


@some_switches(2, 3)
def test_a_head_node_that_goes_in_the_middle(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    todo, found = lab.plan(seed())
    lab.faults(die_after_commits=3)  # the image has two: its tree, then its path
    with pytest.raises(PipelineError) as caught:
        lab.driver.write(todo, found)
    assert caught.value.exit_code == MachineError.exit_code
    assert f"perhaps: category/{MELLANOX}; not: node/node002" in str(caught.value)
    assert "already committed: image/openstack-image-mellanox" in str(caught.value)
    lab.faults()
    left, found = lab.plan(seed(), lab.anew())
    assert 0 < len(left) < len(todo)
    lab.driver.write(left, found)
    assert lab.plan(seed(), lab.anew())[0] == ()


def test_an_image_that_may_be_half_done_is_told(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    todo, found = lab.plan(seed())
    lab.faults(die_after_commits=1)
    with pytest.raises(
        PipelineError, match="nothing is known to be committed; perhaps: image/openstack-image-m"
    ):
        lab.driver.write(todo, found)


def test_a_head_node_without_its_daemon_is_unreachable(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    lab.faults(unreachable=True)
    with pytest.raises(MachineError, match="no connection to CMDaemon"):
        lab.driver.read([])


def test_a_head_node_without_cmsh_is_told(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="'cmsh' is missing"):
        Bright(Head(root=str(tmp_path))).read([])


ODD = [
    'x"; device; remove node001; commit; home; "',
    "x; device; remove node001; commit",
    "x' ; remove ; '",
    "$(touch /tmp/x) `reboot` $HOME",
    "a\ncommit\ndevice; remove node001; commit",
    "a\\",
    'a\\" ; device; remove node001; commit; "',
    'say "hi"',
    "[x](y){z}<a>b|c&d!e",
    "| cat > /root/x",
    "!reboot",
    "-d",
    "..",
    "/",
    "",
    " a  b ",
    "a\0b",
]


@pytest.mark.parametrize("value", ODD, ids=ascii)
def test_no_value_becomes_a_command(tmp_path: Path, value: str) -> None:
    """It arrives literally, or is refused with the object; nothing else is different then."""
    lab = LabHead(tmp_path)
    before = lab.snapshot()
    ref = Ref("network", "internalnet")
    entry = Ref("setting", "/etc/x.ini[s]k", str(HEAD))
    todo = [change(ref, domain=value or "x"), change(entry, "add", value=value, replaces=False)]
    try:
        lab.driver.write(todo, State({}))
    except PipelineError as error:
        assert {problem.where for problem in error.problems[:2]} <= {str(ref), str(entry)}
        assert lab.snapshot() == before
        return
    found = lab.driver.read([Wanted(entry, {})]).objects
    assert found[ref]["domain"] == (value or "x")
    assert found[entry]["value"] == value
    after = lab.snapshot()
    # The daemon writes its file anew at every commit of the head node.
    after["files"].pop(ML2, None), before["files"].pop(ML2, None)
    after["objects"]["network"]["internalnet"]["domainname"] = "eth.cluster"
    role = after["objects"]["device"]["masterdoop"]["roles"]["openstacknode"]
    assert role.pop("configfilemodifications") == [f"+/etc/x.ini[s]k={value}"]
    assert after == before


def test_values_that_cannot_be_quoted_are_refused_when_all_is_read(tmp_path: Path) -> None:
    bad = 'x"; device foreach (reboot)'
    wanted = [
        Wanted(
            Ref("image", "default-image"), {"path": bad}, append={"kernel_parameters": ("ok=1", 'a"b', "c;d")}
        ),
        Wanted(Ref("setting", "/etc/a[s]k", str(HEAD)), {"value": bad, "replaces": True}),
        Wanted(Ref("setting", "/etc/a[s]blank", str(HEAD)), {"value": "x ", "replaces": True}),
        Wanted(Ref("setting", "/etc/a[s]fine", str(HEAD)), {"value": "a; b (c)", "replaces": True}),
    ]
    driver = LabHead(tmp_path).driver
    found = driver.read(wanted)
    with pytest.raises(PipelineError) as caught:
        driver.refuse(wanted, found)
    assert [(problem.where, problem.message.partition(":")[0]) for problem in caught.value.problems] == [
        ("image/default-image", "path"),
        ("image/default-image", "kernel_parameters"),
        ("head/master/setting//etc/a[s]k", "value"),
        ("head/master/setting//etc/a[s]blank", "value"),
    ]


def test_running_of_a_category_is_refused_when_it_is_read(tmp_path: Path) -> None:
    wanted = Wanted(Ref("service", "opensm", "category/default"), {"running": True})
    with pytest.raises(PipelineError, match="running: a category's service"):
        LabHead(tmp_path).driver.read([wanted])


@pytest.mark.parametrize("action", ["start", "restart"])
def test_a_service_that_does_not_come_up_is_told(
    tmp_path: Path, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.cluster.drivers.bright.write.SERVICE_SECONDS", 0.5)
    lab = LabHead(tmp_path)
    opensm = Ref("service", "opensm", str(HEAD))
    lab.faults(dead_services=("opensm",))
    todo = change(opensm, "restart") if action == "restart" else change(opensm, running=True)
    with pytest.raises(PipelineError, match="was started, and is not up") as caught:
        lab.driver.write([todo], State({}))
    assert caught.value.problems[0].where == str(opensm)
    lab.faults()
    lab.driver.write([todo, change(Ref("service", "opensm", "node/node001"), running=False)], State({}))


@some_switches(1, 4)
def test_data_with_the_words_of_a_lost_connection_are_data(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    network = Ref("network", "internalnet")
    lab.driver.write([change(network, domain="connection refused")], State({}))
    assert lab.driver.read([]).objects[network]["domain"] == "connection refused"
    script = tmp_path / "finalize"
    script.write_text("#!/bin/bash\nNot connected!\nconnection refused\n")
    typed = f"category\nuse default\nset finalizescript {script}\ncommit\n"
    lab.head.run_file(("cmsh", "-f"), typed)
    lab.driver.read(
        [Wanted(Ref("setting", "/etc/a[s]k", "category/default"), {"value": "x", "replaces": True})]
    )


def test_the_interface_that_nodes_boot_through_is_not_set(tmp_path: Path) -> None:
    wanted = Wanted(Ref("interface", "BOOTIF", "node/node001"), {"type": "physical", "dhcp": True})
    with pytest.raises(PipelineError, match="BOOTIF is the interface that the node boots through"):
        LabHead(tmp_path).driver.read([wanted])
