"""From a cluster file and wishes to an order, with all that is wrong with them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.cluster.drivers.nodes import ImageFacts
from pipeline.cluster.objects import Ref, Wanted
from pipeline.cluster.rolling import Share
from pipeline.errors import UsageError
from pipeline.publish.record import Publication, remember
from pipeline.rollout.batches import arrange
from pipeline.rollout.model import Target
from pipeline.rollout.ordering import Draft, as_now
from tests.rollout_world import IMAGE, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def said(made: Draft) -> list[str]:
    return [finding.what for finding in made.findings]


def test_all_nodes_of_the_images_categories_go_to_the_version_asked_for(world: World) -> None:
    made = world.draft(f"{IMAGE}@1")
    order = made.order
    assert [node.name for node in order.nodes] == ["node001", "node002", "node003", "node004", "node009"]
    assert set(order.wanted.values()) == {f"{IMAGE}-1"}
    assert order.targets == {
        IMAGE: Target(IMAGE, "", 0, f"/cm/images/{IMAGE}"),
        f"{IMAGE}-1": Target(f"{IMAGE}-1", IMAGE, 1, f"/images/{IMAGE}-1", IMAGE, ("iommu=pt",)),
    }
    assert order.categories == {"compute": f"{IMAGE}-1", "network": f"{IMAGE}-1"}
    assert order.had == {"compute": IMAGE, "network": IMAGE}
    assert order.nodes[0].image == IMAGE
    assert (made.findings, made.others, order.batches) == ((), (), ())


def test_a_version_gets_the_parameters_that_the_file_appends_as_well(world: World) -> None:
    world.cluster = msgspec.structs.replace(world.cluster, appended={IMAGE: ("quiet", "iommu=pt")})
    made = world.draft(f"{IMAGE}@1")
    assert made.order.targets[f"{IMAGE}-1"].kernel_parameters == ("iommu=pt", "quiet")


def test_without_a_wish_it_is_what_is_published_and_else_the_newest_that_passed(world: World) -> None:
    assert world.draft().versions[f"{IMAGE}-2"].number == 2
    published = Publication(history=(1,), directories={1: "copy"})
    remember(world.store, IMAGE, published)
    assert list(world.draft().versions) == [f"{IMAGE}-1"]
    assert list(world.draft(IMAGE).versions) == [f"{IMAGE}-1"]


def test_an_image_that_a_rollout_made_is_known_as_its_version(world: World) -> None:
    world.has("node001", "compute", image=f"{IMAGE}-1")
    world.images[f"{IMAGE}-1"] = ImageFacts(f"{IMAGE}-1", f"/images/{IMAGE}-1")
    made = world.draft()
    assert made.order.targets[f"{IMAGE}-1"] == Target(
        f"{IMAGE}-1", IMAGE, 1, f"/images/{IMAGE}-1", IMAGE, ("iommu=pt",)
    )


def test_a_link_is_known_as_the_version_to_which_it_leads_by_then(world: World, tmp_path: Path) -> None:
    world.site = msgspec.structs.replace(world.site, images=tmp_path)
    world.images[IMAGE] = ImageFacts(IMAGE, f"{tmp_path}/{IMAGE}")
    world.cluster = msgspec.structs.replace(world.cluster, appended={IMAGE: ("quiet",)})
    (tmp_path / IMAGE).symlink_to(f"{IMAGE}-1")
    order = world.draft(f"{IMAGE}@2").order
    made = Target(f"{IMAGE}-1", IMAGE, 1, f"{tmp_path}/{IMAGE}-1", IMAGE, ("iommu=pt", "quiet"))
    assert order.linked == {IMAGE: made.name} and order.targets[made.name] == made
    assert order.back_to(IMAGE) == made.name and order.nodes[0].image == IMAGE
    (tmp_path / IMAGE).unlink()
    (tmp_path / IMAGE).mkdir()
    assert world.draft(f"{IMAGE}@2").order.linked == {}


def test_a_node_set_takes_some_and_leaves_their_category_as_it_is(world: World) -> None:
    made = world.draft(nodes="@first,node009")
    assert [node.name for node in made.order.nodes] == ["node001", "node002", "node009"]
    assert made.order.categories == {"network": f"{IMAGE}-2"}
    assert made.others == ("node003", "node004")


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ("node[1", '"node[1" is no node set: missing bracket: "node[1"'),
        ("@frist", '"@frist": no group "frist" (did you mean "first"?)'),
        ("node001!node001", '"node001!node001" has no nodes'),
        (" ", "the node set is empty"),
        ("node01", 'the cluster manager has no node01 (did you mean "node001"?)'),
        ("node[001,777-778]", "the cluster manager has no node[777-778]"),
        ("node[001,100]", "node100 is in the category login, which has default-image"),
    ],
)
def test_a_node_set_that_cannot_be_is_told(world: World, nodes: str, says: str) -> None:
    made = world.draft(nodes=nodes)
    assert said(made) == [says]
    assert made.findings[0].where == "--nodes"


def test_several_mistakes_are_told_at_once(world: World) -> None:
    world.rollout(canary=9, max_unavailable=Share(8), domains={"rack": Share(7)}, failure_budget=Share(5))
    made = world.draft(f"{IMAGE}@7", "compute-imag", f"{IMAGE}@1", f"{IMAGE}@2", nodes="node[004-005,100]")
    assert said(made) == [
        f"{IMAGE} has no version 7",
        'no category of the cluster file has the image "compute-imag" (did you mean "compute-image"?)',
        f"two versions of {IMAGE} at once: {IMAGE}@1, {IMAGE}@2",
        'the cluster manager has no node005 (did you mean "node100"?)',
        "node100 is in the category login, which has default-image",
        "canary = 9 is more than the 5 nodes that there are",
        "max_unavailable = 8 is more than the 5 nodes that there are",
        "domains.rack = 7 is more than the 5 nodes that there are",
        "failure_budget = 5 would let all 5 nodes fail",
    ]
    world.rollout(failure_budget=Share(16))
    assert said(world.draft()) == ["failure_budget = 16 is more than the 5 nodes that there are"]
    assert [finding.where.rpartition("/")[2] for finding in made.findings[-4:-2]] == ["x.toml:4", "x.toml:5"]


def test_limits_of_the_file_are_held_against_all_nodes_and_percent_are_of_those_asked_for(
    world: World,
) -> None:
    world.rollout(canary=2, max_unavailable=Share(4), domains={"rack": Share(50, is_percent=True)})
    policy = world.draft(nodes="node001").order.policy
    assert (policy.canary, policy.max_unavailable, policy.domains) == (1, 4, {"rack": 1})
    whole = world.draft().order.policy
    assert (whole.canary, whole.max_unavailable, whole.domains) == (2, 4, {"rack": 2})


def test_an_image_that_was_never_built_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "recipes/other").mkdir()
    (tmp_path / "recipes/other/recipe.toml").touch()
    wanted = (*world.cluster.wanted, Wanted(Ref("category", "new"), {"image": "other"}))
    world.cluster = msgspec.structs.replace(world.cluster, wanted=wanted)
    for made in (world.draft(), world.draft("other"), world.draft(f"{IMAGE}@1", "other")):
        assert said(made) == ["other was never built"]
        assert made.findings[0].command == "pipeline build other"


def test_a_file_whose_categories_have_no_image_with_versions_is_told(world: World) -> None:
    world.cluster = msgspec.structs.replace(world.cluster, wanted=world.cluster.wanted[-1:])
    made = world.draft(nodes="node100")
    assert said(made) == ["no category of the cluster file has an image of which there are versions"]
    assert made.order.nodes == ()


def test_categories_without_nodes_are_told(world: World) -> None:
    world.nodes = {"node100": world.nodes["node100"]}
    assert said(world.draft()) == ["no nodes are in compute, network"]


def test_nodes_that_are_down_are_left_out_when_asked_to_and_their_category_is_switched(world: World) -> None:
    world.has("node002", "compute", "down")
    world.has("node003", "compute", "closed")
    assert [node.name for node in world.draft().order.nodes][1:3] == ["node002", "node003"]
    made = world.draft(skip_down=True)
    assert [node.name for node in made.order.nodes] == ["node001", "node004", "node009"]
    assert made.skipped == made.others == ("node002", "node003")
    assert set(made.order.categories) == {"compute", "network"}
    world.rollout(skip_down=True)
    assert world.draft().skipped == made.skipped
    world.has("node009", "network", "down")
    assert set(world.draft().order.categories) == {"compute"}


def test_nodes_have_the_domains_for_which_there_are_limits(world: World) -> None:
    labels = {"node001": {"switch": "s1", "rack": "other"}}
    world.rollout(domains={"rack": Share(1), "switch": Share(1)}, labels=labels)
    nodes = {node.name: node.domains for node in world.draft().order.nodes}
    assert nodes["node001"] == {"rack": "other", "switch": "s1"}
    assert nodes["node002"] == {"rack": "r1"}
    assert nodes["node009"] == {}
    world.rollout()
    assert not any(node.domains for node in world.draft().order.nodes)


def test_nodes_that_are_away_already_and_share_a_domain_are_counted(world: World) -> None:
    world.rollout(domains={"rack": Share(1)})
    world.has("node002", "compute", "down", rack="r1")
    world.has("login1", "login", "installing", rack="r2", image="default-image")
    world.has("login2", "login", "down", rack="r3", image="default-image")
    world.has("login3", "login", "up", rack="r1", image="default-image")
    made = world.draft(skip_down=True)
    assert [node.name for node in made.order.unavailable] == ["login1", "node002"]
    near = [node.name for node in made.order.neighbours]
    assert near == ["login1", "login3", "node002"], "they may go down yet"
    world.rollout()
    made = world.draft(skip_down=True, osds={"node001.cluster": (1, 2), "login2": (3,)})
    assert [node.name for node in made.order.unavailable] == ["login2", "node002"]
    assert made.order.nodes[0].osds == (1, 2)


@pytest.mark.parametrize("left_out", [{"skip_down": True}, {"nodes": "node[003-006]"}])
def test_nodes_of_the_category_that_are_down_and_left_out_use_up_the_limit(
    world: World, left_out: dict[str, Any]
) -> None:
    """Two of six are down: users lack them, too."""
    world.nodes.clear()
    for number in range(1, 7):
        world.has(f"node{number:03d}", "compute", "down" if number < 3 else "up")
    world.rollout(max_unavailable=Share(2))
    order = world.draft(**left_out).order
    assert [node.name for node in order.unavailable] == ["node001", "node002"]
    with pytest.raises(UsageError) as refused:
        arrange(order.nodes, order.policy, order.unavailable)
    first = refused.value.problems[0]
    assert (first.where, first.message) == (
        "node003",
        "its turn could never come: max_unavailable = 2 is used up, because of nodes that are down already",
    )
    assert first.hint is not None
    assert first.hint.startswith("bring up node[001-002], or let [rollout] of the cluster file allow more")
    world.rollout(max_unavailable=Share(3))
    order = world.draft(**left_out).order
    batches = arrange(order.nodes, order.policy, order.unavailable)
    assert {len(batch) for batch in batches} == {1}
    world.rollout(max_unavailable=Share(4))
    raised = as_now(world.cluster, world.survey(), order)
    assert raised.policy.max_unavailable == 4, "what is allowed by now holds on the way back"


def test_virtual_nodes_that_nobody_began_and_nodes_of_other_categories_use_up_nothing(world: World) -> None:
    world.has("cloud001", "compute", "down", is_virtual=True)
    world.has("node100", "login", "down", image="default-image")
    assert world.draft(nodes="node001").order.unavailable == ()
    world.has("cloud001", "compute", "closed", is_virtual=True)
    assert [node.name for node in world.draft(nodes="node001").order.unavailable] == ["cloud001"]


def test_ten_thousand_nodes_take_less_than_a_second(world: World) -> None:
    import time

    world.rollout(domains={"rack": Share(5)}, max_unavailable=Share(10, is_percent=True))
    for number in range(10_000):
        world.has(
            f"n{number:05d}", "compute", rack=f"r{number // 40}", condition="up" if number % 50 else "down"
        )
    began = time.process_time()
    made = world.draft(skip_down=True)
    assert time.process_time() - began < 1
    assert len(made.order.nodes) == 10_005 - 200
    assert made.order.policy.max_unavailable == 980
