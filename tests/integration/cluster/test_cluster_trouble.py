"""``pipeline cluster`` as it goes wrong: other people, kills, a head node that dies, wrong names."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from pipeline.lab.head import start, state
from pipeline.lab.head.switches import Switches
from tests.integration.cluster_site import COMPUTE, NAME, Cluster, edit

APPLY = (sys.executable, "-m", "pipeline", "cluster", "apply")
COPYING = Switches(copy_seconds=600)
"""An image is copied until ``copied`` is called."""


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


def test_a_dry_run_of_a_plan_refuses_what_an_apply_of_it_would(site: Cluster) -> None:
    assert site.cluster("apply", "--dry-run", "--plan", "gone.json").exit_code == 2
    assert site.cluster("plan", "--out", "agreed.json").exit_code == 0
    before = state.snapshot(str(site.head))
    assert site.cluster("apply", "--dry-run", "--plan", "agreed.json").exit_code == 0
    assert state.snapshot(str(site.head)) == before
    site.cmsh("category\nuse openstack-network-nodes\nset softwareimage default-image\ncommit\n")
    refused = site.cluster("apply", "--dry-run", "--plan", "agreed.json")
    assert refused.exit_code == 1
    assert "category/openstack-network-nodes: image was openstack-image, and is default-image" in refused.err


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
    """After an image is cloned, while categories are written, and what stands on them: before, it only reads.

    Not while an image is cloned: that copy goes on, and the next apply is refused until it has ended.
    """
    subprocess.run(APPLY, cwd=site.path, capture_output=True, check=True)
    done = state.snapshot(str(site.head))
    for asked, further in (("softwareimage\nclone", 1), ("category\nclone", 0), ("master\nservices", 0)):
        start.make(site.head)
        subprocess.run(["rm", "-r", "store/clusters"], cwd=site.path, check=True)
        process = subprocess.Popen(APPLY, cwd=site.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not any(asked in text for text in _asked(site)[: -further or None]):
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        state.wait(str(site.head))  # the head node itself goes on copying
        assert site.cluster("apply").exit_code == 0
        after = state.snapshot(str(site.head))
        assert {key: after[key] for key in ("objects", "files", "running")} == {
            key: done[key] for key in ("objects", "files", "running")
        }


def test_two_applies_at_once(site: Cluster) -> None:
    start.make(site.head, switches=COPYING)
    with _applying(site) as first:
        second = site.cluster("apply")
        assert second.exit_code == 1
        assert "is being applied by another process" in second.err
        site.copied()
        assert first.wait(60) == 0


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


@pytest.mark.parametrize("out", ["/", "nodir/a.json", "store", "null", "to-null"])
def test_a_plan_that_cannot_be_kept_names_the_path_that_was_given(site: Cluster, out: str) -> None:
    (site.path / "store").mkdir(exist_ok=True)
    os.mknod(site.path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    (site.path / "to-null").symlink_to("null")
    refused = site.cluster("plan", "--out", out)
    assert refused.exit_code == 1
    assert f"pipeline: {out}: the plan cannot be written" in refused.err
    assert "defect" not in refused.err
    assert (site.path / "null").is_char_device() and (site.path / "to-null").is_symlink()


def test_a_plan_and_a_cluster_file_are_written_to_where_a_link_leads(site: Cluster) -> None:
    for words in (["plan"], ["import", "mine"]):
        (site.path / "link").symlink_to(site.path / f"target-{words[0]}")
        assert site.cluster(*words, "--out", "link").exit_code == 0
        assert (site.path / "link").is_symlink() and (site.path / f"target-{words[0]}").stat().st_size > 0
        (site.path / "link").unlink()


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
    refused = site.cluster("apply", "--plan", "agreed.json")
    assert "somebody has been there" in refused.err
    assert "content was (-), and is (+):\n  -# caf\\udce9 \\x1b[31mred\n  +# caf\\udce8 " in refused.err
    conf.write_bytes(conf.read_bytes().replace(b"\xe8", b"\xe9"))
    assert site.cluster("apply", "--plan", "agreed.json").exit_code == 0
    assert conf.read_bytes().startswith(b"# caf\xe9 ")


def test_no_head_node(site: Cluster) -> None:
    site.write("pipeline.toml", (site.path / "pipeline.toml").read_text().replace("/bin", "/nowhere"))
    assert site.cluster("plan").exit_code == 3
    text = (site.path / "pipeline.toml").read_text()
    site.write("pipeline.toml", text[: text.index("[head]")])
    missing = site.cluster("plan")
    assert missing.exit_code == 2
    assert "add a table [head]" in missing.err


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


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_apply_that_is_ended_tells_what_was_done(site: Cluster, number: signal.Signals, code: int) -> None:
    start.make(site.head, switches=COPYING)
    # Whoever runs the tests may ignore some of them (nohup), and a new process would, too.
    heard = f"import signal; signal.signal({number.value}, signal.SIG_DFL)"
    begin = f"{heard}; import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    before = len(state.snapshot(str(site.head))["objects"]["category"])
    with _applying(site, (sys.executable, "-c", begin, *APPLY[1:])) as process:
        site.faults(latency=0.3)  # from here on: what is only read before is none of this
        site.copied()
        while len(state.snapshot(str(site.head))["objects"]["category"]) == before:
            assert process.poll() is None
            time.sleep(0.002)
        os.killpg(process.pid, number)
        site.faults()
        _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "interrupted while changes were written" in err
    assert re.search(r"\d+ of 36 changes are made", err)
    assert site.cluster("apply").exit_code == 0


def test_what_the_manager_refuses_is_told_with_object_property_and_line(site: Cluster) -> None:
    path = "/cm/images/default-image"
    edit(site, ('path = "/cm/images/openstack-image-mellanox"', f'path = "{path}"'))
    refused = site.cluster("apply")
    assert refused.exit_code == 1
    line = (site.path / "recipes/clusters" / f"{NAME}.toml").read_text().split(path)[0].count("\n") + 1
    said = next(text for text in refused.err.splitlines() if "default-image" in text)
    assert f"{NAME}.toml:{line}: image/openstack-image-mellanox: path" in said, refused.err


def test_what_somebody_changes_while_an_image_is_copied_is_kept_and_told(site: Cluster) -> None:
    start.make(site.head, switches=COPYING)
    opensm = site.head / "root/etc/opensm/opensm.conf"
    with _applying(site) as process:
        opensm.write_text(opensm.read_text() + "theirs TRUE\n")
        site.cmsh("category\nuse openstack-network-nodes\nset softwareimage default-image\ncommit\n")
        site.copied()
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 1, err
    said = "category/openstack-network-nodes: somebody has changed it since the plan was made: "
    assert f"{said}image was openstack-image, and is default-image" in err
    assert "already committed: image/openstack-image-mellanox; not: category/" in err
    categories = site.objects()["category"]
    assert categories["openstack-network-nodes"]["softwareimage"] == "default-image"
    assert COMPUTE not in categories
    assert opensm.read_text().endswith("theirs TRUE\n")
    assert site.cluster("apply").exit_code == 0
    assert "theirs TRUE\n" in opensm.read_text()
    assert site.left() == []


def test_a_head_file_that_somebody_changes_while_an_image_is_copied_is_kept_and_told(site: Cluster) -> None:
    start.make(site.head, switches=COPYING)
    opensm = site.head / "root/etc/opensm/opensm.conf"
    with _applying(site) as process:
        opensm.write_text(opensm.read_text() + "theirs TRUE\n")
        site.copied()
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 1, err
    assert "opensm.conf: somebody has changed it since it was read; it was left as it is" in err
    assert "+theirs TRUE" in err
    assert opensm.read_text().endswith("theirs TRUE\n")
    assert site.cluster("apply").exit_code == 0
    assert "theirs TRUE\n" in opensm.read_text()
    assert site.left() == []


ROLE = "device\nuse master\nroles\nuse openstacknode\n"
ML2 = "/etc/neutron/plugins/ml2/ml2_conf.ini"


@pytest.mark.parametrize("same", [True, False])
def test_a_list_that_somebody_changes_while_an_image_is_copied(site: Cluster, same: bool) -> None:
    """A key that is ours as well is refused; others stay in the list."""
    start.make(site.head, switches=COPYING)
    entry = f"+{ML2}[ml2]type_drivers=theirs" if same else "+/etc/other.ini[a]b=theirs"
    with _applying(site) as process:
        typed = "assign openstacknode\n" if not _has_role(site) else "use openstacknode\n"
        site.cmsh(f'device\nuse master\nroles\n{typed}set configfilemodifications "{entry}"\ncommit\n')
        site.copied()
        err = process.communicate(timeout=60)[1]
    found = site.cmsh(f"{ROLE}get configfilemodifications\n").splitlines()
    assert entry in found
    assert (process.returncode == 1) == same, err
    assert ("somebody has changed it since the plan was made: was not there, and is now" in err) == same
    assert (len(found) > 1) != same


def test_an_apply_that_is_ended_while_an_image_is_copied_says_when_a_plan_can_be_made(site: Cluster) -> None:
    start.make(site.head, switches=COPYING)
    with _applying(site) as process:
        process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 143, err
    assert "what was changed is not known: reading it back failed" in err
    assert "once the head node answers" not in err
    assert "a plan shows exactly what is left" in err


def test_an_apply_under_nohup_goes_on(site: Cluster) -> None:
    command = ["nohup", *APPLY]
    start.make(site.head, switches=COPYING)
    with _applying(site, command) as process:
        process.send_signal(signal.SIGHUP)
        site.copied()
        assert process.wait(60) == 0
    assert site.left() == []


def test_an_error_after_which_all_is_as_wanted_does_not_speak_of_a_rest(site: Cluster) -> None:
    """A sync that fails on the folder, after the file was renamed."""
    programs = site.path / "programs"
    programs.mkdir()
    (programs / "sync").write_text('#!/bin/sh\n[ ! -d "$2" ] || { echo "sync: broken" >&2; exit 1; }\n')
    (programs / "sync").chmod(0o755)
    assert site.cluster("apply").exit_code == 0
    (site.head / "root/etc/opensm/opensm.conf").write_text("allow_both_pkeys FALSE\n")
    text = (site.path / "pipeline.toml").read_text()
    site.write("pipeline.toml", text.replace("programs = [", f'programs = ["{programs}", '))
    edit(site, ('restart_after = ["/etc/opensm/partitions.conf", "/etc/opensm/opensm.conf"]\n', ""))
    failed = site.cluster("apply")
    assert failed.exit_code == 1
    assert "sync: broken" in failed.err
    assert "all the same everything is as wanted: 1 of 1 changes are made" in failed.err
    assert "the rest" not in failed.err


def _asked(site: Cluster) -> list[str]:
    return [call["text"] for call in state.calls(str(site.head))]


def _has_role(site: Cluster) -> bool:
    return "openstacknode" in site.cmsh("device\nuse master\nroles\nlist\n")


@contextmanager
def _applying(site: Cluster, command: Sequence[str] = APPLY) -> Iterator[subprocess.Popen[str]]:
    """An apply, at the moment when an image is being copied."""
    process = subprocess.Popen(
        command, cwd=site.path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        while not state.snapshot(str(site.head))["copying"]:
            assert process.poll() is None
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
        site.copied()


def test_of_a_cloud_that_cannot_be_asked_nothing_is_said_but_that(
    site: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OS_CLOUD", raising=False)
    assert site.cluster("apply").exit_code == 0
    file, networks = (
        site.path / "store/clusters" / f"{NAME}.json",
        ("ibnetwork", "ibnetwork/os-subnet/ibsubnet"),
    )
    kept = json.loads(file.read_text())
    kept["applied"] |= {f"os-network/{network}": {"x": True} for network in networks}
    file.write_text(json.dumps(kept))
    assert "left as it is" not in site.cluster("plan").out, "the file has them, though no cloud is named"
    monkeypatch.setenv("OS_CLOUD", "nowhere")
    planned = site.cluster("plan")
    assert planned.exit_code != 0
    assert "left as it is" not in planned.out
    unknown = ", ".join(f"os-network/{network}" for network in networks)
    assert planned.out.endswith(f"{NAME}: nothing to do, as far as could be asked; not known: {unknown}\n")
    assert site.cluster("plan", "--json").json()["unasked"] == unknown.split(", ")
    assert "0 not yet applied, 2 could not be asked" in site.cluster("status").out
    site.cmsh(f"category\nuse {COMPUTE}\nset softwareimage openstack-image\ncommit\n")
    site.cluster("apply")
    assert f"os-network/{networks[1]}" in file.read_text(), "what is known of them is kept"
