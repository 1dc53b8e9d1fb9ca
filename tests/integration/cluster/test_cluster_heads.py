"""Another head node in the site file: what was applied to the old one is not there, and is not owed to it."""

from __future__ import annotations

import json

import pytest

from pipeline.lab.head import start, state
from pipeline.rollout import folder as folders
from tests.integration.cluster_site import COMPUTE, NAME, Cluster, edit
from tests.integration.rollout_checks.test_renamed_cluster import ORDER

LINUXBRIDGE = """[[category.file]]
path = "/etc/neutron/plugins/linuxbridge/linuxbridge_conf.ini"
generate = "linuxbridge" # from [neutron]
"""

LIST = f"category\nuse {COMPUTE}\nroles\nuse openstacknode\n"


@pytest.fixture
def moved(site: Cluster) -> Cluster:
    """It was applied to another head node than its site file has now; some of that has left the file."""
    assert site.cluster("apply").exit_code == 0
    edit(site, (LINUXBRIDGE, ""))
    lines = site.cmsh(f"{LIST}get configfilemodifications\n").split("\n")
    theirs = " ".join(f'"{line}"' for line in lines if "linuxbridge" in line)
    site.head.rename(site.path / "first")
    start.make(site.head)
    kept = site.path / "store/clusters" / f"{NAME}.json"
    record = json.loads(kept.read_text())
    record["of"]["head"] = f"{site.path}/first/root"
    kept.write_text(json.dumps({**record, "restarts": ["head/master/service/opensm"]}))
    site.cmsh(f"category\nclone openstack-compute-hosts {COMPUTE}\ncommit\n")
    site.cmsh(f"{LIST}set configfilemodifications {theirs}\ncommit\n")
    return site


def test_what_was_applied_to_one_head_node_is_neither_taken_back_nor_owed_on_another(moved: Cluster) -> None:
    before = state.snapshot(str(moved.head))
    for words in (("plan",), ("status",), ("apply",), ("apply", "--dry-run")):
        refused = moved.cluster(*words)
        assert (refused.exit_code, refused.out) == (2, ""), refused.out
        assert (
            f"was applied to the head node {moved.path}/first/root, and the site's [head] has" in refused.err
        )
        assert f"run: pipeline cluster plan {NAME} --same-head" in refused.err
    assert state.snapshot(str(moved.head)) == before
    pipeline = moved.path / "pipeline.toml"
    pipeline.write_text(pipeline.read_text().replace('"store"', '"second"'))
    planned = moved.cluster("plan").out
    assert f"{NAME}: " in planned
    assert "changed by hand" not in planned
    assert "\n- " not in planned, "the way out"


def test_a_head_node_that_only_has_another_name_is_taken_for_the_same_when_that_is_said(
    moved: Cluster,
) -> None:
    planned = moved.cluster("plan", NAME, "--same-head").out
    assert f"note: {moved.path}/first/root and {moved.path}/head/root are taken for one head node" in planned
    assert f"- category/{COMPUTE}/setting/" in planned
    assert moved.cluster("plan").exit_code == 2, "a plan keeps nothing"
    done = moved.cluster("apply", "--same-head")
    assert done.exit_code == 0, done.err
    assert moved.cluster("plan").out.endswith(f"{NAME}: nothing to do\n")


@pytest.mark.parametrize("verb", ["start", "resume", "rollback"])
def test_rollouts_of_one_head_node_do_not_go_on_at_another(moved: Cluster, verb: str) -> None:
    folders.begin(moved.path / "store", ORDER)
    refused = moved.run("rollout", verb, NAME)
    assert refused.exit_code == 2
    assert f"was applied to the head node {moved.path}/first/root" in refused.err
