"""What is applied to Warewulf is there, once, in few calls, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from warewulf_server import Server

from pipeline.cluster.apply import apply, look
from pipeline.cluster.drivers.warewulf.wwctl import Wwctl
from pipeline.cluster.head import Ran
from pipeline.cluster.keepers import Keepers
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import Ref, Wanted
from pipeline.errors import PipelineError
from pipeline.lab.warewulf import registry, start

RELEASES: list[dict[str, Any]] = [
    {},
    {"keys": "go"},
    {"log": "stdout", "add_yes": False},
    {"keys": "go", "log": "stdout"},
]


def edited(server: Server) -> registry.Registry:
    """nodes.conf, to be changed as somebody else would."""
    return registry.Registry(server.home)


@pytest.mark.parametrize("switches", RELEASES, ids=["spaced", "go", "no-yes", "go-stdout"])
def test_what_is_applied_is_read_back_and_a_second_plan_is_empty(
    server: Server, switches: dict[str, Any]
) -> None:
    start.switch(server.home, **switches)
    other = edited(server)
    other.nodes["node001"]["profiles"] = ["default", "gone", "openstack-network-nodes"]  # warned about
    other.save()
    assert len(server.plan(server.wanted())) == 7
    server.apply(server.wanted())
    assert server.plan(server.wanted()) == ()
    there = server.state(server.wanted()).objects
    assert there[Ref("image", "web")]["kernel_parameters"] == ("iommu=pt", "pci=realloc")
    assert there[Ref("category", "hosts-web")] == {"image": "web"}
    assert there[Ref("node", "node003")] == {"category": "hosts-web"}


def test_exactly_this_is_changed(server: Server) -> None:
    before = registry.snapshot(server.home)
    server.apply(server.wanted())
    after = registry.snapshot(server.home)
    hosts = before["profiles"]["openstack-compute-hosts"]
    before["profiles"]["hosts-web"] = {
        **hosts,
        "image name": "web-3",
        "kernel": {"args": ["biosdevname=0", "console=ttyS0,115200", "iommu=pt", "pci=realloc"]},
    }
    before["profiles"]["openstack-network-nodes"] |= {
        "image name": "web-3",
        "kernel": {"args": ["iommu=pt", "pci=realloc"]},
    }
    for node in ("node002", "node003"):
        before["nodes"][node]["profiles"] = ["default", "hosts-web"]
    for node in ("node001", "node003"):
        before["nodes"][node]["network devices"]["ibnet"] = {
            "device": "ib0",
            "type": "infiniband",
            "onboot": "true",
        }
    before["images"]["web-3"] = True
    assert after == before
    assert (server.home / "overlays").read_text().split() == ["node001", "node002", "node003"]


def test_the_plan_and_apply_of_the_product_work_with_it(server: Server, tmp_path: Path) -> None:
    cluster = Cluster("web", "", tmp_path / "web.toml", {}, server.wanted())
    keepers = Keepers([server.driver])
    apply(cluster, keepers, tmp_path / "store")
    assert look(cluster, keepers, tmp_path / "store").changes == ()
    for version, kinds in ((4, ["image", "category", "category"]), (3, ["category", "category"])):
        server.publish(version)
        published = look(cluster, keepers, tmp_path / "store").changes
        assert [change.ref.kind for change in published] == kinds
        assert [change for change in published if change.drift] == [], "nobody did it by hand"
        apply(cluster, keepers, tmp_path / "store")
    other = edited(server)
    other.profiles["hosts-web"]["image name"] = "openstack-image"
    other.save()
    (drift,) = look(cluster, keepers, tmp_path / "store").changes
    assert (drift.ref, drift.drift) == (Ref("category", "hosts-web"), True)


class Killed(BaseException):
    """Nothing of the program is done after this."""


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "failed"])
def test_overlays_that_were_not_built_are_built_by_the_next_apply(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    cluster = Cluster("web", "", tmp_path / "web.toml", {}, server.wanted())
    keepers, store = Keepers([server.driver]), tmp_path / "store"

    def run(self: Wwctl, *argv: str, **options: Any) -> Ran:
        if killed and argv[0] == "overlay":
            raise Killed
        return really(self, *argv, **options)

    really = Wwctl.run
    if not killed:
        start.switch(server.home, fail_at=6)
    with monkeypatch.context() as patch, pytest.raises((Killed, PipelineError)) as raised:
        patch.setattr(Wwctl, "run", run)
        apply(cluster, keepers, store)
    if isinstance(raised.value, PipelineError):
        said = [(problem.where, problem.message) for problem in raised.value.problems[1:]]
        left = [(f"node/node{number:03}", "its overlays are not built") for number in (1, 2, 3)]
        assert said == [*left, (None, "7 of 10 changes are made")]
    planned = look(cluster, keepers, store).changes
    assert [(change.ref.name, change.action) for change in planned] == [
        (name, "build") for name in ("node001", "node002", "node003")
    ]
    before = len(server.calls())
    apply(cluster, keepers, store)
    assert server.calls()[before:] == [["overlay", "build", "--", "node[001-003]"]]
    assert look(cluster, keepers, store).changes == ()


def test_a_new_version_is_a_new_image_and_the_old_one_stays(server: Server) -> None:
    server.apply(server.wanted())
    server.publish(4)
    assert [change.ref.kind for change in server.plan(server.wanted())] == ["image", "category", "category"]
    server.apply(server.wanted())
    after = registry.snapshot(server.home)
    assert after["images"] == {"openstack-image": True, "web-3": True, "web-4": True}
    assert after["profiles"]["hosts-web"]["image name"] == "web-4"
    assert after["profiles"]["hosts-web"]["kernel"]["args"][-2:] == ["iommu=pt", "pci=realloc"]
    server.publish(3)
    assert [change.ref.kind for change in server.plan(server.wanted())] == ["category", "category"]
    server.apply(server.wanted())
    assert [call[:2] for call in server.calls()].count(["image", "import"]) == 2


def test_a_category_that_gets_an_image_gets_its_kernel_parameters(server: Server) -> None:
    server.apply(server.wanted())
    more = (
        *server.wanted(),
        Wanted(Ref("category", "openstack-compute-hosts"), {"image": "web"}, make=False),
    )
    assert [change.ref.name for change in server.plan(more)] == ["openstack-compute-hosts"]
    server.apply(more)
    args = registry.snapshot(server.home)["profiles"]["openstack-compute-hosts"]["kernel"]["args"]
    assert args == ["biosdevname=0", "console=ttyS0,115200", "iommu=pt", "pci=realloc"]
    assert server.plan(more) == ()


def test_an_image_that_no_profile_has_is_not_asked_for_its_parameters(server: Server) -> None:
    image = server.wanted()[:1]
    server.apply(image)
    assert server.plan(image) == ()


def test_a_parameter_that_one_profile_lost_comes_back_there(server: Server) -> None:
    server.apply(server.wanted())
    other = edited(server)
    other.profiles["hosts-web"]["kernel"]["args"].remove("iommu=pt")
    other.save()
    assert [change.ref for change in server.plan(server.wanted())] == [Ref("image", "web")]
    before = len(server.calls())
    server.apply(server.wanted())
    assert server.plan(server.wanted()) == ()
    (call,) = server.calls()[before:]
    assert (call[:2], call[-1]) == (["profile", "set"], "hosts-web")


def test_parameters_that_the_file_no_longer_has_are_taken_back(server: Server, tmp_path: Path) -> None:
    keepers, store = Keepers([server.driver]), tmp_path / "store"
    start.switch(server.home, keys="go")

    def applied(*more: str, named: bool = True) -> dict[str, Any]:
        appended = {"kernel_parameters": more} if more else {}
        image = msgspec.structs.replace(server.wanted()[0], append=appended)
        wanted = (image, *server.wanted()[1:]) if named else server.wanted()[3:]
        cluster = Cluster("web", "", tmp_path / "web.toml", {}, wanted)
        apply(cluster, keepers, store)
        assert look(cluster, keepers, store).changes == ()
        profiles = registry.snapshot(server.home)["profiles"]
        return {name: profile.get("kernel", {}).get("args") for name, profile in profiles.items()}

    applied("iommu=pt", "pci=realloc")
    args = applied("iommu=pt")
    assert args["hosts-web"] == ["biosdevname=0", "console=ttyS0,115200", "iommu=pt"]
    assert args["openstack-network-nodes"] == ["iommu=pt"]
    args = applied()
    assert args["hosts-web"] == ["biosdevname=0", "console=ttyS0,115200"]
    assert args["openstack-network-nodes"] is None
    assert args["openstack-compute-hosts"] == ["biosdevname=0", "console=ttyS0,115200"]
    assert applied("iommu=pt")["openstack-network-nodes"] == ["iommu=pt"]
    assert applied(named=False)["openstack-network-nodes"] is None


def test_other_profiles_of_a_node_stay(server: Server) -> None:
    other = edited(server)
    other.profiles["rack7"] = {"comment": "where it is"}
    other.nodes["node002"]["profiles"] = ["default", "rack7", "openstack-compute-hosts"]
    other.save()
    server.apply(server.wanted())
    assert registry.snapshot(server.home)["nodes"]["node002"]["profiles"] == ["default", "rack7", "hosts-web"]


def test_a_profile_that_the_file_does_not_know_is_no_category_and_stays(server: Server) -> None:
    server.apply(server.wanted())
    other = edited(server)
    other.profiles["gpu"] = {"kernel": {"args": ["nouveau.blacklist=1"]}}
    other.nodes["node003"]["profiles"] = ["default", "hosts-web", "gpu"]
    other.nodes["node002"]["profiles"] = ["default", "gpu"]
    other.save()
    (change,) = server.plan(server.wanted())
    assert (change.ref.name, change.assignments[0].old) == ("node002", None)
    server.apply(server.wanted())
    assert server.plan(server.wanted()) == ()
    nodes = registry.snapshot(server.home)["nodes"]
    assert nodes["node002"]["profiles"] == ["default", "gpu", "hosts-web"]
    assert nodes["node003"]["profiles"] == ["default", "hosts-web", "gpu"]
    moved = [*server.wanted()[:3], server.member("node003", "openstack-network-nodes")]
    server.apply(moved)
    nodes = registry.snapshot(server.home)["nodes"]
    assert nodes["node003"]["profiles"] == ["default", "openstack-network-nodes", "gpu"]


@pytest.mark.parametrize("switches", RELEASES[:2], ids=["spaced", "go"])
def test_an_image_of_a_nodes_own_is_a_change_and_apply_takes_it_away(
    server: Server, switches: dict[str, Any]
) -> None:
    start.switch(server.home, **switches)
    server.apply(server.wanted())
    other = edited(server)
    other.nodes["node002"]["image name"] = "rescue"
    other.nodes["node001"]["image name"] = "rescue"  # the file says nothing of it
    other.save()
    (change,) = server.plan(server.wanted())
    assert change.ref == Ref("node", "node002")
    assert change.assignments[0].old == "hosts-web, but with the image rescue of its own"
    before = len(server.calls())
    server.apply(server.wanted())
    assert server.calls()[before] == ["node", "set", "--yes", "--image=UNDEF", "--", "node002"]
    nodes = registry.snapshot(server.home)["nodes"]
    assert "image name" not in nodes["node002"]
    assert nodes["node001"]["image name"] == "rescue"
    assert server.plan(server.wanted()) == ()


def test_a_node_whose_own_image_was_the_categorys_is_not_as_wanted_when_that_gets_another(
    server: Server, tmp_path: Path
) -> None:
    other = edited(server)
    own = other.profiles["openstack-compute-hosts"]["image name"]
    other.nodes["node002"]["image name"] = own
    other.save()
    compute = Wanted(Ref("category", "openstack-compute-hosts"), {"image": "web"}, make=False)
    wanted = (server.wanted()[0], compute, server.member("node002", "openstack-compute-hosts"))
    cluster = Cluster("web", "", tmp_path / "web.toml", {}, wanted)
    keepers = Keepers([server.driver])
    with pytest.raises(PipelineError) as raised:
        apply(cluster, keepers, tmp_path / "store")
    said = f"but with the image {own} of its own, wanted openstack-compute-hosts"
    assert said in raised.value.problems[0].message
    apply(cluster, keepers, tmp_path / "store")
    assert look(cluster, keepers, tmp_path / "store").changes == ()


def test_a_later_profile_with_another_image_goes_below_the_category(server: Server) -> None:
    server.apply(server.wanted())
    other = edited(server)
    other.profiles["rescue"] = {"image name": "openstack-image"}
    other.profiles["gpu"] = {"profiles": ["rescue"]}
    other.nodes["node002"]["profiles"] = ["default", "hosts-web", "gpu"]
    other.save()
    (change,) = server.plan(server.wanted())
    assert change.assignments[0].old == "hosts-web, but with the image openstack-image of the profile gpu"
    server.apply(server.wanted())
    assert registry.snapshot(server.home)["nodes"]["node002"]["profiles"] == ["default", "gpu", "hosts-web"]
    assert server.plan(server.wanted()) == ()


def test_a_node_with_an_image_of_its_own_gets_another_category_in_one_apply(server: Server) -> None:
    other = edited(server)
    other.nodes["node002"]["image name"] = "rescue"
    other.save()
    olds = [
        change.assignments[0].old
        for change in server.plan(server.wanted())
        if change.ref == Ref("node", "node002")
    ]
    assert olds == ["openstack-compute-hosts, but with the image rescue of its own"]
    server.apply(server.wanted())
    node = registry.snapshot(server.home)["nodes"]["node002"]
    assert (node["profiles"], "image name" in node) == (["default", "hosts-web"], False)
    assert server.plan(server.wanted()) == ()


def test_a_category_that_is_cloned_too_keeps_the_image_that_it_is_to_have(server: Server) -> None:
    other = edited(server)
    other.profiles["plain"] = {"comment": "without an image"}
    other.profiles["gpu"] = {"image name": "openstack-image"}
    other.nodes["node002"]["profiles"] = ["plain", "gpu"]
    other.save()
    plain = Wanted(Ref("category", "plain"), {"image": "web"}, make=False)
    clone = Wanted(Ref("category", "plainer"), source="plain")
    wanted = (server.wanted()[0], plain, clone, server.member("node002", "plain"))
    server.apply(wanted)
    assert registry.snapshot(server.home)["nodes"]["node002"]["profiles"] == ["gpu", "plain"]
    assert server.plan(wanted) == ()


def test_a_category_is_cloned_from_one_that_is_made_as_well(server: Server) -> None:
    first = Wanted(Ref("category", "first"), {"image": "web"}, source="openstack-compute-hosts")
    wanted = (server.wanted()[0], first, Wanted(Ref("category", "second"), source="first"))
    server.apply(wanted)
    profiles = registry.snapshot(server.home)["profiles"]
    assert profiles["second"] == profiles["first"]
    assert profiles["second"]["image name"] == "web-3"
    assert server.plan(wanted) == ()


def test_survey_leaves_out_the_category_of_a_node_with_an_image_of_its_own(server: Server) -> None:
    other = edited(server)
    other.nodes["node002"]["image name"] = "rescue"
    other.save()
    found = server.driver.survey()
    assert found.objects[Ref("node", "node002")] == {}
    assert any(note.startswith("node/node002 has the image rescue of its own") for note in found.notes)


def test_the_calls_do_not_grow_with_the_nodes(tmp_path: Path) -> None:
    numbers = []
    for nodes in (3, 300):
        start.make(tmp_path / str(nodes), nodes=nodes)
        server = Server(tmp_path / str(nodes))
        server.publish(3)
        names = [f"node{number:03}" for number in range(2, nodes + 1)]
        members = [server.member(name, "openstack-network-nodes") for name in names]
        server.apply([*members, *(server.interface(name) for name in names)])
        numbers.append(len(server.calls(reading=True)))
    assert numbers == [9, 9]


def test_an_import_that_built_nothing_is_made_anew(server: Server) -> None:
    stop = server.home / "build_fails"
    stop.touch()
    with pytest.raises(PipelineError, match="no space left on device"):
        server.apply(server.wanted())
    assert registry.snapshot(server.home)["images"]["web-3"] is False
    assert Ref("image", "web") not in server.state(server.wanted()).objects
    assert any("was not seen" in note for note in server.state(server.wanted()).notes)
    stop.unlink()
    server.apply(server.wanted())
    assert server.plan(server.wanted()) == ()
    assert [call[:3] for call in server.calls() if call[0] == "image"] == [
        ["image", "import", "--build"],
        ["image", "import", "--force"],
    ]


@pytest.mark.parametrize("number", range(1, 7))
def test_a_failure_says_what_was_done_and_the_next_plan_has_the_rest(server: Server, number: int) -> None:
    start.switch(server.home, fail_at=number)
    with pytest.raises(PipelineError) as raised:
        server.apply(server.wanted())
    (problem,) = raised.value.problems
    steps = {
        "web-3 imported": "image/web",
        "hosts-web made": "category/hosts-web",
        "image and kernelargs of openstack-network-nodes set": "category/openstack-network-nodes",
        "profiles of node[002-003] set": "node/node002, node/node003",
        "ib0 of node[001,003] set": "node/node001/interface/ib0, node/node003/interface/ib0",
        "overlays of node[001-003] built": "node/node002, node/node003, node/node001",
    }
    done = list(steps)[: number - 1]
    failed, where = list(steps.items())[number - 1]
    assert problem.where == where
    assert problem.message.startswith(f"{failed}: wwctl ")
    assert "input/output error" in problem.message
    assert problem.hint == (f"done before it: {', '.join(done)}" if done else "nothing was changed before it")
    overlays = "wwctl overlay build -- 'node[001-003]'"  # no plan would show that it is missing
    assert problem.command == (overlays if number == 6 else None)
    server.apply(server.wanted())
    assert server.plan(server.wanted()) == ()


@pytest.mark.parametrize("undone", [True, False])
def test_a_clone_is_whole_or_not_there(server: Server, undone: bool) -> None:
    other = edited(server)
    other.profiles["openstack-compute-hosts"]["network devices"]["second"] = {"device": "eth2"}
    other.save()
    before = registry.snapshot(server.home)
    interfering = {} if undone else {"3": ["profile", "delete", "--what"]}
    start.switch(server.home, fail_at=2, interfere_at=interfering)
    with pytest.raises(PipelineError) as raised:
        server.apply([Wanted(Ref("category", "hosts"), source="openstack-compute-hosts")])
    assert (registry.snapshot(server.home) == before) is undone
    assert len(raised.value.problems) == 1 + (not undone)
    if not undone:
        assert "category/hosts is there but incomplete" in raised.value.problems[1].message
        assert raised.value.problems[1].command == "wwctl profile delete --yes -- hosts"


def test_survey_has_everything_but_what_nodes_boot_from(server: Server) -> None:
    server.apply(server.wanted())
    found = server.driver.survey().objects
    assert {ref.name for ref in found if ref.kind == "image"} == {"openstack-image", "web-3"}
    assert found[Ref("category", "hosts-web")] == {"image": "web-3"}
    assert found[Ref("node", "node001")] == {"category": "openstack-network-nodes"}
    assert {str(ref) for ref in found if ref.kind == "interface"} == {
        "node/node001/interface/ib0",
        "node/node002/interface/eth1",
        "node/node003/interface/eth1",
        "node/node003/interface/ib0",
    }


def test_what_survey_says_asks_for_nothing_when_it_is_wanted(server: Server) -> None:
    server.apply(server.wanted())
    other = edited(server)
    other.nodes["node001"]["network devices"]["bonded"] = {"device": "bond0", "type": "Bond"}
    other.save()
    found = server.driver.survey()
    assert found.notes == ("node/node001/interface/bond0: a bond is left as it is in Warewulf",)
    wanted = [Wanted(ref, properties) for ref, properties in found.objects.items() if ref.kind != "network"]
    assert server.plan(wanted) == ()


def test_an_image_of_warewulf_itself_takes_its_parameters_along(server: Server) -> None:
    there = server.driver.survey().objects[Ref("image", "openstack-image")]
    assert there["kernel_parameters"] == ()  # what both profiles have
    more = {"kernel_parameters": ("iommu=pt",)}
    wanted = [
        Wanted(Ref("image", "openstack-image"), {"path": there["path"]}, more),
        Wanted(Ref("category", "default"), {"image": "openstack-image"}, make=False),
    ]
    server.apply(wanted)
    assert server.plan(wanted) == ()
    profiles = registry.snapshot(server.home)["profiles"]
    assert profiles["default"]["kernel"]["args"] == ["quiet", "crashkernel=no", "iommu=pt"]
    assert [call for call in server.calls() if call[0] == "image"] == []
    server.apply([*wanted, Wanted(Ref("category", "plain"), {"image": "openstack-image"})])
    assert registry.snapshot(server.home)["profiles"]["plain"]["kernel"] == {"args": ["iommu=pt"]}


def test_parameters_of_an_image_that_the_file_does_not_name_are_not_spread(server: Server) -> None:
    other = edited(server)
    other.profiles["openstack-network-nodes"]["kernel"] = {"args": ["console=ttyS0,115200"]}
    other.save()
    server.apply([Wanted(Ref("category", "plain"), {"image": "openstack-image"})])
    assert registry.snapshot(server.home)["profiles"]["plain"] == {"image name": "openstack-image"}
