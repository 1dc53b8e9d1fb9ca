"""Files that CMDaemon leaves alone, and the finalize scripts that set keys of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cluster.drivers.bright.finalize import CMD_CONF, frozen_files
from pipeline.cluster.drivers.bright.frozen import DAEMON
from pipeline.cluster.objects import Change
from pipeline.errors import PipelineError
from pipeline.lab.head.switches import Switches, write_switches
from tests.integration.bright_head import COMPUTE, MELLANOX, ML2, LabHead, bridge_settings, ml2_settings, seed

PYTHON = "#!/usr/bin/python3\nprint('hello')\n"


def with_script(lab: LabHead, category: str, script: str) -> None:
    file = lab.directory / "script"
    file.write_text(script)
    typed = f"category use {category}\nset finalizescript {file}\ncommit\n"
    ran = lab.head.run_file(("cmsh", "-q", "-f"), typed)
    assert ran.code == 0, ran


def test_a_finalize_script_that_is_no_shells_is_told_before_anything_is_changed(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(release="old"))
    with_script(lab, COMPUTE, PYTHON)
    before = lab.snapshot()
    with pytest.raises(PipelineError, match=f"finalize script of category/{COMPUTE} is run by '/usr/bin/py"):
        lab.plan(bridge_settings(f"category/{COMPUTE}", "eth6"))
    # A clone's script is its source's, of which nothing is wanted.
    todo, found = lab.plan(seed())
    with pytest.raises(PipelineError, match=f"finalize script of category/{MELLANOX} is run by '/usr/bin/py"):
        lab.driver.write(todo, found)
    assert lab.snapshot() == before


def test_a_file_that_was_frozen_by_hand_is_told_where_roles_change_files(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    conf = tmp_path / f"root{CMD_CONF}"
    conf.write_text(f'FrozenFile = {{ "/etc/dhcpd.conf", "{ML2}" }}\n')
    with pytest.raises(PipelineError, match=f"{ML2} is frozen by FrozenFile in {CMD_CONF}") as caught:
        lab.plan(ml2_settings())
    assert len(caught.value.problems) == len(ml2_settings())
    conf.write_text('FrozenFile = { "/etc/dhcpd.conf" }\n')
    lab.plan(ml2_settings())


def test_what_was_frozen_thaws_when_it_leaves_the_file(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(release="old"))
    file, conf = (tmp_path / f"root{path}" for path in (ML2, CMD_CONF))
    before, scripts = (file.read_text(), conf.read_text()), lab.snapshot()["objects"]
    wanted = [
        *ml2_settings(),
        *bridge_settings(f"category/{COMPUTE}", "eth6"),
        *bridge_settings("node/node003", "eth4"),
    ]
    todo, found = lab.plan(wanted)
    lab.driver.write(todo, found)
    file.write_text(f"{file.read_text()}[by]\nhand = 1\n")
    _, found = lab.plan(wanted, lab.anew())
    # One key goes: it is as the daemon has it again, the others and what is there by hand stay.
    lab.driver.write([Change(wanted[2].ref, "remove")], found)
    assert "network_vlan_ranges=phyvlanhostnet:11:20\n" in file.read_text()
    assert "[by]\nhand = 1" in file.read_text()
    assert "mlnx,linuxbridge" in file.read_text()
    assert ML2 in frozen_files(conf.read_text())
    rest = [item for item in wanted if item is not wanted[2]]
    _, found = lab.plan(rest, lab.anew())
    lab.driver.write([Change(item.ref, "remove") for item in rest], found)
    assert (file.read_text(), conf.read_text()) == before
    assert lab.snapshot()["objects"] == scripts


def test_a_key_that_went_while_the_daemon_could_not_be_restarted_goes_with_the_owed_restart(
    tmp_path: Path,
) -> None:
    lab = LabHead(tmp_path, Switches(release="old"))
    file, service = tmp_path / f"root{ML2}", tmp_path / "bin/service"
    wanted, real = ml2_settings(), service.read_text()
    lab.driver.write(*lab.plan(wanted))
    _, found = lab.plan(wanted, lab.anew())
    service.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(PipelineError, match="CMDaemon could not be restarted"):
        lab.driver.write([Change(wanted[2].ref, "remove")], found)
    service.write_text(real)
    rest = [item for item in wanted if item is not wanted[2]]
    todo, found = lab.plan(rest, lab.anew())
    lab.driver.write([*todo, Change(DAEMON, "restart")], found)
    assert "network_vlan_ranges=phyvlanhostnet:11:20\n" in file.read_text()
    assert "mlnx,linuxbridge" in file.read_text()
    assert lab.plan(rest, lab.anew())[0] == ()


def test_what_was_frozen_by_hand_stays_frozen(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(release="old"))
    file, conf = (tmp_path / f"root{path}" for path in (ML2, CMD_CONF))
    conf.write_text(f'FrozenFile = {{ "{ML2}" }}\n')
    file.write_text("[a]\nb = 1\n")
    todo, found = lab.plan(ml2_settings())
    lab.driver.write(todo, found)
    _, found = lab.plan(ml2_settings(), lab.anew())
    lab.driver.write([Change(item.ref, "remove") for item in ml2_settings()], found)
    assert frozen_files(conf.read_text()) == [ML2]
    assert file.read_text().startswith("[a]\nb = 1\n")
    assert "type_drivers" not in file.read_text()


def test_what_an_older_daemon_needed_is_told_once_roles_change_files(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(release="old"))
    todo, found = lab.plan(seed())
    lab.driver.write(todo, found)
    write_switches(str(tmp_path), Switches())
    with pytest.raises(PipelineError) as caught:
        lab.plan(seed(), lab.anew())
    said = str(caught.value)
    assert f"{ML2} is frozen" in said
    assert f"the finalize script of category/{MELLANOX} still has the block" in said
    assert "the finalize script of node/node003 still has the block" in said
