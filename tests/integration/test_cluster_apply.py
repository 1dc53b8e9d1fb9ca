"""``pipeline cluster`` on the lab's head node, as an administrator uses it and as it goes wrong."""

from __future__ import annotations

import json
import os
import re
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
