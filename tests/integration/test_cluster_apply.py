"""``pipeline cluster`` on the lab's head node, as an administrator uses it and as it goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.lab.head import start, state
from pipeline.lab.head.switches import Faults, Switches, write_faults
from tests.lab.head import seed
from tests.lab.project import REPOSITORY, Project, Result

NAME = "openstack-mellanox"
COMPUTE = "openstack-compute-hosts-mellanox"


class Cluster(Project):
    """A project beside a head node; its site is that of somebody who has no lab."""

    @property
    def head(self) -> Path:
        return self.path / "head"

    def cluster(self, *words: str) -> Result:
        return self.run("cluster", *words)

    def cmsh(self, text: str) -> str:
        """What an administrator types."""
        file = self.write("typed", text)
        command = [self.head / "bin/cmsh", "-n", "--color=no", "--hide-events", "-q", "-f", file]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def faults(self, **what: object) -> None:
        write_faults(str(self.head), Faults(**what))  # type: ignore[arg-type]

    def objects(self) -> dict[str, dict[str, dict[str, object]]]:
        found: dict[str, dict[str, dict[str, object]]] = state.snapshot(str(self.head))["objects"]
        return found

    def left(self) -> list[str]:
        """The objects of the next plan."""
        return [change["object"] for change in self.cluster("plan", "--json").json()["changes"]]


@pytest.fixture
def site(tmp_path: Path) -> Cluster:
    import shutil

    project = Cluster(tmp_path)
    for name in ("recipes", "overlays"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    start.make(project.head)
    for base in ("openstack-image", "virtual-node-image"):
        (tmp_path / "bases" / base).mkdir(parents=True)
    project.write(
        "pipeline.toml",
        '[site]\nstore = "store"\nimages = "images"\n'
        '[bases]\nopenstack-image = "bases/openstack-image"\n'
        'virtual-node-image = "bases/virtual-node-image"\n'
        f'[head]\nroot = "{project.head}/root"\nprograms = ["{project.head}/bin"]\n',
    )
    return project


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


def test_somebody_else_between_plan_and_apply_is_refused_and_shown(site: Cluster) -> None:
    assert site.cluster("plan", "--out", "agreed.json").exit_code == 0
    site.cmsh("category\nuse openstack-network-nodes\nset softwareimage default-image\ncommit\n")
    before = state.snapshot(str(site.head))
    refused = site.cluster("apply", "--plan", "agreed.json")
    assert refused.exit_code == 1
    assert "category/openstack-network-nodes: image was openstack-image, and is default-image" in refused.err
    assert "nothing was changed" in refused.err
    assert state.snapshot(str(site.head)) == before
    site.cluster("plan", "--out", "agreed.json")
    assert site.cluster("apply", "--plan", "agreed.json").exit_code == 0
    assert site.left() == []


def test_a_plan_of_another_file_or_none_is_refused(site: Cluster) -> None:
    site.write("agreed.json", "{}")
    assert "this is no plan" in site.cluster("apply", "--plan", "agreed.json").err
    assert site.cluster("apply", "--plan", "gone.json").exit_code == 2
    site.cluster("plan", "--out", "agreed.json")
    recipe = site.path / "recipes/clusters" / f"{NAME}.toml"
    recipe.write_text(recipe.read_text().replace("autostart = true", "autostart = false"))
    refused = site.cluster("apply", "--plan", "agreed.json")
    assert refused.exit_code == 1
    assert "the cluster file asks for other changes" in refused.err


@pytest.mark.parametrize("code", [0, 1])
def test_a_head_node_that_dies_in_the_middle_leaves_what_the_next_plan_shows(
    site: Cluster, code: int
) -> None:
    start.make(site.head, switches=Switches(failure_code=code))
    every = site.left()
    site.faults(die_after_commits=4)
    died = site.cluster("apply")
    assert died.exit_code == 3, died.err
    assert "Not connected" in died.err
    assert "what was changed is not known: reading it back failed" in died.err
    assert site.cluster("plan").exit_code == 3
    site.faults()
    left = site.left()
    assert 0 < len(left) < len(every)
    assert set(left) <= set(every)
    assert left[-1] == "head/master/service/opensm"
    assert site.cluster("apply").exit_code == 0
    assert site.left() == []


def test_a_restart_that_was_owed_is_done_by_the_next_apply(site: Cluster) -> None:
    site.cluster("apply")
    record = site.path / "store/clusters" / f"{NAME}.json"
    kept = json.loads(record.read_text())
    record.write_text(json.dumps({**kept, "restarts": ["head/master/service/opensm"]}))  # killed before it
    assert site.left() == ["head/master/service/opensm"]
    assert site.cluster("apply").exit_code == 0
    restarts = [entry for entry in state.records(str(site.head)) if "restart" in json.dumps(entry)]
    assert len(restarts) == 2
    assert site.left() == []


def test_killed_at_any_moment_the_next_apply_does_the_rest(site: Cluster) -> None:
    command = [sys.executable, "-m", "pipeline", "cluster", "apply"]
    began = time.monotonic()
    subprocess.run(command, cwd=site.path, capture_output=True, check=True)
    whole = time.monotonic() - began
    done = state.snapshot(str(site.head))
    for part in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
        start.make(site.head)
        subprocess.run(["rm", "-r", "store/clusters"], cwd=site.path, check=True)
        process = subprocess.Popen(
            command, cwd=site.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(whole * part)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert site.cluster("apply").exit_code == 0
        after = state.snapshot(str(site.head))
        assert {key: after[key] for key in ("objects", "files", "running")} == {
            key: done[key] for key in ("objects", "files", "running")
        }


def test_two_applies_at_once(site: Cluster) -> None:
    site.faults(latency=0.5)
    command = [sys.executable, "-m", "pipeline", "cluster", "apply"]
    first = subprocess.Popen(command, cwd=site.path, stdout=subprocess.DEVNULL)
    lock = site.path / "store/clusters" / f"{NAME}.lock"
    while not lock.exists() or not _held(lock):
        assert first.poll() is None
        time.sleep(0.01)
    second = site.cluster("apply")
    assert second.exit_code == 1
    assert "is being applied by another process" in second.err
    assert first.wait() == 0


def _held(lock: Path) -> bool:
    import fcntl

    with open(lock, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


UNKNOWN = {
    "node": ('names = "node001"', 'names = "node00l"', 'no node "node00l" (did you mean "node00'),
    "category": (
        'clone = "openstack-compute-hosts"',
        'clone = "openstack-compute"',
        'no category "openstack-compute"',
    ),
    "image": (
        'clone = "openstack-image"',
        'clone = "openstack-imag"',
        'no image "openstack-imag" (did you mean',
    ),
    "network": ('\nnetwork = "ibnetwork"', '\nnetwork = "ibnet"', 'no network "ibnet"'),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_names_that_are_nothing_are_told_with_the_nearest_and_the_line(site: Cluster, what: str) -> None:
    old, new, message = UNKNOWN[what]
    recipe = site.path / "recipes/clusters" / f"{NAME}.toml"
    text = recipe.read_text()
    assert old in text
    recipe.write_text(text.replace(old, new))
    before = state.snapshot(str(site.head))
    refused = site.cluster("apply")
    assert refused.exit_code == 2
    assert message in refused.err
    assert re.search(rf"{NAME}\.toml:\d+: no {what}", refused.err)
    assert state.snapshot(str(site.head)) == before


def test_an_import_has_what_is_there(site: Cluster) -> None:
    for name in ("before", "after"):
        imported = site.cluster("import", name)
        assert imported.exit_code == 0, imported.err
        planned = site.cluster("plan", name)
        assert planned.out.endswith(f"{name}: nothing to do\n"), planned.out + planned.err
        assert site.cluster("apply", NAME).exit_code == 0
    assert site.cluster("plan", "before").out.count("\n~ ") >= 1
    twice = site.cluster("import", "after")
    assert twice.exit_code == 2
    assert "there is such a file already" in twice.err
    assert site.cluster("import", "other", "--out", "-").out.startswith("#:schema")


ODD = """
category
use openstack-compute-hosts
roles
use openstacknode
append configfilemodifications "-/etc/y.conf[s]only"
append configfilemodifications "+/etc/y.conf[s]m=1"
append configfilemodifications "+/etc/y.conf[s]m=2"
append configfilemodifications "+/etc/y.conf[s]blank= x"
append configfilemodifications "+/etc/y.conf[s]co:lon=x"
append configfilemodifications "+/etc/y.conf[s]plain=x"
commit
home
softwareimage
clone openstack-image openstack-image-mellanox
commit
home
network
use internalnet
set broadcastaddress 0.0.0.0
commit
home
device
use node001
interfaces
add bond bond0
set network internalnet
commit
"""
"""What there are no words for in a cluster file, but for one setting."""

LEFT_OUT = {
    "setting//etc/y.conf[s]only: only takes out",
    "setting//etc/y.conf[s]m: the key has several values (1, 2)",
    "setting//etc/y.conf[s]blank: its value ' x' has blanks",
    "setting//etc/y.conf[s]co:lon: the name of its file, section or key",
    "image/openstack-image-mellanox: the recipe of this name has kernel parameters that it lacks",
    "network/internalnet: its address:",
    'node/node001/interface/bond0: its type is "bond"',
}


def test_an_import_names_what_it_has_no_words_for_and_plans_the_rest(site: Cluster) -> None:
    site.cmsh(ODD)
    imported = site.cluster("import", "odd")
    assert imported.exit_code == 0, imported.err
    assert "it has what is there, so that a plan finds nothing to do" in imported.out
    text = (site.path / "recipes/clusters/odd.toml").read_text()
    for named in LEFT_OUT:
        assert named in imported.err
        assert named in re.sub(r"(?m)^(?!# ).*\n", "", text)
    assert 'add.s.plain = "x"' in text
    planned = site.cluster("plan", "odd")
    assert planned.out.endswith("odd: nothing to do\n"), planned.out + planned.err


def test_a_node_whose_list_lacks_a_setting_of_its_category_is_not_given_it(site: Cluster) -> None:
    for owner, entry in (("category\nuse openstack-compute-hosts", "a"), ("device\nuse node002", "b")):
        assign = "assign openstacknode" if "node002" in owner else "use openstacknode"
        site.cmsh(
            f'{owner}\nroles\n{assign}\nappend configfilemodifications "+/etc/y.conf[s]{entry}=1"\ncommit\n'
        )
    imported = site.cluster("import", "odd")
    assert "node/node002: the settings of its own" in imported.err
    assert site.cluster("plan", "odd").out.endswith("odd: nothing to do\n")


def test_an_import_says_what_a_plan_really_finds(site: Cluster) -> None:
    (site.path / "recipes/openstack-image/").mkdir()
    site.write("recipes/openstack-image/recipe.toml", "[image\n")
    imported = site.cluster("import", "odd")
    assert imported.exit_code == 1
    assert "to be mended before it can be planned" in imported.out
    assert "recipes/openstack-image/recipe.toml:1" in imported.err
    assert "nothing to do" not in imported.out


def test_an_import_tells_where_its_file_has_to_lie_and_prints_it_as_json(site: Cluster) -> None:
    elsewhere = site.cluster("import", "new", "--out", "elsewhere/x.toml")
    assert "a plan reads recipes/clusters/new.toml: move it there first" in elsewhere.out
    printed = site.cluster("import", "new", "--out", "-", "--json").json()
    assert printed["text"] == (site.path / "elsewhere/x.toml").read_text()
    assert printed["changes"] == printed["problems"] == []
    assert "a plan reads" not in site.cluster("import", "new").out
    refused = site.cluster("import", "other", "--out", "/proc/none/x.toml")
    assert (refused.exit_code, "x.toml: the cluster file cannot be written" in refused.err) == (1, True)


@pytest.mark.parametrize("out", ["/", "nodir/a.json", "store"])
def test_a_plan_that_cannot_be_kept_names_the_path_that_was_given(site: Cluster, out: str) -> None:
    (site.path / "store").mkdir(exist_ok=True)
    refused = site.cluster("plan", "--out", out)
    assert refused.exit_code == 1
    assert f"pipeline: {out}: the plan cannot be written" in refused.err
    assert "defect" not in refused.err


def test_a_file_of_the_head_node_that_is_no_utf_8_can_be_planned_kept_and_compared(site: Cluster) -> None:
    conf = site.head / "root/etc/opensm/opensm.conf"
    conf.write_bytes(b"# caf\xe9 \x1b[31mred\nallow_both_pkeys FALSE\n")
    shown = site.cluster("plan")
    assert shown.exit_code == 0, shown.err
    assert "\x1b" not in shown.out
    changes = {one["object"]: one for one in site.cluster("plan", "--json").json()["changes"]}
    entry = changes["head/master/file//etc/opensm/opensm.conf"]["properties"][0]
    assert entry["old"].startswith("# caf\ufffd ")
    assert site.cluster("plan", "--out", "agreed.json").exit_code == 0
    conf.write_bytes(conf.read_bytes().replace(b"\xe9", b"\xe8"))
    assert "somebody has been there" in site.cluster("apply", "--plan", "agreed.json").err
    conf.write_bytes(conf.read_bytes().replace(b"\xe8", b"\xe9"))
    assert site.cluster("apply", "--plan", "agreed.json").exit_code == 0
    assert conf.read_bytes().startswith(b"# caf\xe9 ")


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


def test_no_head_node(site: Cluster) -> None:
    site.write("pipeline.toml", (site.path / "pipeline.toml").read_text().replace("/bin", "/nowhere"))
    assert site.cluster("plan").exit_code == 3
    text = (site.path / "pipeline.toml").read_text()
    site.write("pipeline.toml", text[: text.index("[head]")])
    missing = site.cluster("plan")
    assert missing.exit_code == 2
    assert "add a table [head]" in missing.err


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


def edit(site: Cluster, *pairs: tuple[str, str]) -> str:
    """Change the cluster file; its text before."""
    recipe = site.path / "recipes/clusters" / f"{NAME}.toml"
    before = recipe.read_text()
    text = before
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    return before


NODE2 = """[[node]]
names = "node002"
parameters = { local_ip = "10.161.0.2" }

"""

OVERRIDE = """[[node]]
names = "node003"
parameters = { ib_interface = "eth4" } # its card came up under another name
"""


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


def test_what_others_put_into_a_categorys_list_a_node_with_a_list_of_its_own_has_too(site: Cluster) -> None:
    foreign = "+/etc/nova/nova.conf[DEFAULT]debug=True"
    site.cmsh(
        "category\nuse openstack-compute-hosts\nroles\nuse openstacknode\n"
        f'append configfilemodifications "{foreign}"\ncommit\n'
    )
    assert site.cluster("apply").exit_code == 0
    of_node = "device\nuse node003\nroles\nuse openstacknode\nget configfilemodifications\n"
    assert foreign in site.cmsh(of_node)
    assert site.left() == []
    edit(site, (OVERRIDE, ""))
    assert site.cluster("apply").exit_code == 0
    assert "openstacknode" not in site.cmsh("device\nuse node003\nroles\nlist\n")


def test_a_plan_holds_beside_another_store_and_tells_what_changed_in_a_source(site: Cluster) -> None:
    site.cluster("apply")
    site.cmsh(f"category\nuse {COMPUTE}\nset softwareimage openstack-image\ncommit\n")
    site.cluster("plan", "--out", "agreed.json")
    (site.path / "store").rename(site.path / "other-store")
    assert site.cluster("apply", "--plan", "agreed.json").exit_code == 0
    start.make(site.head)
    site.cluster("plan", "--out", "agreed.json")
    site.cmsh('softwareimage\nuse openstack-image\nset kernelparameters "quiet"\ncommit\n')
    refused = site.cluster("apply", "--plan", "agreed.json")
    assert refused.exit_code == 1
    assert "image/openstack-image: kernel_parameters was biosdevname=0" in refused.err


def test_ctrl_c_in_an_apply_tells_what_was_done(site: Cluster) -> None:
    site.faults(latency=0.3)
    command = [sys.executable, "-m", "pipeline", "cluster", "apply"]
    process = subprocess.Popen(
        command, cwd=site.path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    before = len(state.snapshot(str(site.head))["objects"]["category"])
    while len(state.snapshot(str(site.head))["objects"]["category"]) == before:
        assert process.poll() is None
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted while changes were written" in err
    assert re.search(r"\d+ of 36 changes are made", err)
    site.faults()
    assert site.cluster("apply").exit_code == 0


def test_what_the_manager_refuses_is_told_with_object_property_and_line(site: Cluster) -> None:
    path = "/cm/images/default-image"
    edit(site, ('path = "/cm/images/openstack-image-mellanox"', f'path = "{path}"'))
    refused = site.cluster("apply")
    assert refused.exit_code == 1
    line = (site.path / "recipes/clusters" / f"{NAME}.toml").read_text().split(path)[0].count("\n") + 1
    said = next(text for text in refused.err.splitlines() if "default-image" in text)
    assert f"{NAME}.toml:{line}: image/openstack-image-mellanox: path" in said, refused.err
