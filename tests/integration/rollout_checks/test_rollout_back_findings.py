"""What stands against taking nodes back is asked anew, on the lab's head node, and told at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from pipeline.cli import main
from pipeline.cluster import rolled as rolled_images
from pipeline.cluster.opening import node_manager
from pipeline.lab.head.power import put_status
from pipeline.lab.services import state
from pipeline.publish.publication import publish
from pipeline.publish.record import directory
from pipeline.rollout import folder as folders
from pipeline.rollout.model import Finding, Node, Order, Target
from pipeline.rollout.opening import Planned, open_rollouts, plan, plan_back
from pipeline.rollout.ordering import Wishes
from pipeline.rollout.states import Event, State
from pipeline.store.store import Store
from tests.integration.cluster_site import COMPUTE, NAME, Cluster, applied
from tests.integration.published_versions import PASSED, Place

IMAGE = "openstack-image-mellanox"
OLD, NEW = f"{IMAGE}-1", f"{IMAGE}-2"
NAMES = ("node001", "node002", "node003")
CATEGORIES = {"node001": "openstack-network-nodes"}
"""Where it is not that of compute nodes."""


class Rolled:
    """A cluster of which rollout 1 took all nodes from version 1 to version 2; both are published."""

    def __init__(self, project: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        monkeypatch.chdir(project.path)
        self.site = applied(project)
        place = Place(self.site, Store.open(self.site.store))
        for number in (1, 2):
            made = place.version(
                lambda root, number=number: (root / "motd").write_text(str(number)),
                image=IMAGE,
                tested=PASSED,
            )
            publish(self.site, place.store, made)
        for name, number in ((OLD, 1), (NEW, 2)):
            path = directory(self.site, IMAGE, number)
            project.cmsh(f"softwareimage\nclone {IMAGE} {name}\nset path {path}\ncommit -w\nhome\n")
        self.states = dict.fromkeys(NAMES, "released")
        self.begun: State = "rebooting"
        self.hooks: tuple[str, ...] = ()

    def rollout(self, *names: str) -> folders.Kept:
        """The journal of a rollout of these nodes that is at its end."""
        targets = {
            name: Target(name, IMAGE, number, str(directory(self.site, IMAGE, number)))
            for name, number in ((OLD, 1), (NEW, 2))
        }
        order = Order(
            number=0,
            cluster=NAME,
            who="me",
            when=1.0,
            nodes=tuple(Node(name, CATEGORIES.get(name, COMPUTE), OLD) for name in names),
            batches=tuple((name,) for name in names),
            targets=targets,
            wanted=dict.fromkeys(names, NEW),
            hooks=self.hooks,
        )
        folder = folders.begin(self.site.store, order)
        kept = folders.read(folder.parent, folders.number_of(folder))
        with folders.held(folder) as journal:
            journal.write(
                [
                    Event(2.0, word="begun"),
                    *(Event(2.0, node=name, state=self.begun) for name in names),
                    *(Event(3.0, node=name, state=self.states[name]) for name in names),  # type: ignore[arg-type]
                    Event(4.0, word="ended"),
                ]
            )
        return folders.read(folder.parent, kept.order.number)

    def plan(self, kept: folders.Kept, nodes: str = "") -> Planned:
        return plan_back(open_rollouts(NAME, self.site), kept, nodes)

    def change(self, osd: str, **what: object) -> None:
        with state.changing(str(self.project.head)) as now:
            now["osds"][osd].update(what)


@pytest.fixture
def rolled(site: Cluster, monkeypatch: pytest.MonkeyPatch) -> Rolled:
    return Rolled(site, monkeypatch)


def told(found: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(each.severity, f"{each.where}: {each.what}") for each in found]


def test_a_healthy_cluster_can_go_back(rolled: Rolled) -> None:
    planned = rolled.plan(rolled.rollout(*NAMES))
    assert planned.errors == ()
    assert set(planned.order.wanted.values()) == {OLD}


def test_a_plan_tells_of_another_rollout_that_has_nodes_away(rolled: Rolled) -> None:
    order = rolled.rollout("node002").order
    folder = folders.begin(rolled.site.store, order)
    with folders.held(folder) as journal:
        journal.write([Event(2.0, word="begun"), Event(2.0, node="node002", state="preparing")])
    put_status(rolled.project.head, "node002", "DOWN")
    planned = plan(open_rollouts(NAME, rolled.site), Wishes("node003", (f"{IMAGE}@2",)))
    what = (
        f"rollout 2 of {NAME} is not at its end, nobody runs it, and it has node002 away, within the limits"
    )
    assert ("warning", f"{folder}: {what}") in told(planned.findings)
    assert not any("its turn could never come" in each.what for each in planned.findings)
    assert planned.order.unavailable == ()


def test_osds_that_came_since_are_seen_and_their_hosts_go_one_at_a_time(rolled: Rolled) -> None:
    kept = rolled.rollout(*NAMES)
    assert not any(node.osds for node in kept.order.nodes)
    rolled.change("1", bucket="node002-ssd")
    order = rolled.plan(msgspec.structs.replace(kept, order=_wide(kept.order))).order
    assert {node.name: node.osds for node in order.nodes} == {
        "node001": (),
        "node002": (0, 1),
        "node003": (2, 3),
    }
    assert all(len({"node002", "node003"} & set(batch)) < 2 for batch in order.batches)
    assert order.hooks == ("ceph", "nova")


def _wide(order: Order) -> Order:
    return msgspec.structs.replace(order, policy=msgspec.structs.replace(order.policy, max_unavailable=3))


def test_everything_that_stands_in_the_way_is_told_at_once(rolled: Rolled) -> None:
    rolled.hooks = ("ceph",)
    kept = rolled.rollout(*NAMES)
    layout = rolled.project.write(
        "layout.xml", "<diskSetup><device><blockdev>/dev/sdb</blockdev></device></diskSetup>"
    )
    rolled.project.cmsh(f"category\nuse {COMPUTE}\nset disksetup {layout}\ncommit\n")
    rolled.project.cmsh("device\nuse node002\nset datanode yes\ncommit\nhome\n")
    rolled.project.cmsh(f"softwareimage\nuse {OLD}\nset locked yes\ncommit\nhome\n")
    put_status(rolled.project.head, "node003", "CLOSED")
    directory(rolled.site, IMAGE, 1).rename(rolled.site.images / "elsewhere")
    folder = folders.begin(rolled.site.store, msgspec.structs.replace(kept.order, nodes=kept.order.nodes[:1]))
    found = told(rolled.plan(kept).findings)
    expected = [
        "node002: an install would wipe /dev/sdb, the disk of osd.0",
        "node002: datanode is set",
        f"{OLD}: the image {OLD} is locked: installs from it wait",
        "node003: it is closed",
        f"{OLD}: the directory {directory(rolled.site, IMAGE, 1)} is gone",
        f"{folder}: node001: rollout 2 of {NAME}, to which they belong, has not come to its end",
    ]
    assert [each for each in expected if not any(what.startswith(each) for _, what in found)] == [], found
    assert {severity for severity, what in found if what.startswith(tuple(expected))} == {"error"}


def test_nodes_that_are_down_and_a_changed_directory_keep_nobody(rolled: Rolled) -> None:
    kept = rolled.rollout(*NAMES)
    put_status(rolled.project.head, "node001", "DOWN")
    put_status(rolled.project.head, "node002", "INSTALLER_FAILED")
    (directory(rolled.site, IMAGE, 1) / "motd").write_text("by hand")
    planned = rolled.plan(kept)
    assert planned.errors == ()
    words = ("node001: it is down: it is rebooted by its power", "installer, which failed", "/motd")
    assert [word for word in words if not any(word in what for _, what in told(planned.findings))] == []


def test_a_rollout_leads_away_from_a_version_whose_directory_is_gone(rolled: Rolled) -> None:
    for category in (COMPUTE, CATEGORIES["node001"]):
        rolled.project.cmsh(f"category\nuse {category}\nset softwareimage {OLD}\ncommit\n")
        rolled_images.note(rolled.site.store, NAME, category, IMAGE, OLD)
    gone = directory(rolled.site, IMAGE, 1)
    gone.rename(rolled.site.images / "elsewhere")
    for nodes, others in (("", []), ("node002", [f"category/{CATEGORIES['node001']}"])):
        found = plan(open_rollouts(NAME, rolled.site), Wishes(nodes, (f"{IMAGE}@2",))).findings
        warned = ("warning", f"{OLD}: nodes could not be taken back to {OLD}: its directory is gone")
        assert warned in told(found)
        refused = [each for each in found if "this version is not published" in each.what]
        assert [each.what.partition(":")[0] for each in refused] == others
        assert [each.command for each in refused] == [f"pipeline publish {IMAGE}@1"] * len(others)


def test_a_link_that_leads_to_the_new_version_is_no_way_back(rolled: Rolled) -> None:
    kept = rolled.rollout("node002")
    link = str(rolled.site.images / IMAGE)
    order = msgspec.structs.replace(
        kept.order,
        nodes=(Node("node002", COMPUTE, IMAGE),),
        targets={**kept.order.targets, IMAGE: Target(IMAGE, path=link)},
    )
    rolled.project.cmsh(f"softwareimage\nuse {IMAGE}\nset path {link}\ncommit\n")
    (error,) = rolled.plan(msgspec.structs.replace(kept, order=order)).errors
    assert error.what.startswith(f"{link} points to {IMAGE}@2 by now")
    assert error.command == f"pipeline rollback {IMAGE}"
    linked = msgspec.structs.replace(order, linked={IMAGE: OLD})
    planned = rolled.plan(msgspec.structs.replace(kept, order=linked))
    assert planned.errors == () and planned.order.wanted == {"node002": OLD}


def test_an_unfinished_rollout_does_not_stand_in_its_own_way(rolled: Rolled) -> None:
    kept = rolled.rollout(*NAMES)
    assert rolled.plan(kept).errors == ()
    journal = kept.folder / folders.JOURNAL
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    again = folders.read(kept.folder.parent, kept.order.number)
    assert again.is_unfinished and rolled.plan(again).errors == ()


def test_who_came_into_another_category_is_told_before_the_run_refuses_it(rolled: Rolled) -> None:
    kept = rolled.rollout(*NAMES)
    rolled.project.cmsh("device\nuse node003\nset category default\ncommit\nhome\n")
    (error,) = rolled.plan(kept).errors
    assert (error.where, error.what) == ("node003", f"it is in the category default by now, not in {COMPUTE}")
    assert "--nodes" in error.hint
    assert rolled.plan(kept, "node[001-002]").errors == ()


def test_who_was_never_rebooted_is_only_set_back_and_the_plan_says_so(rolled: Rolled) -> None:
    rolled.begun = "preparing"
    rolled.states = dict.fromkeys(NAMES, "failed")
    rolled.hooks = ("nova",)
    kept = rolled.rollout("node002", "node003")
    rolled.project.cmsh("device\nuse node003\nset datanode yes\ncommit\nhome\n")
    directory(rolled.site, IMAGE, 1).rename(rolled.site.images / "elsewhere")
    planned = rolled.plan(kept)
    assert planned.errors == () and planned.order.not_rebooted == ("node002", "node003")
    whats = [each.what for each in planned.findings]
    assert not any("FULL wipes" in what for what in whats)
    assert any("only its image setting and what hooks did are undone" in what for what in whats)
    steps = planned.steps["node002"]
    assert steps[0] == f"softwareimage {OLD}, as before; no reboot"
    assert steps[1:] and all("after: " in step for step in steps[1:])


@pytest.mark.parametrize("last", ["failed", "released"])
def test_a_command_that_the_file_has_no_more_is_missed_when_it_may_have_begun_something(
    rolled: Rolled, last: str
) -> None:
    rolled.hooks = ("tell",)
    rolled.states["node003"] = last
    planned = rolled.plan(rolled.rollout(*NAMES))
    whats = [each.what for each in planned.errors]
    assert len(whats) == (last == "failed")
    assert ("tell" in planned.order.hooks) == (last == "failed")
    assert all(
        'begun with the hook "tell", and the cluster file has no [[rollout.command]]' in w for w in whats
    )


def test_what_the_directory_of_the_head_node_is_for_programs_is_used(rolled: Rolled) -> None:
    kept = rolled.rollout("node001")
    seen = rolled.project.head / "root" / str(rolled.site.images).lstrip("/")
    Path(seen).unlink()
    (error,) = rolled.plan(kept).errors
    assert error.what.endswith("is gone, from which nodes would be installed")
    assert error.command == f"pipeline publish {IMAGE}@1"


def test_who_is_back_already_is_refused_by_number_too(
    rolled: Rolled, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = rolled.rollout(*NAMES)
    nodes = node_manager(rolled.site)
    nodes.point(NAMES, OLD, "FULL")
    nodes.reboot(NAMES)
    assert rolled.plan(kept).order.not_rebooted == (), "others have rebooted them: nothing proves it"
    folder = folders.begin(rolled.site.store, rolled.plan(kept).order)
    with folders.held(folder) as journal:
        states: tuple[State, ...] = ("rebooting", "provisioned", "released")
        each = [Event(5.0, node=name, state=state, image=OLD) for name in NAMES[:2] for state in states]
        journal.write([Event(5.0, word="begun"), *each, Event(6.0, word="ended")])
    planned = rolled.plan(kept)
    assert planned.errors == () and set(planned.order.not_rebooted) == set(NAMES[:2])
    back = "node[001-002]: back already, by rollout 2: not installed again"
    assert ("warning", back) in told(planned.findings)
    assert not any("only its image setting" in each.what for each in planned.findings)
    assert main(["rollout", "rollback", NAME, "--number", "1", "--nodes", "node001", "--yes"]) == 2
    assert "node001: taken back already from rollout 1, by rollout 2" in capsys.readouterr().err
