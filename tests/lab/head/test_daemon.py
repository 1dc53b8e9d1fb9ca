"""The daemon behind cmsh: commits, copies, files, services, what goes wrong, and what is unknown."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.lab.head import start, state
from pipeline.lab.head.switches import AXES, combinations, read_faults

from . import seed
from .conftest import Head

CLONE = "softwareimage clone openstack-image new; commit"
ML2 = start.ML2_FILE
FREE_KEY = f'"+{ML2}[ml2]x=1" "+{ML2}[ml2_type_flat]y=2"'


def copied(head: Head) -> bool:
    return (head.directory / "root/cm/images/new/etc/hostname").exists()


def test_a_clone_is_copied_in_the_background_and_is_not_finished_until_then(head: Head) -> None:
    head.switch(copy_seconds=0.5)
    head.type(CLONE)
    assert state.snapshot(str(head.directory))["copying"] == {
        "new": {"source": "/cm/images/openstack-image", "path": "/cm/images/new"}
    }
    assert not copied(head)
    assert "is being copied" in head.refuse("softwareimage createramdisk new")
    state.wait(str(head.directory))
    assert copied(head)


def test_a_copy_goes_on_when_who_waits_for_it_is_killed(head: Head) -> None:
    head.switch(copy_seconds=600)
    waiting = typing(head, f"{CLONE} -w")
    waiting.kill()
    waiting.wait()
    assert "new" in head.type("softwareimage provisioningstatus")
    head.switch(copy_seconds=0)
    state.wait(str(head.directory))
    assert copied(head)


def test_a_copy_whose_process_was_killed_is_undone(head: Head) -> None:
    head.switch(copy_seconds=600)
    waiting = typing(head, f"{CLONE} -w")
    (copier,) = Path(f"/proc/{waiting.pid}/task/{waiting.pid}/children").read_text().split()
    os.kill(int(copier), signal.SIGKILL)
    assert waiting.wait() == 0
    assert "new" not in head.type("softwareimage provisioningstatus")
    assert state.snapshot(str(head.directory))["copying"] == {} and not copied(head)
    head.type("softwareimage createramdisk new")


def typing(head: Head, line: str) -> subprocess.Popen[bytes]:
    """Somebody who has typed this, at the moment when an image is being copied."""
    program = [str(head.directory / "bin/cmsh"), "-c", line]
    process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (state.snapshot(str(head.directory))["copying"] and children.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("option", ["-w", "--wait"])
def test_a_commit_that_waits_ends_when_the_copy_is_there(head: Head, option: str) -> None:
    head.type(f"{CLONE} {option}")
    assert copied(head)
    assert state.snapshot(str(head.directory))["copying"] == {}


def test_a_clone_goes_where_its_path_says_and_takes_a_directory_that_is_there(head: Head) -> None:
    head.type("softwareimage; clone openstack-image new; set path /cm/images/other; commit -w")
    assert (head.directory / "root/cm/images/other/etc/hostname").exists()
    (head.directory / "root/cm/images/there").mkdir()
    head.type("softwareimage; clone openstack-image third; set path /cm/images/there; commit -w")
    assert not list((head.directory / "root/cm/images/there").iterdir())


def test_remove_d_takes_the_directory_too(head: Head) -> None:
    head.type(f"{CLONE} -w", "softwareimage remove new; commit")
    assert copied(head)
    head.type("softwareimage add new; commit", "softwareimage remove -d new; commit")
    assert not copied(head)


def test_two_sessions_at_once_lose_nothing(head: Head) -> None:
    def change(number: int) -> str:
        return head.type(
            f"category clone default c{number}; commit", f"device set vnode{number:03} rack r; device commit"
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(1, 9)))
    assert {f"c{number}" for number in range(1, 9)} <= head.objects("category").keys()
    assert all(head.objects("device")[f"vnode{number:03}"]["rack"] == "r" for number in range(1, 9))


def test_what_somebody_else_committed_meanwhile_stays(head: Head) -> None:
    other = f"{head.directory}/bin/cmsh -c 'category use default; set installmode FULL; commit'"
    head.type("category use default", "set softwareimage openstack-image", f"!{other}", "commit")
    found = head.objects("category")["default"]
    assert (found["softwareimage"], found["installmode"]) == ("openstack-image", "FULL")


def test_killed_at_any_time_the_state_is_the_one_before_or_after(head: Head) -> None:
    typed = "device foreach * (set userdefined1 x; commit)\n" * 50
    for number in range(1, 8):
        process = subprocess.Popen([head.directory / "bin/cmsh", "-f", "-"], stdin=subprocess.PIPE)
        assert process.stdin
        process.stdin.write(typed.encode())
        process.stdin.close()
        time.sleep(0.02 * number)
        process.kill()
        process.wait()
        assert len(head.objects("device")) == 16


def test_the_daemon_writes_its_files_as_the_role_has_them_but_not_frozen_ones(head: Head) -> None:
    at = "device use master; roles; use openstacknode"
    head.type(f"{at}; set configfilemodifications {FREE_KEY}; commit")
    text = (head.directory / f"root{ML2}").read_text()
    assert "l2population\nx=1\n" in text and "phyflatnet\ny=2\n" in text
    conf = head.directory / "root/cm/local/apps/cmd/etc/cmd.conf"
    conf.write_text(f'FrozenFile = {{ "{ML2}" }}\n')
    (head.directory / f"root{ML2}").write_text("by hand\n")
    head.type(f"{at}; clear configfilemodifications; commit")
    assert head.run("service", "cmd", "restart").returncode == 0
    assert (head.directory / f"root{ML2}").read_text() == "by hand\n"
    conf.write_text("")
    head.run("service", "cmd", "restart")
    assert (head.directory / f"root{ML2}").read_text() == start.ML2


def test_an_old_daemon_keeps_entries_for_sections_with_an_underscore_but_ignores_them(head: Head) -> None:
    head.switch(release="old")
    head.type(f"device use master; roles; use openstacknode; set configfilemodifications {FREE_KEY}; commit")
    text = (head.directory / f"root{ML2}").read_text()
    assert "x=1" in text and "y=2" not in text
    assert head.run("cmd", "-v").stdout == "CMDaemon 7.0 (r22100)\n"
    assert head.refuse("device get node001 nextinstallmode") == "Unknown property: nextinstallmode\n"
    head.type("device set node001 nextinstallmethod FULL; device commit")
    assert head.objects("device")["node001"]["nextinstallmode"] == "FULL"


def test_services_of_the_head_node_leave_a_record(head: Head) -> None:
    assert head.run("service", "opensm", "stop").returncode == 0
    assert head.run("service", "opensm", "status").returncode == 3
    assert head.type("device use master; services; status opensm") == "opensm          [   DOWN   ]\n"
    head.type("device use master; services; restart opensm")
    assert head.run("chkconfig", "opensm", "off").returncode == 0
    assert head.run("service", "nosuch", "start").stderr == "nosuch: unrecognized service\n"
    done = [(one["service"], one["action"]) for one in state.records(str(head.directory))]
    assert done == [("opensm", "stop"), ("opensm", "restart"), ("opensm", "chkconfig off")]


@pytest.mark.parametrize("address", ["elsewhere", "elsewhere:8081"])
def test_a_head_node_that_is_none_can_not_be_connected_to(head: Head, address: str) -> None:
    done = head.run("cmsh", "-c", "path", address)
    assert done.returncode == 1
    assert done.stderr == "CMMain::verifyAPI, rpc: Couldn't resolve host name.\nNot connected!\n"
    assert head.run("cmsh", "-i", "/cert", "-k", "/key", "-c", "path", "masterdoop:8081").stdout == "home\n"


def test_the_daemon_can_die_after_a_commit(head: Head) -> None:
    head.fault(die_after_commits=2)
    typed = "device foreach -n node001..node003 (set rack r; commit)"
    said = head.refuse(typed, options=("-q",))
    assert said.splitlines()[-1] == "Not connected!"
    assert [name for name, one in head.objects("device").items() if one.get("rack")] == ["node001", "node002"]
    assert head.run("cmsh", "-c", "path").returncode == 1
    head.fault()
    assert head.type("path") == "home\n"


def test_somebody_elses_change_comes_at_the_call_that_was_asked_for(head: Head) -> None:
    head.type("path")
    change = {"call": 2, "mode": "category", "object": "default", "property": "installmode", "value": "FULL"}
    head.fault(foreign=(change,))
    assert head.type("category get default installmode") == "AUTO\n"
    assert head.type("category get default installmode") == "FULL\n"
    head.type("category set default installmode AUTO; category commit")
    assert head.type("category get default installmode") == "AUTO\n"


def test_a_call_can_be_slow_and_is_recorded(head: Head) -> None:
    head.fault(latency=0.4)
    begun = time.monotonic()
    head.type("path")
    assert time.monotonic() - begun > 0.4
    assert [one["text"] for one in state.calls(str(head.directory))] == ["path\n"]
    assert read_faults(str(head.directory)).latency == 0.4


def test_the_combinations_have_every_two_values_together() -> None:
    chosen = [one._asdict() for one in combinations()]
    for one, other in itertools.combinations(AXES, 2):
        wanted = set(itertools.product(AXES[one], AXES[other]))
        assert {(switches[one], switches[other]) for switches in chosen} == wanted
    assert chosen[0] == {**chosen[0], **{name: values[0] for name, values in AXES.items()}}
    assert len(chosen) < 20


@pytest.mark.parametrize("code", [0, 1])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("wording", AXES["wording"])
def test_an_error_ends_and_is_said_as_the_switches_have_it(
    head: Head, code: int, stream: str, wording: str
) -> None:
    head.switch(failure_code=code, error_stream=stream, wording=wording)
    done = seed.cmsh(head.directory, ["device use nodeX"], "--hide-events")
    assert done.returncode == code
    assert "nodeX" in getattr(done, stream)
    assert getattr(done, "stdout" if stream == "stderr" else "stderr") == ""


def test_a_commit_can_say_how_much_it_committed(head: Head) -> None:
    head.switch(commit="counted")
    typed = "device; set node001 rack a; set node002 rack b; commit"
    assert head.type(typed) == "Successfully committed 2 Devices\n"
    assert head.type("category add x; set softwareimage default-image; commit").endswith("1 Category\n")


def test_a_reference_can_be_refused_late(head: Head) -> None:
    head.switch(references="commit")
    done = head.run(
        "cmsh", "--color=no", "--hide-events", "-c", "category use default; set softwareimage x; commit"
    )
    assert done.stdout.splitlines()[-1].split()[:2] == ["3", "softwareimage"]


@pytest.mark.parametrize(
    ("json_switch", "said"), [("delimiter", "name (key){}nodes"), ("illegal", "Illegal option: d")]
)
def test_an_older_list_has_no_json(head: Head, json_switch: str, said: str) -> None:
    head.switch(json=json_switch)
    done = seed.cmsh(head.directory, ["category list -f name,nodes -d {}"], "--hide-events")
    assert (done.stdout or done.stderr).splitlines()[0] == said


def test_events_can_come_although_they_are_hidden(head: Head) -> None:
    head.switch(events="always")
    assert "[notice]" in head.type("device list")
    head.switch(events="rare")
    assert "[notice]" not in head.type("device list", options=())


def test_c_can_need_a_terminal(head: Head) -> None:
    head.switch(command_option="needs terminal")
    assert head.run("cmsh", "-c", "path").returncode == 1
    assert head.type("path") == "home\n"


def test_it_can_be_copied_with_its_programs(head: Head, tmp_path: Path) -> None:
    shutil.copytree(head.directory, tmp_path / "copy", symlinks=True)
    Head(tmp_path / "copy").type("category add x; set softwareimage default-image; commit")
    assert "x" in Head(tmp_path / "copy").objects("category")
    assert "x" not in head.objects("category")


def test_a_big_cluster_is_changed_by_one_call(tmp_path: Path) -> None:
    start.make(tmp_path, 2000, 50)
    head = Head(tmp_path)
    head.type("device foreach -n node004..node2000 (set category default; commit)")
    rows = json.loads(head.type("category list -f name,nodes -d {}"))
    assert {"name (key)": "default", "nodes": "1997"} in rows
    assert len(rows) == 54


def test_who_uses_what_is_removed_is_named(head: Head) -> None:
    done = head.run("cmsh", "--color=no", "-c", "softwareimage remove openstack-image; softwareimage commit")
    assert f"is used by Category {start.COMPUTE}" in done.stdout
