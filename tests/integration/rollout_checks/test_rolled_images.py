"""What a rollout made of an image is what the cluster file means by it; all else was done by hand."""

from __future__ import annotations

import shutil

import pytest

from pipeline.cluster import rolled
from pipeline.cluster.apply import apply
from pipeline.cluster.load import load_cluster
from pipeline.cluster.opening import keepers, without_cloud
from pipeline.lab.head import start
from pipeline.recipe.site import load_site
from pipeline.rollout.opening import open_rollouts, plan
from pipeline.rollout.ordering import Wishes
from pipeline.store.store import Store
from tests.integration.cluster_site import COMPUTE, NAME, Cluster, edit
from tests.small_store import add_version

IMAGE = "openstack-image-mellanox"
SECOND = f"{IMAGE}-2"


@pytest.fixture
def rolled_out(site: Cluster) -> Cluster:
    """After an apply and a rollout of the compute hosts to version 2, with nothing left to do."""
    assert site.cluster("apply").exit_code == 0
    site.cmsh(f"softwareimage\nclone {IMAGE} {SECOND}\ncommit -w\nhome\n")
    site.cmsh(f"category\nuse {COMPUTE}\nset softwareimage {SECOND}\ncommit\n")
    rolled.note(site.path / "store", NAME, COMPUTE, IMAGE, SECOND)
    return site


def test_what_was_rolled_out_is_as_the_file_wants_it(rolled_out: Cluster) -> None:
    planned = rolled_out.cluster("plan")
    assert planned.out.endswith(f"{NAME}: nothing to do\n"), planned.out + planned.err
    assert f"category {COMPUTE}: has {SECOND} for {IMAGE}, as rolled out" in planned.out + planned.err
    assert "0 objects changed by hand since, 0 not yet applied" in rolled_out.cluster("status").out
    applied = rolled_out.cluster("apply", "--json").json()
    assert applied["changes"] == []
    assert rolled_out.objects()["category"][COMPUTE]["softwareimage"] == SECOND


@pytest.mark.parametrize("hand", ["default-image", IMAGE, "openstack-image"])
def test_another_image_is_a_change_by_hand_and_put_back(rolled_out: Cluster, hand: str) -> None:
    rolled_out.cmsh(f"category\nuse {COMPUTE}\nset softwareimage {hand}\ncommit\n")
    planned = rolled_out.cluster("plan").out
    assert f"~ category/{COMPUTE}  changed by hand" in planned
    assert f"image: {hand} -> {SECOND}" in planned
    assert rolled_out.cluster("apply").exit_code == 0
    assert rolled_out.objects()["category"][COMPUTE]["softwareimage"] == SECOND
    assert rolled_out.left() == []


def test_the_next_rollout_and_one_back_count_as_well(rolled_out: Cluster) -> None:
    assert rolled_out.cluster("apply").exit_code == 0  # from now on version 2 is what was applied
    for now in (f"{IMAGE}-3", IMAGE):
        if now != IMAGE:
            rolled_out.cmsh(f"softwareimage\nclone {SECOND} {now}\ncommit -w\n")
        rolled_out.cmsh(f"category\nuse {COMPUTE}\nset softwareimage {now}\ncommit\n")
        rolled.note(rolled_out.path / "store", NAME, COMPUTE, IMAGE, now)
        assert rolled_out.left() == []
        rolled_out.cmsh(f"category\nuse {COMPUTE}\nset softwareimage {SECOND}\ncommit\n")
        assert f"~ category/{COMPUTE}  changed by hand" in rolled_out.cluster("plan").out
        assert rolled_out.cluster("apply").exit_code == 0
    assert rolled.load(rolled_out.path / "store", NAME) == {COMPUTE: {IMAGE: IMAGE}}


def test_a_file_that_names_another_image_gets_that(rolled_out: Cluster) -> None:
    recipe = rolled_out.path / "recipes/clusters" / f"{NAME}.toml"
    text = recipe.read_text()
    category = text.index(f'name = "{COMPUTE}"')
    recipe.write_text(text[:category] + text[category:].replace(f'"{IMAGE}"', '"openstack-image"', 1))
    planned = rolled_out.cluster("plan").out
    assert f"image: {SECOND} -> openstack-image" in planned
    assert "changed by hand" not in planned


def test_a_nodes_own_image_during_a_rollout_is_no_difference(site: Cluster) -> None:
    assert site.cluster("apply").exit_code == 0
    site.cmsh(f"softwareimage\nclone {IMAGE} {SECOND}\ncommit -w\n")
    site.cmsh(f"device\nuse node002\nset softwareimage {SECOND}\ncommit\n")
    assert site.objects()["device"]["node002"]["softwareimage"] == SECOND
    assert site.left() == []
    edit(site, (PATH, CRASH))
    settle(site)
    for words in parameters(site, IMAGE, SECOND):
        assert words[-1] == "crashkernel=128M"
    site.cmsh(f"softwareimage\nuse {SECOND}\nset kernelparameters quiet\ncommit\n")
    assert f"~ image/{SECOND}  changed by hand" in settle(site)


def test_a_file_that_was_renamed_does_not_take_back_what_was_rolled_out(rolled_out: Cluster) -> None:
    rename(rolled_out)
    planned = rolled_out.cluster("plan", "mine")
    assert "image: " not in planned.out, planned.out
    note = f"category {COMPUTE}: has {SECOND} for {IMAGE}, as rolled out by the cluster {NAME}"
    assert note in planned.out + planned.err
    assert rolled_out.cluster("apply", "mine").exit_code == 0
    assert rolled_out.objects()["category"][COMPUTE]["softwareimage"] == SECOND
    rolled_out.cmsh(f"category\nuse {COMPUTE}\nset softwareimage openstack-image\ncommit\n")
    assert f"image: openstack-image -> {SECOND}\n" in rolled_out.cluster("plan", "mine").out


def test_what_a_renamed_file_says_reaches_what_nodes_boot(rolled_out: Cluster) -> None:
    edit(rolled_out, (PATH, CRASH))
    rename(rolled_out)
    assert rolled_out.cluster("apply", "mine", "--yes").exit_code == 0
    for words in parameters(rolled_out, IMAGE, SECOND):
        assert words[-1] == "crashkernel=128M"
    rolled_out.cmsh(f"softwareimage\nuse {SECOND}\nset kernelparameters quiet\ncommit\n")
    rolled_out.cmsh(f"category\nuse {COMPUTE}\nset softwareimage openstack-image\ncommit\n")
    planned = rolled_out.cluster("plan", "mine").out
    assert f"~ image/{SECOND}  changed by hand" in planned
    assert f"~ category/{COMPUTE}  changed by hand" in planned
    assert f"image: openstack-image -> {SECOND}\n" in planned
    path = f"{rolled_out.path}/images/{SECOND}"
    rolled_out.cmsh(f"softwareimage\nuse {SECOND}\nset path {path}\ncommit\n")
    assert f"the directory {path} of {SECOND} is not there" in rolled_out.cluster("plan", "mine").err


def test_an_image_that_is_gone_from_the_manager_means_nothing_any_more(rolled_out: Cluster) -> None:
    site = rolled_out
    site.cmsh(f"category\nuse {COMPUTE}\nset softwareimage {IMAGE}\ncommit\n")
    site.cmsh(f"softwareimage\nremove {SECOND}\ncommit\n")
    note = f"category {COMPUTE}: {SECOND}, which a rollout made for {IMAGE}, is gone from the cluster manager"
    edit(site, (PATH, CRASH))
    planned = site.cluster("plan")
    assert planned.exit_code == 0, planned.err
    assert note in planned.out
    started = site.run("rollout", "start", "--dry-run", "--image", f"{IMAGE}@1")
    assert SECOND not in started.out + started.err, started
    assert "0 objects changed by hand since, 1 not yet applied" in site.cluster("status").out
    settle(site)
    site.cmsh(f"softwareimage\nclone {IMAGE} {SECOND}\ncommit -w\nhome\n")  # a rollout of a few nodes
    assert site.left() == []
    assert note not in site.cluster("plan").out


def test_a_new_head_node_is_made_as_the_file_says(rolled_out: Cluster) -> None:
    shutil.rmtree(rolled_out.head)
    start.make(rolled_out.head)
    assert f"image: openstack-image -> {IMAGE}\n" in settle(rolled_out)
    assert rolled_out.objects()["category"][COMPUTE]["softwareimage"] == IMAGE


def test_a_rollout_that_ends_while_an_apply_reads_is_not_taken_back(site: Cluster) -> None:
    assert site.cluster("apply").exit_code == 0
    site.cmsh(f"softwareimage\nclone {IMAGE} {SECOND}\ncommit -w\nhome\n")
    loaded = load_site(site.path / "pipeline.toml")
    cluster = without_cloud(loaded, load_cluster(NAME, loaded))
    asked = keepers(loaded, cluster)
    roll(site, SECOND)  # what is meant is not decided before the cluster is read
    assert apply(cluster, asked, loaded.store).plan.changes == ()
    assert site.objects()["category"][COMPUTE]["softwareimage"] == SECOND


def test_an_import_says_what_the_file_meant(rolled_out: Cluster) -> None:
    imported = rolled_out.cluster("import", "mine")
    assert imported.exit_code == 0, imported.err
    assert f"image/{SECOND}: a rollout has made it" in imported.err
    text = (rolled_out.path / "recipes/clusters/mine.toml").read_text()
    assert f'"{SECOND}"' not in text
    planned = rolled_out.cluster("plan", "mine")
    assert planned.out.endswith("mine: nothing to do\n"), planned.out + planned.err
    assert SECOND in rolled_out.cluster("import", "printed", "--out", "-").out
    rolled_out.cmsh(f"softwareimage\nuse {SECOND}\nset kernelparameters quiet\ncommit\n")
    imported = rolled_out.cluster("import", "other")
    assert "a plan finds 1 change to make" in imported.out
    assert f"~ image/{SECOND}" in rolled_out.cluster("plan", "other").out


def test_what_was_rolled_out_is_refused_when_its_directory_is_gone(rolled_out: Cluster) -> None:
    path = f"{rolled_out.path}/images/{SECOND}"
    rolled_out.cmsh(f"softwareimage\nuse {SECOND}\nset path {path}\ncommit\n")
    etc = rolled_out.head / f"root{path}/etc"
    etc.mkdir(parents=True)
    assert rolled_out.left() == []
    etc.rmdir()  # not mounted
    directory = f": category/{COMPUTE}: image: the directory {path} of {SECOND}"
    for words in (("plan",), ("status",), ("apply", "--yes")):
        refused = rolled_out.cluster(*words)
        assert refused.exit_code == 1, refused
        assert f"{directory} is empty: this version is not mounted" in refused.err
        assert refused.err.endswith("run: pipeline publish --restore\n")
    etc.parent.rmdir()  # unpublished
    for words in (("plan",), ("status",), ("apply", "--yes")):
        refused = rolled_out.cluster(*words)
        assert refused.exit_code == 1, refused
        assert f"{directory} is not there" in refused.err
        assert f"run: pipeline publish {IMAGE}@2\n" in refused.err
    rolled_out.cmsh(f"category\nuse {COMPUTE}\nset softwareimage {IMAGE}\ncommit\n")
    assert "this version is not published" in rolled_out.cluster("plan").err


def test_a_damaged_record_is_told(rolled_out: Cluster) -> None:
    file = rolled_out.path / "store/clusters" / NAME / rolled.RECORD
    file.write_text("{")
    planned = rolled_out.cluster("plan")
    assert planned.exit_code == 1
    assert "what was rolled out cannot be read" in planned.err
    assert f"mv {file} {file}.broken" in planned.err


PATH = 'path = "/cm/images/openstack-image-mellanox"'
CRASH = f'append_kernel_parameters = ["crashkernel=128M"]\n{PATH}'


def parameters(site: Cluster, *images: str) -> list[list[str]]:
    """The kernel parameters of each of these images."""
    there = site.objects()["softwareimage"]
    return [str(there[image]["kernelparameters"]).split() for image in images]


def rename(site: Cluster) -> None:
    """Call the cluster ``mine``."""
    clusters = site.path / "recipes/clusters"
    text = (clusters / f"{NAME}.toml").read_text()
    (clusters / "mine.toml").write_text(text.replace(f'"{NAME}"', '"mine"'))
    (clusters / f"{NAME}.toml").unlink()


def settle(site: Cluster) -> str:
    """Plan and apply; nothing is left to do then. What the plan said."""
    planned = site.cluster("plan").out
    applied = site.cluster("apply", "--yes")
    assert applied.exit_code == 0, applied.err
    assert site.left() == []
    return planned


def roll(site: Cluster, image: str) -> None:
    """As a rollout of the compute hosts to ``image`` ends."""
    site.cmsh(f"category\nuse {COMPUTE}\nset softwareimage {image}\ncommit\n")
    rolled.note(site.path / "store", NAME, COMPUTE, IMAGE, image)


def test_what_the_file_gives_its_image_gets_what_nodes_boot_as_well(rolled_out: Cluster) -> None:
    edit(rolled_out, (PATH, CRASH))
    planned = settle(rolled_out)
    assert f"~ image/{SECOND}" in planned
    assert "changed by hand" not in planned
    for words in parameters(rolled_out, IMAGE, SECOND):
        assert words[-2:] == ["pci=nocrs", "crashkernel=128M"]
    edit(rolled_out, (CRASH, PATH))
    settle(rolled_out)
    for words in parameters(rolled_out, IMAGE, SECOND):
        assert words[-1] == "pci=nocrs"


def test_parameters_changed_by_hand_where_nodes_boot_from_are_seen_and_put_back(rolled_out: Cluster) -> None:
    rolled_out.cmsh(f"softwareimage\nuse {SECOND}\nset kernelparameters quiet\ncommit\n")
    assert "1 object changed by hand since, 0 not yet applied" in rolled_out.cluster("status").out
    assert f"~ image/{SECOND}  changed by hand" in settle(rolled_out)
    assert parameters(rolled_out, SECOND) == [
        ["quiet", "intel_iommu=on", "iommu=pt", "pci=realloc", "pci=nocrs"]
    ]
    rolled_out.cmsh(f"softwareimage\nuse {SECOND}\nset kernelparameters quiet\ncommit\n")
    assert f"~ image/{SECOND}  changed by hand" in settle(rolled_out)


def test_the_recipes_parameters_are_those_of_the_version(rolled_out: Cluster) -> None:
    store = Store.open(rolled_out.path / "store")
    for word in ("mem=1G", "mem=2G"):
        made = add_version(store, (), image=IMAGE, kernel_parameters=(word,))
    assert f"{IMAGE}-{made.number}" == SECOND
    edit(rolled_out, (PATH, CRASH))
    planned = settle(rolled_out)
    assert f"~ image/{SECOND}  changed by hand" not in planned
    _, words = parameters(rolled_out, IMAGE, SECOND)
    assert words[-3:] == ["xdriver=vesa", "mem=2G", "crashkernel=128M"]
    recipe = rolled_out.path / "recipes" / IMAGE / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"pci=nocrs"', '"pci=noacpi"'))
    settle(rolled_out)
    mine, words = parameters(rolled_out, IMAGE, SECOND)
    assert "pci=noacpi" in mine
    assert words[-3:] == ["xdriver=vesa", "mem=2G", "crashkernel=128M"]


def test_an_image_that_nodes_have_left_is_left_alone_until_they_are_back(rolled_out: Cluster) -> None:
    edit(rolled_out, (PATH, CRASH))
    settle(rolled_out)
    third = f"{IMAGE}-3"
    rolled_out.cmsh(f"softwareimage\nclone {IMAGE} {third}\ncommit -w\n")
    roll(rolled_out, third)
    planned = rolled_out.cluster("plan")
    assert planned.out.endswith("nothing to do\n"), planned.out
    assert f"image/{SECOND}" not in planned.out + planned.err
    edit(rolled_out, (CRASH, PATH))
    assert f"image/{SECOND}" not in settle(rolled_out)
    second, now = parameters(rolled_out, SECOND, third)
    assert "crashkernel=128M" in second
    assert "crashkernel=128M" not in now
    roll(rolled_out, SECOND)
    assert f"~ image/{SECOND}" in settle(rolled_out)
    assert "crashkernel=128M" not in parameters(rolled_out, SECOND)[0]


def test_what_came_by_cloning_is_taken_out_when_nodes_are_back(site: Cluster) -> None:
    edit(site, (PATH, CRASH))
    settle(site)
    third = f"{IMAGE}-3"
    for image in (SECOND, third):  # no apply in between knows of the first
        site.cmsh(f"softwareimage\nclone {IMAGE} {image}\ncommit -w\nhome\n")
        roll(site, image)
    edit(site, (CRASH, PATH))
    assert f"image/{SECOND}" not in settle(site)
    assert ["crashkernel=128M" in words for words in parameters(site, IMAGE, SECOND, third)] == [0, 1, 0]
    roll(site, SECOND)
    planned = settle(site)
    assert f"~ image/{SECOND}  [" in planned
    assert "kernel_parameters: -crashkernel=128M\n" in planned
    assert "crashkernel=128M" not in parameters(site, SECOND)[0]


def test_a_version_has_no_parameters_of_a_later_recipe(site: Cluster) -> None:
    version = add_version(
        Store.open(site.path / "store"), (), image=IMAGE, kernel_parameters=("pci=realloc",)
    )
    etc = site.head / f"root{site.path}/images/{IMAGE}-{version.number}/etc"
    etc.mkdir(parents=True)
    edit(site, (PATH, CRASH))
    settle(site)
    opened = open_rollouts(NAME, load_site(site.path / "pipeline.toml"))
    target = plan(opened, Wishes(images=(version.label,))).order.targets[f"{IMAGE}-{version.number}"]
    words = (target.kernel_parameters, target.without)
    opened.manager.make_image(target.name, target.source, target.path, *words)
    mine, made = parameters(site, IMAGE, target.name)
    assert made == [word for word in mine if word not in ("intel_iommu=on", "iommu=pt", "pci=nocrs")]
    assert made[-2:] == ["pci=realloc", "crashkernel=128M"]
    roll(site, target.name)
    assert site.left() == []
    site.cmsh(f"softwareimage\nuse {target.name}\nappend kernelparameters ' pci=nocrs'\ncommit\n")
    assert "kernel_parameters: -pci=nocrs\n" in settle(site)  # as it was made by earlier ones of this program


def test_what_an_apply_could_not_put_into_an_image_was_not_changed_by_hand(rolled_out: Cluster) -> None:
    rolled_out.cmsh(f"softwareimage\nclone {IMAGE} {IMAGE}-3\ncommit -w\nhome\n")
    roll(rolled_out, f"{IMAGE}-3")
    edit(rolled_out, (PATH, CRASH))
    settle(rolled_out)
    roll(rolled_out, SECOND)
    assert "0 objects changed by hand since, 1 not yet applied" in rolled_out.cluster("status").out
    settle(rolled_out)
    rolled_out.cmsh(f"softwareimage\nuse {SECOND}\nset kernelparameters quiet\ncommit\n")
    assert f"~ image/{SECOND}  changed by hand" in settle(rolled_out)
