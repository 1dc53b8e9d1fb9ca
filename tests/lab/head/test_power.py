"""Between the head node and whoever runs its nodes: requests, installs, statuses, simulated nodes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.lab.head import power, state

from .conftest import Head


def shown(head: Head, node: str) -> str:
    return head.type(f"device status {node}").split("..... ", 1)[1].strip()


def test_each_command_to_boot_is_a_request(head: Head) -> None:
    head.type(
        "device foreach -n node001..node002 (reboot)",
        "device power -n node001 reset",
        "device power node003 off",
        "device power node003 on",
        "device power node003 on",
        "device power node002 status",
    )
    assert power.requests(head.directory) == {"node001": 2, "node002": 1, "node003": 1}


def test_what_has_no_power_is_known(head: Head) -> None:
    head.type("device power -n node001..node002 off", "device power node001 on")
    assert power.powered_off(head.directory) == {"node002"}
    assert shown(head, "node002") == "[  DOWN  ]"


@pytest.mark.parametrize(
    ("typed", "mode"),
    [
        ("", "AUTO"),
        ("category set openstack-compute-hosts installmode NOSYNC; category commit", "NOSYNC"),
        ("device set node002 installmode SKIP; device commit", "SKIP"),
        ("device set node002 nextinstallmode FULL; device commit", "FULL"),
        ("device clear node002 mac; device commit", "FULL"),
    ],
)
def test_the_install_mode_is_looked_up_in_the_manuals_order(head: Head, typed: str, mode: str) -> None:
    before = ["device set node002 installmode MAIN; device commit"] if "next" in typed else []
    head.type(*before, typed)
    assert power.next_install(head.directory, "node002").mode == mode


def test_an_install_has_all_that_the_installer_needs(head: Head) -> None:
    texts = {name: head.directory / name for name in ("disks", "full", "sync", "script", "own")}
    for name, path in texts.items():
        path.write_text(f"{name}\n")
    head.type(
        "category use openstack-compute-hosts",
        f"set disksetup {texts['disks']}",
        f"set excludelistfullinstall {texts['full']}",
        f"set excludelistsyncinstall {texts['sync']}",
        f"set finalizescript {texts['script']}; set datanode yes; commit",
        f"device use node003; set finalizescript {texts['own']}; set disksetup {texts['own']}",
        "set softwareimage default-image; set nextinstallmode FULL; commit",
        "softwareimage set default-image kernelparameters a=b; softwareimage commit",
        "softwareimage lock default-image",
    )
    two, three = (power.next_install(head.directory, node) for node in ("node002", "node003"))
    assert (two.image, two.mode, two.exclude, two.finalize_script) == (
        "openstack-image",
        "AUTO",
        "sync\n",
        "script\n",
    )
    assert (three.image, three.mode, three.exclude, three.finalize_script) == (
        "default-image",
        "FULL",
        "full\n",
        "own\n",
    )
    assert three.directory == head.directory / "root/cm/images/default-image" and three.directory.is_dir()
    assert (three.kernel_parameters, three.disk_setup, three.category) == (
        "a=b",
        "own\n",
        "openstack-compute-hosts",
    )
    assert two.disk_setup == "disks\n"
    assert three.waits and not two.waits and three.is_locked and not two.is_locked
    power.confirm(head.directory, "node003")
    assert not power.next_install(head.directory, "node003").waits


def test_nodes_that_somebody_runs_are_as_he_says(head: Head) -> None:
    power.nodes_run(head.directory, os.getpid(), ["node001"])
    head.type("device set node001 nextinstallmode FULL; device commit")
    head.type("device foreach -n node001..node002 (reboot)")
    assert head.type("device syncinfo").count("\nnode") == 1  # node002 is simulated
    power.put_status(head.directory, "node001", "INSTALLING", "provisioning started", ["restart-required"])
    assert shown(head, "node001") == "[     INSTALLING      ] (provisioning started) restart-required"
    power.installed(head.directory, "node001", True, "FULL", "openstack-image", "sent 3 files\n")
    power.put_status(head.directory, "node001", "UP")
    assert shown(head, "node001") == "[   UP   ]"
    assert head.type("device get node001 nextinstallmode") == "\n"
    assert head.type("device synclog node001") == "sent 3 files\n"
    assert "node001" in head.type("device syncinfo")


def test_an_install_that_failed_keeps_the_next_mode(head: Head) -> None:
    head.type("device set node001 nextinstallmode FULL; device commit")
    power.installed(head.directory, "node001", False, "FULL", "openstack-image")
    assert head.type("device get node001 nextinstallmode") == "FULL\n"
    assert "failed" in head.type("device syncinfo -n node001")


def test_when_who_ran_the_nodes_is_gone_they_are_simulated_again(head: Head) -> None:
    runner = subprocess.Popen(["sleep", "600"])
    power.nodes_run(head.directory, runner.pid)
    head.type("device reboot node001")
    assert "node001" not in head.type("device syncinfo")
    runner.kill()
    runner.wait()
    head.type("device reboot node001")
    assert "node001" in head.type("device syncinfo")


def test_a_simulated_node_takes_its_time(head: Head) -> None:
    head.type("category set openstack-compute-hosts softwareimage default-image; category commit")
    assert shown(head, "node002") == "[   UP   ] restart-required"
    head.switch(boot_seconds=3600)
    head.type("device set node002 nextinstallmode FULL; device commit", "device reboot node002")
    assert shown(head, "node002").startswith("[       BOOTING       ]")
    head.switch(install_seconds=3600)
    assert shown(head, "node002") == "[     INSTALLING      ] (checking disks) restart-required"
    assert "node002" not in head.type("device syncinfo")
    assert "its status is" in head.refuse("device reboot node002")
    head.switch()
    assert shown(head, "node002") == "[   UP   ]"
    assert head.type("device get node002 nextinstallmode") == "\n"


@pytest.mark.parametrize(
    ("part", "shows"),
    [
        (0.0, "(checking disks)"),
        (0.12, "(waiting for FULL provisioning to start)"),
        (0.5, "(provisioning started)"),
        (0.85, "(provisioning complete)"),
        (0.95, "[ INSTALLER_CALLINGINIT ] (switching to local root)"),
    ],
)
def test_an_install_shows_how_far_it_is(head: Head, part: float, shows: str) -> None:
    head.switch(boot_seconds=1e9)
    head.type("device set node001 nextinstallmode FULL; device commit", "device reboot node001")
    store = state.Store(str(head.directory))
    with store.changing() as now:
        now["motion"]["node001"]["since"] -= 1e6 * part
        store.touch()
    head.switch(install_seconds=1e6)
    assert shows in shown(head, "node001")


def test_a_simulated_node_can_fail_in_many_ways(head: Head) -> None:
    head.fault(never_return=("node001",), failing_installs=("node002",))
    head.type("device use node003; set datanode yes; set nextinstallmode FULL; commit")
    head.type("device foreach -n node001..node003 (reboot)")
    assert shown(head, "node001") == "[  DOWN  ]"
    assert shown(head, "node002").startswith("[  INSTALLER_FAILED   ] (provisioning failed)")
    assert "failed" in head.type("device syncinfo -n node002")
    assert "waiting for confirmation" in shown(head, "node003")
    power.confirm(head.directory, "node003")
    assert shown(head, "node003") == "[   UP   ]"
    head.fault()
    head.type("device power -n node001..node002 reset")
    assert shown(head, "node001") == shown(head, "node002") == "[   UP   ]"


def test_a_locked_image_makes_installs_wait(head: Head) -> None:
    head.type("softwareimage lock openstack-image", "device reboot node001")
    assert "waiting for AUTO provisioning to start" in shown(head, "node001")
    head.type("softwareimage unlock openstack-image")
    assert shown(head, "node001") == "[   UP   ]"


def test_what_can_not_be_done_to_its_power_is_refused(head: Head) -> None:
    head.type("device power node001 off", "device set node002 powercontrol none; device commit")
    assert "node001: not in this power state" in head.refuse("device power node001 reset")
    assert "no power control" in head.refuse("device power node002 on")
    assert "its status is [  DOWN  ]" in head.refuse("device reboot node001")
    assert head.refuse("device power node001") == "power: one of on, off, reset, status\n"
    assert head.refuse("device reboot") == "reboot: no devices given\n"


def test_a_virtual_node_has_an_instance_while_it_is_on(head: Head) -> None:
    typed = "device use vnode001; virtualnodesettings; get instanceid"
    assert head.type(typed) == "\n" and shown(head, "vnode001") == "[  DOWN  ]"
    assert head.refuse("device terminate vnode001") == "vnode001 has no instance\n"
    assert head.refuse("device terminate node001") == "node001 is no virtual node\n"
    head.type("device power vnode001 on")
    first = head.type(typed)
    assert len(first) > 8 and shown(head, "vnode001") == "[   UP   ]"
    head.type("device power vnode001 on")
    assert head.type(typed) == first
    head.type("device terminate vnode001", "device power vnode001 on")
    assert head.type(typed) not in ("\n", first)


def test_a_state_of_an_earlier_program_is_taken(head: Head) -> None:
    file = Path(head.directory / state.STATE)
    store = state.Store(str(head.directory))
    kept = {name: value for name, value in store.state.items() if name not in state.LATER}
    state.write_state(str(head.directory), kept).close()  # type: ignore[arg-type]
    assert "requests" not in file.read_text()
    head.type("device reboot node001")
    assert power.requests(head.directory) == {"node001": 1}
