"""Nodes that are up: installed by a real rsync, started by their image's own scripts, rebooted by cmsh."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from pipeline.errors import PipelineError, UsageError
from pipeline.lab.head.objects import blank
from pipeline.lab.head.power import confirm
from pipeline.lab.head.state import State
from pipeline.lab.nodes import faults, power, running
from tests.lab.nodes.small_lab import Lab, wait

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.xdist_group("rollout"),
]


def test_a_node_is_itself_and_sees_nothing_of_this_machine(lab: Lab) -> None:
    said = lab.run(
        "node002", "hostname; uname -r; cat /proc/1/cmdline | tr '\\0' ' '; ip -br link; ls /sys/class"
    )
    assert said.startswith("node002\n2.6.32-431.el6.x86_64\nbash /run/lab/init")
    assert "eth0" in said
    assert power.link_prefix(lab.place) not in said
    assert [one.state for one in running.nodes(lab.home)] == ["UP"] * 3
    assert lab.run("node002", "cat /proc/mounts").splitlines()[0].split()[2] != "overlay"


def test_the_agent_that_does_not_wait_is_dead_and_the_other_lives(lab: Lab) -> None:
    agent = "neutron-mlnx-agent"
    assert lab.agents()["node002", agent]
    assert not lab.agents()["node003", agent]
    assert "running" in lab.run("node002", f"service {agent} status")
    assert "running" in lab.run("node003", "service eswitchd status")
    assert "Connection refused" in lab.run("node003", "cat /var/log/neutron/mlnx-agent.log")


def test_auto_takes_away_what_no_image_has_and_keeps_what_is_excluded(lab: Lab) -> None:
    """Excluded by the exclude list, or without one because it is a node's own by nature."""
    make = "touch /srv/extra /var/log/own; mkdir -p /home/me; touch /home/me/file; echo x >>/etc/issue"
    for node in ("node001", "node003"):
        lab.run(node, make)
    lab.device("node001", excludelistsyncinstall="- /srv/*\n/etc/issue\n")
    lab.reboot("node001", "node003")
    look = "ls /srv/extra /var/log/own /home/me/file 2>/dev/null; tail -1 /etc/issue"
    assert lab.run("node003", look).split()[:2] == ["/home/me/file", "/var/log/own"]
    assert not lab.run("node003", look).endswith("x\n")
    assert lab.run("node001", look) == "/srv/extra\nx\n"
    assert lab.sync("node003") == ("hasty-2", "AUTO", True)
    assert "etc/issue" in lab.type("device; synclog node003")
    lab.device("node001", excludelistsyncinstall="")


def test_full_wipes_the_disk_and_is_used_up(lab: Lab) -> None:
    lab.run("node001", "touch /var/log/own; mkdir -p /home/me; mkfifo /home/me/pipe")
    lab.device("node001", nextinstallmode="FULL")
    lab.flash("node001", sriov=True, vfs=8)
    lab.flash("node003", sriov=True, vfs=2)
    lab.reboot("node001", "node003")
    assert lab.sync("node001") == ("hasty-2", "FULL", True)
    assert lab.run("node001", "ls -d /var/log/own /home/me 2>/dev/null") == ""
    assert "nextinstallmode" not in lab.state()["objects"]["device"]["node001"]["values"]


def test_virtual_functions_follow_the_images_num_vfs_and_the_flash(lab: Lab) -> None:
    found = [
        lab.run(node, "lspci | grep -c 'Virtual Function'") for node in ("node001", "node002", "node003")
    ]
    assert found == ["4\n", "0\n", "0\n"]
    assert "sriov_en = true" in lab.run("node001", "cat /dev/mst/mt4099_pciconf0")
    assert "Failed to enable SR-IOV" in lab.run("node003", "dmesg")


def test_the_device_before_infiniband_has_another_number_on_node003(lab: Lab) -> None:
    for node, device in (("node001", "eth6"), ("node003", "eth4")):
        said = lab.run(node, f"ethtool -i {device}; ip -br link; ls /sys/class/net")
        assert said.startswith("driver: eth_ipoib\n")
        assert "bus-info: ib0\n" in said
        assert [line for line in said.splitlines() if line.startswith(f"{device} ")]


def test_the_kernel_says_what_its_parameters_make_of_it(lab: Lab) -> None:
    look = "cat /proc/cmdline; dmesg | grep -c -e DMAR -e IOMMU"
    assert lab.run("node001", look) == "ro root=/dev/sda1 biosdevname=0\n0\n"
    assert lab.run("node002", look).startswith("ro root=/dev/sda1 biosdevname=0 intel_iommu=on\n")
    assert not lab.run("node002", look).endswith("\n0\n")


def _image(state: State) -> dict[str, object]:
    return state["objects"]["softwareimage"]["hasty-2"]["values"]  # type: ignore[return-value]


def test_programs_put_before_the_images_own_are_of_their_size(lab: Lab) -> None:
    for name in ("kmod", "dmesg", "uname"):
        shown = lab.run("node001", f"stat -c '%s %a %u' /usr/bin/{name} /run/front/{name}").splitlines()
        assert shown[0] == shown[1]


def test_what_roles_change_in_files_is_on_the_node(lab: Lab) -> None:
    file = "/etc/neutron/plugins/ml2/own.ini"

    def role(state: State) -> None:
        roles = state["objects"]["device"]["node001"]["sub"].setdefault("roles", {})
        roles["openstacknode"] = blank("OpenStackNodeRole")
        roles["openstacknode"]["values"]["configfilemodifications"] = [
            f"+{file}[linux_bridge]mappings=a:eth6"
        ]

    lab.change(role)
    lab.reboot("node001")
    assert lab.run("node001", f"cat {file}").split() == ["[linux_bridge]", "mappings=a:eth6"]


def test_a_node_can_be_made_to_fail_in_every_way_and_heals(lab: Lab) -> None:
    place = lab.place
    lab.device("node002", softwareimage="hasty-2")
    faults.put(place, "node001", "never-returns")
    faults.put(place, "node002", "installs-half")
    faults.put(place, "node003", "claims-success")
    for node in ("node002", "node003"):
        lab.device(node, nextinstallmode="FULL")
    lab.type("device; reboot -n node001..node003")
    wait(lambda: lab.status("node001") == "DOWN", "node001 is down")
    wait(lambda: lab.status("node002") == "INSTALLER_FAILED provisioning failed", "node002 failed")
    wait(lambda: lab.status("node003") == "UP", "node003 is up")
    assert lab.sync("node002") == ("hasty-2", "FULL", False)
    assert lab.state()["objects"]["device"]["node002"]["values"]["nextinstallmode"] == "FULL"
    assert lab.sync("node003") == ("hasty-2", "FULL", True)
    assert lab.run("node003", "ls /etc/modprobe.d/mlx4_core.conf 2>&1 >/dev/null") != ""
    for node, fault in (("node001", "no-sriov"), ("node002", "none"), ("node003", "none")):
        faults.put(place, node, fault)  # type: ignore[arg-type]
    lab.device("node003", nextinstallmode="FULL")
    lab.reboot("node001", "node002", "node003")
    assert "sriov_en = false" in lab.run("node001", "cat /dev/mst/mt4099_pciconf0")
    assert lab.sync("node002") == ("hasty-2", "FULL", True)
    assert lab.run("node003", "cat /etc/modprobe.d/mlx4_core.conf")
    faults.put(place, "node001", "none")


def test_locked_images_unconfirmed_data_nodes_and_missing_images_stop_an_install(lab: Lab) -> None:
    lab.change(lambda state: _image(state).update(locked=True))
    lab.device("node001", datanode=True, nextinstallmode="FULL")
    lab.device("node003", softwareimage="default-image")
    lab.type("device; reboot -n node001..node003")
    wait(lambda: "confirmation" in lab.status("node001"), "node001 waits")
    wait(
        lambda: lab.status("node002") == "INSTALLING waiting for AUTO provisioning to start", "node002 waits"
    )
    wait(lambda: "no image is at" in lab.status("node003"), "node003 failed")
    lab.change(lambda state: _image(state).update(locked=False))
    lab.device("node003", softwareimage="")
    confirm(lab.head, "node001")
    lab.type("device; power -n node003 reset")
    for node in ("node001", "node002", "node003"):
        wait(lambda node=node: lab.status(node) == "UP", f"{node} is up")  # type: ignore[misc]
    lab.device("node001", datanode=False)
    assert "sriov_en = true" in lab.run("node001", "cat /dev/mst/mt4099_pciconf0")  # that fault is over, too


def test_a_node_without_power_is_down_until_it_gets_some(lab: Lab) -> None:
    lab.type("device; power -n node002 off")
    wait(lambda: lab.status("node002") == "DOWN", "it is off")
    with pytest.raises(AssertionError):
        lab.run("node002", "true")
    lab.type("device; power -n node002 on")
    wait(lambda: lab.status("node002") == "UP", "it is on")


def test_they_are_up_once_and_no_others_with_them(lab: Lab) -> None:
    assert not lab.up(3)
    with pytest.raises(UsageError, match="other nodes are up"):
        lab.up(2)
    for wrong in (0, 4, -1):
        with pytest.raises(UsageError):
            running.chosen(lab.home, wrong, 0)


def test_killed_nothing_is_left_and_they_can_be_up_again(lab: Lab) -> None:
    assert lab.left()
    number = json.loads((lab.place / "supervisor.json").read_text())["pid"]
    os.kill(number, signal.SIGKILL)
    wait(lambda: not lab.left(), "all has ended with it")
    assert running.nodes(lab.home) == ()
    assert not running.down(lab.home)
    assert lab.up(3)
    assert lab.run("node002", "hostname") == "node002\n"


def test_a_disk_that_was_being_filled_when_all_was_killed_is_whole_in_the_end(lab: Lab) -> None:
    lab.device("node002", nextinstallmode="FULL")
    lab.type("device; reboot -n node002")
    wait(lambda: lab.status("node002") == "INSTALLING provisioning started", "it is being filled")
    number = json.loads((lab.place / "supervisor.json").read_text())["pid"]
    os.kill(number, signal.SIGKILL)
    wait(lambda: not lab.left(), "all has ended with it")
    assert lab.up(3)
    assert lab.sync("node002")[1:] == ("FULL", True)
    assert not (lab.place / "node002/disk.old").exists()


def test_a_head_node_made_anew_is_told_of_the_nodes_again(lab: Lab) -> None:
    kept = (lab.head / "state.json").read_bytes()
    (lab.head / "state.json").unlink()
    lost = {**json.loads(kept), "requests": {}, "status": {}, "runner": {}}
    new = lab.head / "state.again"
    new.write_text(json.dumps(lost))
    new.rename(lab.head / "state.json")
    wait(lambda: lab.state()["runner"].get("pid") == json.loads(_told(lab))["pid"], "it knows who runs them")
    lab.reboot("node001", until="")


def _told(lab: Lab) -> str:
    return (lab.place / "supervisor.json").read_text()


def test_taken_down_nothing_is_left_but_disks_and_adapters(lab: Lab) -> None:
    assert running.down(lab.home)
    wait(lambda: not lab.left(), "all has ended")
    assert not (lab.place / "supervisor.json").exists()
    assert (lab.place / "node001/disk/etc/passwd").exists()
    assert not any(lab.agents().values())
    assert not running.down(lab.home)


def test_another_process_of_the_same_number_is_not_ended(small_lab: Lab, tmp_path: Path) -> None:
    import subprocess

    with subprocess.Popen(["flock", "--no-fork", str(small_lab.place / "lock"), "sleep", "60"]) as other:
        try:
            wait(lambda: running.is_up(small_lab.place), "it has the lock")
            (small_lab.place / "supervisor.json").write_text(json.dumps({"pid": other.pid, "nodes": {}}))
            with pytest.raises(PipelineError, match="another one"):
                running.down(small_lab.home)
            (small_lab.place / "supervisor.json").unlink()
            with pytest.raises(PipelineError, match="somebody holds the lock"):
                small_lab.up(3)
            assert other.poll() is None
        finally:
            other.kill()
            (small_lab.place / "supervisor.json").unlink(missing_ok=True)
