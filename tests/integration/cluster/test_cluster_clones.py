"""``pipeline cluster``: clones of what the same file makes or changes, and kernel parameters."""

from __future__ import annotations

import pytest

from pipeline.lab.head import start
from pipeline.lab.head.switches import Switches
from tests.integration.cluster_site import NAME, Cluster, edit


def appended(site: Cluster, text: str) -> None:
    file = site.path / "recipes/clusters" / f"{NAME}.toml"
    file.write_text(f"{file.read_text()}\n{text}")


def parameters(site: Cluster, image: str) -> list[str]:
    return site.cmsh(f"softwareimage use {image}; get kernelparameters\n").split()


IMAGES = """
[[image]]
name = "b"
clone = "a"
append_kernel_parameters = ["b=1"]
[[image]]
name = "a"
clone = "openstack-image"
append_kernel_parameters = ["a=1"]
[[image]]
name = "openstack-image"
append_kernel_parameters = ["x=1"]
"""


def test_an_image_has_the_kernel_parameters_of_the_one_that_it_is_cloned_from(site: Cluster) -> None:
    first = parameters(site, "openstack-image")
    assert first
    appended(site, IMAGES)
    assert site.cluster("apply").exit_code == 0
    assert parameters(site, "openstack-image") == [*first, "x=1"]
    assert parameters(site, "b") == [*first, "x=1", "a=1", "b=1"]
    assert parameters(site, "openstack-image-mellanox")[: len(first) + 1] == [*first, "x=1"]
    assert site.left() == []


CATEGORIES = """
[[category]]
name = "b"
clone = "a"
nodes = "node001"
[[category.file]]
path = "/etc/both.ini"
set.s.mine = "b"
[[category]]
name = "a"
clone = "openstack-compute-hosts-mellanox"
[[category.service]]
name = "opensm"
autostart = true
[[category.file]]
path = "/etc/both.ini"
set.s.mine = "a"
set.s.also = "a"
[[node]]
names = "node001"
[[node.file]]
path = "/etc/both.ini"
set.s.own = "1"
"""


@pytest.mark.parametrize("release", ["new", "old"])
def test_a_category_is_cloned_from_one_that_the_file_makes_wherever_it_stands(
    site: Cluster, release: str
) -> None:
    start.make(site.head, switches=Switches(release=release))
    appended(site, CATEGORIES)
    planned = site.cluster("plan", "--json").json()["changes"]
    order = [change["object"] for change in planned]
    assert order.index("category/a") < order.index("category/b")
    assert {change["source"] for change in planned if change["kind"] == "category"} == {
        None,
        "openstack-compute-hosts",
    }
    done = site.cluster("apply")
    assert done.exit_code == 0, done.err
    assert site.left() == []
    bridge = [name for name in order if name.startswith("category/openstack-compute-hosts-mellanox/setting")]
    assert bridge
    for owner in ("category/b", "node/node001"):
        for name in bridge:
            assert name.replace("category/openstack-compute-hosts-mellanox", owner) in order
        assert f"{owner}/setting//etc/both.ini[s]also" in order
    services = site.cmsh("category use b; services; list -f service,autostart,monitored\n")
    assert all(name in services for name in ("opensm", "eswitchd", "neutron-mlnx-agent"))
    if release == "new":
        lists = [
            site.cmsh(f"{at}; roles; use openstacknode; get configfilemodifications\n")
            for at in ("category use b", "device use node001")
        ]
        for text in lists:
            assert "mine=b" in text
            assert "also=a" in text
            assert "physical_interface_mappings" in text


UNFINISHED = """
[[category]]
name = "b"
clone = "a"
nodes = "node001"
[[category.service]]
name = "eswitchd"
monitored = false
[[category]]
name = "a"
clone = "openstack-compute-hosts"
[[category]]
name = "openstack-compute-hosts"
[[category.service]]
name = "eswitchd"
autostart = true
monitored = true
[[category.file]]
path = "/etc/foo.conf"
set.s.x = "1"
[[node]]
names = "node001"
[[node.file]]
path = "/etc/foo.conf"
set.s.own = "1"
"""


@pytest.mark.parametrize("release", ["new", "old"])
def test_clones_that_an_apply_has_not_finished_get_the_rest_from_the_next(
    site: Cluster, release: str
) -> None:
    start.make(site.head, switches=Switches(release=release))
    assert site.cluster("apply").exit_code == 0
    appended(site, UNFINISHED)
    site.faults(die_after_commits=2)  # both clones are there, and nothing that belongs to them
    assert site.cluster("apply").exit_code == 3
    site.faults()
    left = site.left()
    assert not {"category/a", "category/b"} & {*left}
    for name in ("setting//etc/foo.conf[s]x", "service/eswitchd"):
        assert {f"category/{clone}/{name}" for clone in "ab"} <= {*left}
    assert "node/node001/setting//etc/foo.conf[s]x" in left
    assert site.cluster("apply").exit_code == 0
    for clone, monitored in (("a", "yes"), ("b", "no")):
        service = site.cmsh(f"category use {clone}; services; use eswitchd; get autostart; get monitored\n")
        assert service.split() == ["yes", monitored]
    assert site.left() == []
    edit(site, ('set.s.x = "1"', 'set.s.x = "2"'))  # what is finished is its own
    assert site.left() == ["category/openstack-compute-hosts/setting//etc/foo.conf[s]x"]


def test_kernel_parameters_of_an_image_that_leaves_the_file_are_taken_back(site: Cluster) -> None:
    first = parameters(site, "default-image")
    table = f'[[image]]\nname = "default-image"\nappend_kernel_parameters = ["foo=1", "{first[0]}"]\n'
    appended(site, table)
    assert site.cluster("apply").exit_code == 0
    assert parameters(site, "default-image") == [*first, "foo=1"]
    edit(site, (table, ""))
    planned = site.cluster("plan")
    assert "kernel_parameters: -foo=1" in planned.out
    (site.head / "root/cm/images/default-image").rename(site.path / "away")  # it is nobody's wish any more
    assert site.cluster("apply").exit_code == 0
    assert parameters(site, "default-image") == first
    assert site.cluster("plan").out.endswith("nothing to do\n")


KEPT = """
[[image]]
name = "ib"
clone = "ia"
[[image]]
name = "ia"
clone = "openstack-image"
append_kernel_parameters = ["a=1"]
[[category]]
name = "cb"
clone = "ca"
[[category]]
name = "ca"
clone = "openstack-compute-hosts"
[[category.file]]
path = "/etc/foo.conf"
set.s.x = "1"
"""


def said_by(site: Cluster) -> str:
    plan = site.cluster("plan")
    return " ".join(f"{plan.out} {plan.err}".split())


def test_a_clone_keeps_what_it_was_made_with_and_the_plan_says_so(site: Cluster) -> None:
    appended(site, KEPT)
    assert site.cluster("apply").exit_code == 0
    assert "a clone keeps" not in said_by(site)
    file = '[[category.file]]\npath = "/etc/foo.conf"\nset.s.x = "1"\n'
    edit(site, (file, ""), ('append_kernel_parameters = ["a=1"]\n', ""))
    assert {*site.left()} == {"image/ia", "category/ca/setting//etc/foo.conf[s]x"}
    said = said_by(site)
    for name, source, kept in (("category/cb", "ca", "/etc/foo.conf[s]x"), ("image/ib", "ia", "a=1")):
        assert f"{name}: a clone keeps what it was made with, of {source}: {kept}" in said


QUOTED = 'append_kernel_parameters = ["dyndbg=\\"file x.c +p\\"", "last=1"]'


def test_a_kernel_parameter_with_a_blank_in_quotes_is_one(site: Cluster) -> None:
    path = 'path = "/cm/images/openstack-image-mellanox"'
    edit(site, (path, f"{path}\n{QUOTED}"))
    done = site.cluster("apply")
    assert done.exit_code == 0, done.err
    assert site.left() == []
    assert parameters(site, "openstack-image-mellanox")[-4:] == ['dyndbg="file', "x.c", '+p"', "last=1"]
    edit(site, (QUOTED, 'append_kernel_parameters = ["last=1"]'))
    assert site.cluster("apply").exit_code == 0
    text = site.cmsh("softwareimage use openstack-image-mellanox; get kernelparameters\n")
    assert "last=1" in text
    assert "dyndbg" not in text
