"""``pipeline cluster`` on the lab's head node, as an administrator uses it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.lab.head import start, state
from tests.integration.cluster_site import COMPUTE, NAME, NODE2, OVERRIDE, Cluster, edit
from tests.lab.head import seed
from tests.lab.project import REPOSITORY


def test_plan_touches_nothing_apply_does_it_and_a_second_plan_is_empty(site: Cluster) -> None:
    before = state.snapshot(str(site.head))
    planned = site.cluster("plan")
    assert planned.exit_code == 0, planned.err
    assert "~ node/node[002-003]" in planned.out
    assert "recipes/clusters/openstack-mellanox.toml:" in planned.out
    assert state.snapshot(str(site.head)) == before
    assert site.cluster("apply", "--dry-run").out == planned.out
    assert state.snapshot(str(site.head)) == before
    applied = site.cluster("apply", NAME)
    assert applied.exit_code == 0, applied.err
    assert "read back as wanted" in applied.out
    assert site.cluster("plan").out.endswith(f"{NAME}: nothing to do\n")
    after, calls = state.snapshot(str(site.head)), len(state.calls(str(site.head)))
    again = site.cluster("apply", "--json").json()
    page = (REPOSITORY / "docs/exit-codes.md").read_text()
    [row] = re.findall(r"^\| `cluster plan`, `cluster apply`, `cluster status` \|(.*)$", page, re.MULTILINE)
    for verb in ("plan", "status"):
        assert all(f"`{key}`" in row for key in site.cluster(verb, "--json").json()), verb
    assert again["changes"] == []
    assert state.snapshot(str(site.head)) == after
    assert not any("set " in call["text"] for call in state.calls(str(site.head))[calls:])


def test_what_was_changed_by_hand_is_drift_and_put_back_by_apply_only(site: Cluster) -> None:
    site.cluster("apply")
    site.cmsh(f"category\nuse {COMPUTE}\nset softwareimage openstack-image\ncommit\n")
    (site.head / "root/etc/opensm/opensm.conf").write_text("allow_both_pkeys FALSE\n")
    status = site.cluster("status")
    assert "2 objects changed by hand since, 1 not yet applied" in status.out, status.out  # and the restart
    planned = site.cluster("plan")
    assert re.search(rf"~ category/{COMPUTE}  changed by hand", planned.out)
    assert "    image: openstack-image -> openstack-image-mellanox" in planned.out
    assert "! head/master/service/opensm (restart)" in planned.out
    assert site.objects()["category"][COMPUTE]["softwareimage"] == "openstack-image"  # type: ignore[index]
    assert site.cluster("apply").exit_code == 0
    assert site.left() == []


def test_what_the_file_does_not_name_is_left_alone(site: Cluster) -> None:
    site.cmsh("category\nuse openstack-compute-hosts\nset installmode NOSYNC\ncommit\n")
    site.cmsh(
        'device\nuse master\nroles\nuse openstacknode\nset configfilemodifications "+/etc/x[a]b=c"\ncommit\n'
    )
    assert site.cluster("apply").exit_code == 0
    site.cmsh(f"category\nuse {COMPUTE}\nset installmode AUTO\ncommit\n")
    assert site.left() == []
    kept = site.cmsh("device\nuse master\nroles\nuse openstacknode\nget configfilemodifications\n")
    assert "+/etc/x[a]b=c" in kept
    assert kept.count("\n") == 11


def test_os_cloud_names_a_cloud_where_the_site_does_not(
    site: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OS_CLOUD", raising=False)
    assert "networks of the cloud are left out" in site.cluster("plan").out
    assert "names no cloud, nor does OS_CLOUD" in site.cluster("import", "new", "--out", "-").out
    monkeypatch.setenv("OS_CLOUD", "nowhere")
    for words in (["plan"], ["import", "new", "--out", "-"]):
        asked = site.cluster(*words)
        assert asked.exit_code in (2, 3), asked.out
        assert "cloud" in asked.err or "openstacksdk" in asked.err


def test_a_cloned_image_leaves_a_published_version_as_it_is(site: Cluster) -> None:
    published = site.head / "root/cm/images/published/openstack-image-mellanox-1"
    published.mkdir(parents=True)
    (published / "only").write_text("this")
    recipe = site.path / "recipes/clusters" / f"{NAME}.toml"
    recipe.write_text(
        recipe.read_text().replace(
            'path = "/cm/images/openstack-image-mellanox"',
            'path = "/cm/images/published/openstack-image-mellanox-1"',
        )
    )
    applied = site.cluster("apply")
    assert applied.exit_code == 0, applied.err
    assert [entry.name for entry in published.iterdir()] == ["only"]
    values = site.objects()["softwareimage"]["openstack-image-mellanox"]
    assert values["path"] == "/cm/images/published/openstack-image-mellanox-1"  # type: ignore[index]
    assert site.left() == []


def test_one_apply_reaches_exactly_what_the_procedure_typed_by_hand_reaches(
    site: Cluster, tmp_path: Path
) -> None:
    by_hand = tmp_path / "by-hand"
    start.make(by_hand)
    for sitting in seed.type_all(by_hand):
        assert (sitting.returncode, sitting.stderr) == (0, ""), sitting
    state.wait(str(by_hand))
    applied = site.cluster("apply", NAME)
    assert applied.exit_code == 0, applied.err
    typed, reached = state.snapshot(str(by_hand)), state.snapshot(str(site.head))
    assert typed != state.snapshot(str(_fresh(tmp_path / "fresh")))
    # Nodes were rebooted by hand, which a rollout does: until then the daemon says what a reboot would bring.
    assert typed.pop("at_boot", None) is not None
    reached.pop("at_boot")
    assert reached == typed


def _fresh(directory: Path) -> Path:
    start.make(directory)
    return directory


def test_ten_thousand_nodes_are_planned_in_two_seconds_with_as_many_calls_as_three(site: Cluster) -> None:
    few = len(state.calls(str(site.head)))
    site.cluster("plan")
    few = len(state.calls(str(site.head))) - few
    start.make(site.head, 10_000, 50)
    assert site.cluster("import", "large").exit_code == 0
    recipe = site.path / "recipes/clusters/large.toml"
    text = recipe.read_text()
    assert text.count("[[category]]") >= 50
    recipe.write_text(text.replace('image = "openstack-image"', 'image = "default-image"'))
    before = len(state.calls(str(site.head)))
    command = [sys.executable, "-m", "pipeline", "cluster", "plan", "large"]
    process = subprocess.Popen(command, cwd=site.path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "changes" in process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0
    assert used.ru_utime + used.ru_stime < 2  # cmsh's own time is in it
    assert used.ru_maxrss < 200 * 1024
    assert len(state.calls(str(site.head))) - before <= few
    before = len(state.calls(str(site.head)))
    assert site.cluster("apply", "large").exit_code == 0
    assert len(state.calls(str(site.head))) - before <= 2 * few + 3


def test_a_setting_that_the_file_no_longer_has_is_taken_back(site: Cluster) -> None:
    site.cluster("apply")
    edit(site, (OVERRIDE, ""))
    planned = site.cluster("plan").out
    assert planned.count("- node/node003/setting/") == 3
    assert site.cluster("apply").exit_code == 0
    assert "openstacknode" not in site.cmsh("device\nuse node003\nroles\nlist\n")
    assert site.left() == []


def test_an_isolation_can_be_changed_and_changed_back(site: Cluster) -> None:
    site.cluster("apply")
    there = state.snapshot(str(site.head))
    vlan = edit(
        site,
        ('isolation = "vlan"', 'isolation = "vxlan"\nlocal_ip = "{{ local_ip }}"'),
        ("segment = 1 ", "local_ip = { required = true }\nsegment = 1 "),
        (OVERRIDE, OVERRIDE.replace('"eth4"', '"eth4", local_ip = "10.161.0.3"')),
        (
            '[[node]]\nnames = "node001"',
            f'{NODE2}[[node]]\nnames = "node001"',
        ),
    )
    changed = site.cluster("apply")
    assert changed.exit_code == 0, changed.err
    assert "vxlan" in (site.head / "root/etc/neutron/plugins/ml2/ml2_conf.ini").read_text()
    (site.path / "recipes/clusters" / f"{NAME}.toml").write_text(vlan)
    back = site.cluster("apply")
    assert back.exit_code == 0, back.err
    assert state.snapshot(str(site.head)) == there


def _theirs(site: Cluster, *entries: str, of: str = "category\nuse openstack-compute-hosts") -> None:
    """Somebody's entries in a list of the role."""
    appended = "".join(f"append configfilemodifications '{entry}'\n" for entry in entries)
    site.cmsh(f"{of}\nroles\nuse openstacknode\n{appended}commit\n")


def _list_of(site: Cluster, node: str) -> list[str]:
    return site.cmsh(
        f"device\nuse {node}\nroles\nuse openstacknode\nget configfilemodifications\n"
    ).splitlines()


def test_what_others_put_into_a_categorys_list_a_node_with_a_list_of_its_own_has_too(site: Cluster) -> None:
    nova = "/etc/nova/nova.conf[DEFAULT]"
    foreign = [f"+{nova}debug=True", f"-{nova}verbose", f"+{nova}filters=a", f"+{nova}filters=b"]
    _theirs(site, *foreign)
    applied = site.cluster("apply")
    assert applied.exit_code == 0, applied.err
    assert [entry for entry in _list_of(site, "node003") if nova in entry] == foreign
    assert site.left() == []
    edit(site, (OVERRIDE, ""))
    assert site.cluster("apply").exit_code == 0
    assert "openstacknode" not in site.cmsh("device\nuse node003\nroles\nlist\n")


def test_what_leaves_the_file_is_taken_out_or_noted(site: Cluster) -> None:
    assert site.cluster("apply").exit_code == 0
    recipe = site.path / "recipes/openstack-image-mellanox/recipe.toml"
    assert '"iommu=pt"' in recipe.read_text()
    recipe.write_text(recipe.read_text().replace('"iommu=pt"', '"iommu=off"'))
    edit(site, ('nodes = "node[002-003]"', 'nodes = "node003"'))
    planned = site.cluster("plan")
    assert "node002: no longer among the nodes of openstack-compute-hosts-mellanox" in planned.out
    assert "    kernel_parameters: +iommu=off -iommu=pt" in planned.out
    assert "changed by hand" not in planned.out
    assert site.cluster("apply").exit_code == 0
    shown = site.cmsh("softwareimage\nuse openstack-image-mellanox\nget kernelparameters\n").split()
    assert "iommu=off" in shown
    assert "iommu=pt" not in shown
    assert site.left() == []


OWN = '"+/etc/x.conf[a]b=by-colleague"'


def test_what_others_had_set_before_stays_when_it_leaves_the_file(site: Cluster) -> None:
    site.cmsh(
        "device\nuse node002\nroles\nassign openstacknode\n"
        f'set configfilemodifications "-/etc/x.conf[a]b" {OWN}\ncommit\n'
    )
    recipe = site.path / "recipes/clusters/mine.toml"
    assert site.cluster("import", "mine").exit_code == 0
    text = recipe.read_text()
    node = '[[node]]\nnames = "node002"\n\n[[node.file]]\npath = "/etc/x.conf"\nset.a.b = "by-colleague"\n'
    assert node in text
    own = "append_kernel_parameters = ["
    recipe.write_text(text.replace("example.org", "example.net").replace(own, f'{own}"added", '))
    applied = site.cluster("apply", "mine")
    assert applied.exit_code == 0, applied.err
    before = site.objects()["softwareimage"]["openstack-image"]["kernelparameters"]
    assert "added" in str(before)
    recipe.write_text(re.sub(rf"{re.escape(own)}.*\n", "", text).replace(node, ""))
    left = "no longer in the file, and left as it is"
    planned = site.cluster("plan", "mine").out
    assert "- node/node002" not in planned
    assert f"note: {left}: node/node002/setting//etc/x.conf[a]b" in planned
    assert re.search(
        rf"note: image/openstack-image: kernel_parameters \(biosdevname=0.*\) is {left}", planned
    )
    assert site.cluster("apply", "mine").exit_code == 0
    after = site.objects()["softwareimage"]["openstack-image"]["kernelparameters"]
    assert after == str(before).replace(" added", "")
    assert OWN.strip('"') in site.cmsh(
        "device\nuse node002\nroles\nuse openstacknode\nget configfilemodifications\n"
    )
    assert site.cluster("plan", "mine").out == "mine: nothing to do\n"


def test_a_list_of_somebody_elses_making_stays_theirs_after_an_apply(site: Cluster) -> None:
    more = "configfilemodifications '+/etc/o.conf[x]y=1'"
    site.cmsh(f"category\nuse openstack-compute-hosts\nroles\nuse openstacknode\nappend {more}\ncommit\n")
    own = "configfilemodifications '+/etc/own.conf[x]y=2'"
    site.cmsh(f"device\nuse node003\nroles\nassign openstacknode\nset {own}\ncommit\n")
    assert site.cluster("apply").exit_code == 0
    assert site.left() == []
    edit(site, (OVERRIDE, ""))
    assert site.cluster("apply").exit_code == 0
    of_node = "device\nuse node003\nroles\nuse openstacknode\nget configfilemodifications\n"
    assert site.cmsh(of_node).split() == ["+/etc/own.conf[x]y=2"]


def test_a_role_that_somebody_else_assigned_stays_without_our_settings(site: Cluster) -> None:
    """It has no list yet when the apply begins; and an empty list of a node is its own list, too."""
    more = "configfilemodifications '+/etc/o.conf[x]y=1'"
    site.cmsh(f"category\nuse openstack-compute-hosts\nroles\nuse openstacknode\nappend {more}\ncommit\n")
    site.cmsh("device\nuse node003\nroles\nassign openstacknode\nset addservices no\ncommit\n")
    of_node = "device\nuse node003\nroles\nuse openstacknode\nget addservices\nget configfilemodifications\n"
    before = site.cmsh(of_node)
    assert site.cluster("apply").exit_code == 0
    assert "eth4" in site.cmsh(of_node)
    assert "/etc/o.conf" not in site.cmsh(of_node)
    assert site.left() == []
    edit(site, (OVERRIDE, ""))
    planned = site.cluster("plan").out
    assert planned.count("- node/node003/setting/") == 3
    assert site.cluster("apply").exit_code == 0
    assert site.cmsh(of_node) == before
    assert site.left() == []


def test_a_network_with_addresses_of_one_of_the_clusters_is_told_with_its_line(site: Cluster) -> None:
    before = edit(site, ('subnet = "192.168.80.0/24"', 'subnet = "10.141.4.0/24"'))
    recipe = site.path / "recipes/clusters" / f"{NAME}.toml"
    line = recipe.read_text().rpartition('cidr = "{{ subnet }}"')[0].count("\n") + 1
    refused = site.cluster("plan")
    assert refused.exit_code == 2
    said = 'network "ibnetwork": 10.141.4.0/24 overlaps 10.141.0.0/16 of "internalnet"'
    assert f"{NAME}.toml:{line}: {said}" in refused.err, refused.err
    recipe.write_text(before)
    assert site.cluster("apply").exit_code == 0
    # Somebody's, made since: the file's is there already, and is no change.
    site.cmsh(
        "network\nadd theirs\nset baseaddress 192.168.80.0\nset netmaskbits 25\n"
        "set broadcastaddress 192.168.80.127\nset domainname t.cluster\ncommit\n"
    )
    assert site.cluster("plan").out.endswith("nothing to do\n")


JSON = '+/etc/nova/nova.conf[DEFAULT]pci_passthrough_whitelist={"vendor_id":"15b3"}'


def test_what_cannot_be_typed_of_others_is_refused_by_the_plan_and_blocks_nothing_later(
    site: Cluster,
) -> None:
    _theirs(site, JSON)
    before = state.snapshot(str(site.head))
    for command in ("plan", "apply"):
        refused = site.cluster(command)
        assert refused.exit_code == 1
        said = "the list of node/node003 would replace that of category/openstack-compute-hosts, in which"
        assert f"{said} somebody has put {JSON!r}: that has a double quote" in refused.err, refused.err
        assert re.search(rf"{NAME}.toml:\d+: node/node003/", refused.err)
        assert "hint: take the entry out of the list of category/openstack-compute-hosts, or" in refused.err
    assert state.snapshot(str(site.head)) == before
    edit(site, (OVERRIDE, ""))
    applied = site.cluster("apply")
    assert applied.exit_code == 0, applied.err
    of_category = f"category\nuse {COMPUTE}\nroles\nuse openstacknode\nget configfilemodifications\n"
    assert site.cmsh(of_category).splitlines()[0] == JSON
    assert site.left() == []
    # What is the file's is changed, and taken out, beside it.
    recipe = site.path / "recipes/clusters" / f"{NAME}.toml"
    edit(site, ('ib_interface = "eth6"', 'ib_interface = "eth8"'))
    for text in (recipe.read_text(), f'[cluster]\nname = "{NAME}"\n'):
        recipe.write_text(text)
        applied = site.cluster("apply")
        assert applied.exit_code == 0, applied.err
        assert site.cmsh(of_category).splitlines()[0] == JSON
        assert site.left() == []
    assert site.cmsh(of_category).splitlines() == [JSON]


def test_a_record_of_what_was_never_written_blocks_nothing(site: Cluster) -> None:
    """One of before such entries were refused."""
    assert site.cluster("apply").exit_code == 0
    file = site.path / "store/clusters" / f"{NAME}.json"
    kept = json.loads(file.read_text())
    for value in ("a\nb", '{"vendor_id":"15b3"}'):
        kept["added"]["put"][f"node/node003/setting//etc/n.conf[a]{len(value)}"] = {"value": value}
    file.write_text(json.dumps(kept))
    assert site.left() == []
    assert site.cluster("apply").exit_code == 0


def test_a_list_that_replaces_what_the_file_gives_the_category_is_noted(site: Cluster) -> None:
    own = "configfilemodifications '+/etc/own.conf[x]y=2'"
    site.cmsh(f"device\nuse node002\nroles\nassign openstacknode\nset {own}\ncommit\n")
    for command in ("plan", "apply", "plan"):
        said = site.cluster(command).out
        noted = re.search(r"note: node002: somebody has given a list .* replaces that of (\S+): (.*)", said)
        assert noted is not None, said
        assert noted[1] == f"category/{COMPUTE}"
        assert noted[2].count("linuxbridge_conf.ini[") == 3
        assert "node003" not in noted[0]
    assert _list_of(site, "node002") == ["+/etc/own.conf[x]y=2"]
    site.cmsh("device\nuse node002\nroles\nunassign openstacknode\ncommit\n")
    assert "replaces that of" not in site.cluster("plan").out


def test_a_list_with_somebodys_entry_keeps_what_the_category_has(site: Cluster) -> None:
    _theirs(site, "+/etc/o.conf[x]y=1")
    assert site.cluster("apply").exit_code == 0
    own = "+/etc/own.conf[x]y=2"
    _theirs(site, own, of="device\nuse node003")
    edit(site, (OVERRIDE, ""))
    planned = site.cluster("plan").out
    assert "- node/node003" not in planned
    assert site.cluster("apply").exit_code == 0
    of_category = f"category\nuse {COMPUTE}\nroles\nuse openstacknode\nget configfilemodifications\n"
    assert sorted(_list_of(site, "node003")) == sorted([*site.cmsh(of_category).splitlines(), own])
    assert site.left() == []
    removed = f'device\nuse node003\nroles\nuse openstacknode\nremovefrom configfilemodifications "{own}"\n'
    site.cmsh(f"{removed}commit\n")
    assert site.cluster("apply").exit_code == 0
    assert "openstacknode" not in site.cmsh("device\nuse node003\nroles\nlist\n")
    assert site.left() == []
