"""Everything that stands against a rollout is told at once, on the lab's head node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from pipeline.cluster.apply import look
from pipeline.cluster.load import load_cluster
from pipeline.cluster.opening import head, keepers, node_manager, without_cloud
from pipeline.cluster.plan import Plan
from pipeline.errors import PipelineError, Problem
from pipeline.publish.publication import publish
from pipeline.publish.record import directory
from pipeline.rollout.checks import Asked, find
from pipeline.rollout.hooks.cephstate import osds_of
from pipeline.rollout.model import Finding, Node, Target, Verdict
from pipeline.rollout.ordering import Draft, Wishes, draft
from pipeline.store.store import Store
from tests.integration.cluster_site import COMPUTE, NAME, Cluster, applied
from tests.integration.published_versions import FAILED, PASSED, Place

IMAGE = "openstack-image-mellanox"


class Testless:
    """A verifier that has no tests."""

    def find(self, nodes: Sequence[Node]) -> Sequence[Finding]:
        return [Finding("error", f"no tests for {len(nodes)} nodes")]

    def steps(self, node: Node, target: Target) -> tuple[str, ...]:
        return ()

    def verify(self, nodes: Sequence[Node], target: Target, folder: Path) -> Mapping[str, Verdict]:
        return {}


class Rollouts:
    """The project's cluster, applied, with versions 1 (passed, published) and 2 (failed, not published)."""

    def __init__(self, project: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        monkeypatch.chdir(project.path)
        self.site = applied(project)
        place = Place(self.site, Store.open(self.site.store))
        self.store = place.store
        for tested in (PASSED, FAILED):
            made = place.version(lambda root: (root / "motd").write_text("hello"), image=IMAGE, tested=tested)
            if tested is PASSED:
                publish(self.site, self.store, made)
        self.cluster = load_cluster(NAME, self.site)
        self.head = head(self.site)

    def draft(self, wishes: Wishes) -> Draft:
        survey = node_manager(self.site).survey()
        return draft(self.cluster, self.site, self.store, survey, wishes, osds_of(self.head))

    def find(self, *images: str, nodes: str = "", **more: object) -> tuple[Finding, ...]:
        wanted = without_cloud(self.site, self.cluster)
        asked = Asked(
            draft=self.draft(Wishes(nodes, images)),
            cluster=self.cluster,
            site=self.site,
            store=self.store,
            survey=node_manager(self.site).survey(),
            head=self.head,
            plan=lambda: look(wanted, keepers(self.site, wanted), self.site.store),
        )
        return find(msgspec.structs.replace(asked, **more))


@pytest.fixture
def rollouts(site: Cluster, monkeypatch: pytest.MonkeyPatch) -> Rollouts:
    return Rollouts(site, monkeypatch)


def nothing() -> Plan:
    return Plan(NAME, (), {})


def errors(found: Sequence[Finding]) -> list[str]:
    return [each.what for each in found if each.severity == "error"]


def test_an_applied_cluster_with_a_published_version_has_no_errors(rollouts: Rollouts) -> None:
    made = rollouts.draft(Wishes(images=(f"{IMAGE}@1",)))
    assert [node.name for node in made.order.nodes] == ["node001", "node002", "node003"]
    assert [bool(node.osds) for node in made.order.nodes] == [False, True, True]
    assert made.order.targets[f"{IMAGE}-1"].path == str(directory(rollouts.site, IMAGE, 1))
    found = rollouts.find(f"{IMAGE}@1")
    assert errors(found) == []
    assert any(each.what.startswith("FULL wipes the disks of 3 nodes") for each in found)


def test_everything_that_is_wrong_is_told_at_once(rollouts: Rollouts) -> None:
    rollouts.project.cmsh(f"category\nuse {COMPUTE}\nset softwareimage openstack-image\ncommit\n")
    rollouts.project.cmsh("device\nuse node002\nset datanode yes\ncommit\n")
    text = "<diskSetup><device><blockdev>/dev/sdb</blockdev></device></diskSetup>"
    layout = rollouts.project.write("layout.xml", text)
    rollouts.project.cmsh(f"category\nuse {COMPUTE}\nset disksetup {layout}\ncommit\n")

    def busy() -> None:
        raise PipelineError(
            [Problem("node003 belongs to rollout 7", "rollout-7", "wait", "pipeline rollout status")]
        )

    found = rollouts.find(f"{IMAGE}@2", nodes="node[002-004]", refuse=[busy], verifier=Testless())
    told = errors(found)
    expected = [
        "the cluster manager has no node004",
        "node003 belongs to rollout 7",
        "the cluster is not as its file says, 1 change: category/openstack-compute-hosts-mellanox",
        "it is not verified: its tests failed",
        "it is not published",
        "datanode is set: a FULL install waits until somebody confirms it at the console",
        "no tests for 2 nodes",
    ]
    assert [each for each in expected if not any(what.startswith(each) for what in told)] == [], told
    assert sum("an install would wipe /dev/sdb" in what for what in told) == 2
    assert [each.severity for each in found] == sorted(each.severity for each in found)
    commands = {each.command for each in found}
    assert {
        f"pipeline cluster apply {NAME}",
        f"pipeline verify {IMAGE}@2",
        f"pipeline publish {IMAGE}@2",
    } <= commands


def test_what_has_not_passed_is_a_warning_when_that_is_asked_for(rollouts: Rollouts) -> None:
    place = Place(rollouts.site, rollouts.store)
    version = place.store.versions.resolve(f"{IMAGE}@2")
    publish(rollouts.site, rollouts.store, version, unverified=True)
    assert errors(rollouts.find(f"{IMAGE}@2")) == ["it is not verified: its tests failed"]
    found = rollouts.find(f"{IMAGE}@2", unverified=True)
    assert errors(found) == []
    assert any(each.what.startswith("it is not verified") for each in found)


def test_a_link_that_leads_to_the_version_by_now_is_no_way_back(rollouts: Rollouts) -> None:
    link = directory(rollouts.site, IMAGE, 1).with_name(IMAGE)
    rollouts.project.cmsh(f"softwareimage\nuse {IMAGE}\nset path {link}\ncommit\n")

    def said(image: str) -> list[str]:
        found = rollouts.find(image, plan=nothing, unverified=True)
        return [each.command for each in found if each.severity == "error" and str(link) in each.what]

    assert said(f"{IMAGE}@2") == [] and said(f"{IMAGE}@1") == [""]
    publish(rollouts.site, rollouts.store, rollouts.store.versions.resolve(f"{IMAGE}@2"), unverified=True)
    assert said(f"{IMAGE}@1") == [] and said(f"{IMAGE}@2") == [f"pipeline rollback {IMAGE}"]


def test_an_error_of_one_check_hides_no_other(rollouts: Rollouts) -> None:
    def broken() -> None:
        raise PipelineError("the head node went away")

    directory(rollouts.site, IMAGE, 1).rename(rollouts.site.images / "elsewhere")
    found = errors(rollouts.find(f"{IMAGE}@1", plan=broken))
    assert "the head node went away" in found
    assert any("there is no directory" in what for what in found)


def test_images_to_go_back_to_that_are_gone_are_told(rollouts: Rollouts) -> None:
    tree = rollouts.project.head / "root/cm/images" / IMAGE
    tree.rename(tree.with_name("gone"))
    found = rollouts.find(f"{IMAGE}@1", plan=nothing)
    told = [each.what for each in found if each.where == IMAGE]
    assert f"nodes could not be taken back to {IMAGE}: its directory is gone" in told
