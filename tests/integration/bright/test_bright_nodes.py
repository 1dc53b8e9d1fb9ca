"""Nodes are told what to install and rebooted, whatever the manual leaves unknown."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pipeline.cluster.drivers.bright import imagemaking
from pipeline.cluster.drivers.bright.nodes import BrightNodes
from pipeline.cluster.drivers.nodes import NodeManager, begun_at
from pipeline.cluster.head import Ran
from pipeline.cluster.opening import node_manager
from pipeline.errors import MachineError, PipelineError, UsageError
from pipeline.lab.head import power, state
from pipeline.lab.head.switches import Switches, write_switches
from pipeline.recipe.model import HeadSite, Site
from tests.integration.bright.changed_answers import Send, nodes_with
from tests.integration.bright_head import COMPUTE, LabHead, some_switches

NODES = ("node001", "node002", "node003")
NEW = "openstack-image-2"
PATH = f"/cm/images/{NEW}"


def nodes_of(lab: LabHead) -> NodeManager:
    """Somebody who has seen nothing yet."""
    return BrightNodes(lab.head)


def published(lab: LabHead) -> None:
    """Have the directory of a version."""
    (lab.directory / f"root{PATH}/etc").mkdir(parents=True)
    (lab.directory / f"root{PATH}/etc/version").write_text("2\n")


@some_switches(0, 7)
def test_a_node_is_pointed_rebooted_proved_and_put_back(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    published(lab)
    nodes = nodes_of(lab)
    nodes.make_image(NEW, "openstack-image", PATH, ("iommu=pt",))
    assert nodes.synced(NODES) == {}
    nodes.point(NODES, NEW, "FULL")
    facts = nodes.survey().nodes
    assert {(facts[node].image, facts[node].own_image) for node in NODES} == {(NEW, NEW)}
    assert {facts[node].next_install_mode for node in NODES} == {"FULL"}
    nodes.reboot(NODES[:2])
    after = nodes.synced(NODES)
    assert all(after[node].is_good and after[node].image == NEW for node in NODES[:2])
    assert {after[node].mode for node in NODES[:2]} == {"" if switches.syncinfo == "short" else "FULL"}
    assert all(after[node].ended > 0 for node in NODES[:2])
    assert "node003" not in after
    nodes.switch(COMPUTE, NEW)
    nodes.point(NODES, "", "")
    facts = nodes.survey().nodes
    assert [facts[node].image for node in NODES] == ["openstack-image", NEW, NEW]
    assert {facts[node].own_image for node in NODES} == {facts["node003"].next_install_mode} == {""}


@some_switches(1, 7)
def test_the_survey_has_all_that_a_rollout_asks_for(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    layout = tmp_path / "layout.xml"
    layout.write_text("<diskSetup>\n  <device/>\n</diskSetup>\n")
    lab.type(
        "device use node002; set rack r2; set datanode yes; roles; assign cephosd; commit",
        "home; device use node003; roles; assign provisioning; commit",
        f"category use {COMPUTE}; set disksetup {layout}; set installmode NOSYNC; commit",
        f"device use node001; set disksetup {layout}; commit",
        "softwareimage lock openstack-image",
    )
    found = nodes_of(lab).survey()
    two = found.nodes["node002"]
    assert (two.category, two.rack, two.is_data_node, two.install_mode) == (COMPUTE, "r2", True, "NOSYNC")
    assert (two.image, two.own_image, two.status.condition) == ("openstack-image", "", "up")
    assert set(two.roles) == {"cephosd", "openstackcompute", "openstacknode"}
    assert not found.nodes["node001"].is_data_node
    assert found.nodes["vnode001"].is_virtual and found.nodes["vnode001"].status.condition == "down"
    assert "masterdoop" not in found.nodes
    assert found.provisioners == ("node003",)
    assert found.images["openstack-image"].is_locked and not found.images["default-image"].is_locked
    assert found.images["openstack-image"].path == "/cm/images/openstack-image"
    assert "<device/>" in found.categories[COMPUTE].disk_setup
    assert found.categories["default"].disk_setup == ""
    assert "<device/>" in found.nodes["node001"].disk_setup
    assert {found.nodes[name].disk_setup for name in ("node002", "node003", "vnode001")} == {""}


def test_a_release_whose_nodes_have_no_layouts_tells_those_of_categories(tmp_path: Path) -> None:
    for wording in ("plain", "error", "quoted"):
        for stream in ("stdout", "stderr"):
            switches = Switches(failure_code=0, error_stream=stream, wording=wording, release="old")
            lab = LabHead(tmp_path / f"{wording}-{stream}", switches)

            def change(send: Send, asked: str) -> Ran:
                return send(asked.replace("get hostname; get disksetup", "get hostname; get nolayout"))

            found = nodes_with(lab.head, change).survey()
            assert found.nodes["node001"].disk_setup == ""


@some_switches(2, 7)
def test_what_a_node_shows_is_a_condition(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    shown: dict[power.StateWord, str] = {
        "UP": "up",
        "DOWN": "down",
        "BOOTING": "booting",
        "INSTALLER_REBOOTING": "booting",
        "INSTALLING": "installing",
        "INSTALLER_CALLINGINIT": "starting",
        "INSTALLER_FAILED": "failed",
        "INSTALLER_UNREACHABLE": "down",
        "CLOSED": "closed",
        "OPENING": "closed",
    }
    for word, condition in shown.items():
        power.put_status(lab.directory, "node001", word, "waiting for FULL provisioning to start", ["odd"])
        found = nodes_of(lab).statuses(["node001", "nobody"])
        assert found["node001"].condition == condition
        assert "waiting for FULL provisioning to start" in found["node001"].text
        assert found["node001"].text.endswith("odd")
        assert found["nobody"].condition == "unknown"


@some_switches(3, 7)
def test_a_node_without_its_daemon_is_reset_and_one_without_power_is_switched_on(
    tmp_path: Path, switches: Switches
) -> None:
    lab = LabHead(tmp_path, switches)
    lab.type("device power -n node002 off")
    power.put_status(lab.directory, "node003", "INSTALLER_FAILED")
    nodes_of(lab).reboot(NODES)
    done = [one["action"] for one in state.records(str(tmp_path))]
    assert done == ["power off", "reboot", "power reset", "power on"]
    assert power.requests(lab.directory) == dict.fromkeys(NODES, 1)


@some_switches(4, 7)
def test_a_node_that_is_refused_keeps_none_of_the_others_back(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    lab.type("device use node001; set powercontrol none; commit")
    power.put_status(lab.directory, "node001", "DOWN")
    with pytest.raises(PipelineError) as caught:
        nodes_of(lab).reboot(NODES)
    assert [problem.where for problem in caught.value.problems] == ["node001"]
    assert "no power control" in str(caught.value)
    assert set(power.requests(lab.directory)) == {"node002", "node003"}
    with pytest.raises(PipelineError) as caught:
        nodes_of(lab).point(["node001", "gone", "node002"], "openstack-image", "FULL")
    assert [problem.where for problem in caught.value.problems] == ["gone"]
    assert nodes_of(lab).survey().nodes["node002"].next_install_mode == "FULL"


@some_switches(5, 7)
def test_an_image_that_is_none_is_refused_for_every_node(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    with pytest.raises(PipelineError) as caught:
        nodes_of(lab).point(NODES, "no-such-image", "FULL")
    assert [problem.where for problem in caught.value.problems] == list(NODES)
    assert "no-such-image" in str(caught.value)
    assert not any(one.own_image for one in nodes_of(lab).survey().nodes.values())


@some_switches(6, 7)
def test_a_virtual_node_is_ended_and_started_anew(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    nodes = nodes_of(lab)
    pair = ("vnode001", "vnode002")
    assert nodes.instances(pair) == {"vnode001": "", "vnode002": ""}
    nodes.power_on(pair)
    first = nodes.instances(pair)
    assert all(first.values()) and nodes.statuses(pair)["vnode001"].condition == "up"
    nodes.terminate(["vnode001", "vnode003"])
    assert nodes.instances(pair) == {"vnode001": "", "vnode002": first["vnode002"]}
    assert nodes.statuses(pair)["vnode001"].condition == "down"
    nodes.power_on(["vnode001"])
    assert nodes.instances(pair)["vnode001"] not in ("", first["vnode001"])


@pytest.mark.parametrize("copying_over", [False, True])
def test_a_published_directory_stays_as_it_is_when_its_image_is_made(
    tmp_path: Path, copying_over: bool
) -> None:
    lab = LabHead(tmp_path)
    lab.faults(copying_over=copying_over)
    published(lab)
    for _ in range(2):
        nodes_of(lab).make_image(NEW, "openstack-image", PATH, ("iommu=pt", "nonm"))
    tree = lab.directory / f"root{PATH}"
    assert [path.name for path in tree.rglob("*")] == ["etc", "version"]
    assert not list(tree.parent.glob(".*"))
    one = lab.snapshot()["objects"]["softwareimage"][NEW]
    assert one["path"] == PATH and one["kernelversion"]
    assert one["kernelparameters"].split().count("nonm") == 1
    assert one["kernelparameters"].endswith(" iommu=pt")
    lab.type("category set default softwareimage default-image")


@pytest.mark.parametrize("commits", [1, 2])
def test_an_image_that_was_half_made_is_finished(tmp_path: Path, commits: int) -> None:
    lab = LabHead(tmp_path)
    published(lab)
    lab.faults(die_after_commits=commits)
    with pytest.raises(PipelineError):
        nodes_of(lab).make_image(NEW, "openstack-image", PATH, ("iommu=pt",))
    assert (lab.snapshot()["objects"]["softwareimage"][NEW]["path"] == PATH) == (commits == 2)
    lab.faults()
    nodes_of(lab).make_image(NEW, "openstack-image", PATH, ("iommu=pt",))
    assert lab.snapshot()["objects"]["softwareimage"][NEW]["path"] == PATH
    assert [one["action"] for one in state.records(str(tmp_path))] == ["createramdisk"]
    assert not list((lab.directory / "root/cm/images").glob(".*"))


@pytest.mark.parametrize("others", ["have made it", "are copying it"])
def test_an_image_that_others_make_at_the_same_time_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    lab = LabHead(tmp_path, Switches(copy_seconds=0.3))
    published(lab)
    monkeypatch.setattr(imagemaking, "OTHERS_SECONDS", 0.0)
    monkeypatch.setattr(imagemaking, "PAUSE", 0.05)
    begun: list[str] = []

    def first(send: Send, text: str) -> Ran:
        """Others are quicker, after it was looked whether there is one."""
        if f"clone openstack-image {NEW}" in text and not begun:
            begun.append(text)
            if others == "have made it":
                nodes_of(lab).make_image(NEW, "openstack-image", PATH, ("iommu=pt",))
            else:
                scratch = begun_at(NEW, PATH)
                lab.type(f"softwareimage; clone openstack-image {NEW}; set path {scratch}; commit")
        return send(text)

    nodes_with(lab.head, first).make_image(NEW, "openstack-image", PATH, ("iommu=pt",))
    assert begun and not lab.snapshot()["copying"]
    assert lab.snapshot()["objects"]["softwareimage"][NEW]["path"] == PATH
    assert [one["action"] for one in state.records(str(tmp_path))] == ["createramdisk"]
    images = lab.directory / "root/cm/images"
    assert not list(images.glob(".*")) and [path.name for path in (images / NEW).rglob("*")] == [
        "etc",
        "version",
    ]


@pytest.mark.parametrize("commits", [1, 2])
def test_an_image_that_was_begun_is_dropped_or_ended_when_it_has_its_path(
    tmp_path: Path, commits: int
) -> None:
    lab = LabHead(tmp_path)
    published(lab)
    before = lab.snapshot()
    lab.faults(die_after_commits=commits)
    with pytest.raises(PipelineError):
        nodes_of(lab).make_image(NEW, "openstack-image", PATH, ())
    lab.faults()
    nodes_of(lab).drop_begun(NEW, PATH)
    if commits == 2:
        assert [one["action"] for one in state.records(str(tmp_path))] == ["createramdisk"]
        lab.type(f"softwareimage remove {NEW}; commit")
    assert lab.snapshot() == before


def test_an_image_that_can_not_be_dropped_stays_whole_and_is_told(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(copy_seconds=600))
    published(lab)
    scratch = begun_at(NEW, PATH)
    lab.type(f"softwareimage; clone openstack-image {NEW}; set path {scratch}; commit")
    with pytest.raises(PipelineError, match="still being copied to"):
        nodes_of(lab).drop_begun(NEW, PATH)
    write_switches(str(tmp_path), Switches())
    state.wait(str(tmp_path))
    lab.type(f"category set default softwareimage {NEW}; commit")
    with pytest.raises(PipelineError, match=r"could not be removed: .*is used by"):
        nodes_of(lab).drop_begun(NEW, PATH)
    assert (lab.directory / f"root{scratch}/etc").is_dir()


@pytest.mark.parametrize(
    ("name", "source", "path", "said"),
    [
        (NEW, "nothing", PATH, "nothing is not there"),
        (NEW, "openstack-image", "/cm/images/nowhere", "publish the version first"),
        ("default-image", "openstack-image", PATH, "there is an image of this name at /cm/images/default-im"),
        ("a b", "openstack-image", PATH, "is no name that cmsh takes"),
        (NEW, "openstack-image", '/x"; quit', "could be taken for a command"),
    ],
)
def test_an_image_that_can_not_be_made_is_told(
    tmp_path: Path, name: str, source: str, path: str, said: str
) -> None:
    lab = LabHead(tmp_path)
    published(lab)
    before = lab.snapshot()
    with pytest.raises(PipelineError, match=said):
        nodes_of(lab).make_image(name, source, path, ())
    assert lab.snapshot() == before


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    nodes = nodes_of(lab)
    nodes.point(NODES, "default-image", "FULL")
    before = len(lab.calls())
    nodes.point(NODES, "default-image", "FULL")
    assert len(lab.calls()) == before + 1
    assert "set" not in lab.calls()[-1]["text"]
    nodes.point(["node001"], "default-image", "AUTO")
    assert "softwareimage " not in lab.calls()[-2]["text"]


@pytest.mark.parametrize("fault", [{"unreachable": True}, {"die_after_commits": 1}])
def test_a_head_node_that_goes_is_no_matter_of_nodes(tmp_path: Path, fault: dict[str, object]) -> None:
    lab = LabHead(tmp_path)
    lab.faults(**fault)
    with pytest.raises(MachineError):
        nodes_of(lab).point(NODES, "default-image", "FULL")


@pytest.mark.parametrize("switches", [Switches(), Switches(release="old", json="illegal")])
def test_a_release_without_a_next_install_mode_is_told(tmp_path: Path, switches: Switches) -> None:
    lab = LabHead(tmp_path, switches)
    lab.faults(unknown_properties=("nextinstallmode", "nextinstallmethod"))
    with pytest.raises(PipelineError, match="knows neither nextinstallmode nor nextinstallmethod"):
        nodes_of(lab).survey()


def test_an_answer_that_is_cut_short_is_no_answer(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    nodes_of(lab).reboot(NODES)
    cmsh = lab.directory / "bin/cmsh"
    for lines in range(1, 8):
        cmsh.rename(cmsh.with_name("whole"))
        cmsh.write_text(f'#!/bin/sh\n"${{0%/*}}/whole" "$@" | head -n {lines}\n')
        cmsh.chmod(0o755)
        for ask in (nodes_of(lab).synced, nodes_of(lab).statuses):
            with pytest.raises(MachineError, match="only in part"):
                ask(NODES)
        cmsh.with_name("whole").replace(cmsh)


def test_the_manager_of_nodes_is_that_of_the_site(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    where = HeadSite(root=lab.head.root, programs=lab.head.programs)
    site = Site(tmp_path / "pipeline.toml", tmp_path, tmp_path, tmp_path, head=where)
    assert node_manager(site).statuses(["node001"])["node001"].condition == "up"
    other = msgspec.structs.replace(site, head=HeadSite(manager="warewulf"))
    with pytest.raises(UsageError, match=r"needs manager = .bright."):
        node_manager(other)


def test_provisioners_are_told_of_a_changed_directory(tmp_path: Path) -> None:
    lab = LabHead(tmp_path)
    nodes_of(lab).update_provisioners("openstack-image")
    assert [one["action"] for one in state.records(str(tmp_path))] == ["updateprovisioners"]
    with pytest.raises(PipelineError, match="no-such"):
        nodes_of(lab).update_provisioners("no-such")


def test_time_goes_by_while_a_node_is_installed(tmp_path: Path) -> None:
    lab = LabHead(tmp_path, Switches(boot_seconds=3600))
    nodes = nodes_of(lab)
    nodes.point(["node001"], "default-image", "FULL")
    nodes.reboot(["node001"])
    assert nodes.statuses(["node001"])["node001"].condition == "booting"
    write_switches(str(tmp_path), Switches(install_seconds=3600))
    assert nodes.statuses(["node001"])["node001"].condition == "installing"
    assert nodes.synced(["node001"]) == {}
    write_switches(str(tmp_path), Switches())
    assert nodes.statuses(["node001"])["node001"].condition == "up"
    assert nodes.synced(["node001"])["node001"].image == "default-image"
