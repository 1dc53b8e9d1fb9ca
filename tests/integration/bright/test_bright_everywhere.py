"""The driver reaches the seed's state, whatever the manual leaves unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cluster.objects import HEAD, Ref
from pipeline.lab.head.switches import Switches, combinations
from tests.integration.bright_head import ADDED, BRIDGE, IMAGE, MELLANOX, ML2, LabHead, seed


def _told(switches: Switches) -> str:
    return "-".join(str(value).replace(" ", "") for value in switches[:9])


EVERY = list(combinations())


@pytest.mark.parametrize("switches", EVERY, ids=map(_told, EVERY))
def test_one_write_reaches_what_is_wanted_and_a_second_plan_is_empty(
    tmp_path: Path, switches: Switches
) -> None:
    lab = LabHead(tmp_path, switches._replace(copy_seconds=0.1))
    wanted = seed()
    todo, found = lab.plan(wanted)
    assert [change.action for change in todo[:2]] == ["clone", "clone"]
    lab.driver.write(todo, found)
    left, found = lab.plan(wanted, lab.anew())
    assert left == ()
    parameters = found.objects[Ref("image", IMAGE)]["kernel_parameters"]
    assert isinstance(parameters, tuple)
    assert parameters[-4:] == ADDED
    assert "xdriver=vesa" in parameters
    state = lab.snapshot()
    assert not state["copying"]
    assert state["running"]["node001"]["opensm"] is False
    assert "network_vlan_ranges=ibhostnet:1:10,phyvlanhostnet:11:20" in state["files"][ML2][
        "content"
    ].replace(" = ", "=")
    if switches.release == "new":
        assert not found.notes
        roles = state["objects"]["category"][MELLANOX]["roles"]["openstacknode"]
        assert roles["configfilemodifications"] == [
            f"-{BRIDGE}[vlans]tenant_network_type",
            f"+{BRIDGE}[vlans]tenant_network_type=flat,vlan",
            f"-{BRIDGE}[linux_bridge]physical_interface_mappings",
            f"+{BRIDGE}[linux_bridge]physical_interface_mappings=ibhostnet:eth6,x:eth0",
        ]
    else:
        assert "FrozenFile" in found.notes[0]
        assert f'"{ML2}"' in state["files"]["/cm/local/apps/cmd/etc/cmd.conf"]["content"]
        assert "ibhostnet:eth4" in state["objects"]["device"]["node003"]["finalizescript"]
    assert lab.driver.survey().objects[Ref("service", "opensm", str(HEAD))]["running"] is True
