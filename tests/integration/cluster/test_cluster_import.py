"""A first cluster file from what is there."""

from __future__ import annotations

import re

import pytest

from pipeline.lab.head import state
from pipeline.lab.warewulf import start
from tests.integration.cluster_site import NAME, Cluster


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


ODD = """
category
use openstack-compute-hosts
roles
use openstacknode
append configfilemodifications "-/etc/y.conf[s]only"
append configfilemodifications "+/etc/y.conf[s]m=1"
append configfilemodifications "+/etc/y.conf[s]m=2"
append configfilemodifications "+/etc/y.conf[s]blank= x"
append configfilemodifications "+/etc/y.conf[s]co:lon=x"
append configfilemodifications "+/etc/y.conf[s]plain=x"
commit
home
softwareimage
clone openstack-image openstack-image-mellanox
commit
home
network
use internalnet
set broadcastaddress 0.0.0.0
commit
home
device
use node001
interfaces
add bond bond0
set network internalnet
commit
"""
"""What there are no words for in a cluster file, but for one setting."""

LEFT_OUT = {
    "setting//etc/y.conf[s]only: only takes out",
    "setting//etc/y.conf[s]m: the key has several values (1, 2)",
    "setting//etc/y.conf[s]blank: its value ' x' has blanks",
    "setting//etc/y.conf[s]co:lon: the name of its file, section or key",
    "image/openstack-image-mellanox: the recipe of this name has kernel parameters that it lacks",
    "network/internalnet: its address:",
    'node/node001/interface/bond0: its type is "bond"',
}


def test_an_import_names_what_it_has_no_words_for_and_plans_the_rest(site: Cluster) -> None:
    site.cmsh(ODD)
    imported = site.cluster("import", "odd")
    assert imported.exit_code == 0, imported.err
    assert "it has what is there, so that a plan finds nothing to do" in imported.out
    text = (site.path / "recipes/clusters/odd.toml").read_text()
    for named in LEFT_OUT:
        assert named in imported.err
        assert named in re.sub(r"(?m)^(?!# ).*\n", "", text)
    assert 'add.s.plain = "x"' in text
    planned = site.cluster("plan", "odd")
    assert planned.out.endswith("odd: nothing to do\n"), planned.out + planned.err


def test_a_node_whose_list_lacks_a_setting_of_its_category_is_not_given_it(site: Cluster) -> None:
    for owner, entry in (("category\nuse openstack-compute-hosts", "a"), ("device\nuse node002", "b")):
        assign = "assign openstacknode" if "node002" in owner else "use openstacknode"
        site.cmsh(
            f'{owner}\nroles\n{assign}\nappend configfilemodifications "+/etc/y.conf[s]{entry}=1"\ncommit\n'
        )
    imported = site.cluster("import", "odd")
    assert "node/node002: the settings of its own" in imported.err
    assert site.cluster("plan", "odd").out.endswith("odd: nothing to do\n")


def test_an_import_says_what_a_plan_really_finds(site: Cluster) -> None:
    (site.path / "recipes/openstack-image/").mkdir()
    site.write("recipes/openstack-image/recipe.toml", "[image\n")
    imported = site.cluster("import", "odd")
    assert imported.exit_code == 1
    assert "to be mended before it can be planned" in imported.out
    assert "recipes/openstack-image/recipe.toml:1" in imported.err
    assert "nothing to do" not in imported.out


def test_an_import_tells_where_its_file_has_to_lie_and_prints_it_as_json(site: Cluster) -> None:
    elsewhere = site.cluster("import", "new", "--out", "elsewhere/x.toml")
    assert "a plan reads recipes/clusters/new.toml: move it there first" in elsewhere.out
    printed = site.cluster("import", "new", "--out", "-", "--json").json()
    assert printed["text"] == (site.path / "elsewhere/x.toml").read_text()
    assert printed["changes"] == printed["problems"] == []
    assert "a plan reads" not in site.cluster("import", "new").out
    refused = site.cluster("import", "other", "--out", "/proc/none/x.toml")
    assert (refused.exit_code, "x.toml: the cluster file cannot be written" in refused.err) == (1, True)


def test_an_import_of_warewulf_has_nothing_that_warewulf_cannot_keep(site: Cluster) -> None:
    start.make(site.path / "warewulf")
    text = (site.path / "pipeline.toml").read_text()
    head = f'[head]\nmanager = "warewulf"\nprograms = ["{site.path}/warewulf/bin"]\n'
    site.write("pipeline.toml", text[: text.index("[head]")] + head)
    imported = site.cluster("import", "ww")
    assert imported.exit_code == 0, imported.err
    assert "left out: network/storage: no network can be kept here" in imported.err
    assert "[[network]]" not in (site.path / "recipes/clusters/ww.toml").read_text()
    planned = site.cluster("plan", "ww")
    assert planned.out.endswith("ww: nothing to do\n"), planned.out + planned.err


def test_what_was_imported_and_applied_is_known_as_if_an_apply_had_made_it(site: Cluster) -> None:
    """Nothing had to be written for it; from then on others change it by hand, and what leaves it is told."""
    assert site.cluster("import", "mine").exit_code == 0
    assert site.cluster("apply", "mine").out == "mine: nothing to do\n"
    site.cmsh("category\nuse openstack-compute-hosts\nset softwareimage default-image\ncommit\n")
    status = site.cluster("status", "mine").out
    assert "last applied never" not in status
    assert "1 object changed by hand since, 0 not yet applied" in status
    assert "~ category/openstack-compute-hosts  changed by hand" in site.cluster("plan", "mine").out
    assert site.cluster("apply", "mine").exit_code == 0
    before = state.snapshot(str(site.head))
    recipe = site.path / "recipes/clusters/mine.toml"
    text = recipe.read_text()
    words = re.search(r"^append_kernel_parameters = .*\n", text, re.MULTILINE)
    service = re.search(r"^\[\[head\.service\]\]\n(?:.+\n)*", text, re.MULTILINE)
    assert words is not None
    assert service is not None
    recipe.write_text(text.replace(words[0], "").replace(service[0], ""))
    left = "no longer in the file, and left as it is"
    for verb in ("plan", "apply"):
        told = site.cluster(verb, "mine").out
        assert f"note: {left}: head/master/service/" in told, told
        assert re.search(rf"note: image/.*: kernel_parameters \(.*\) is {left}", told)
    assert site.cluster("plan", "mine").out == "mine: nothing to do\n", "it is told once"
    assert state.snapshot(str(site.head)) == before


LIST = "device\nuse node003\nroles\nuse openstacknode\n"
GROWN = " pci=nocrs"


@pytest.mark.parametrize("name", [NAME, "mine"])
def test_what_an_import_leaves_out_is_not_taken_back(site: Cluster, name: str) -> None:
    """An image that lacks a parameter of its recipe, and a node whose list lacks one of its category."""
    assert site.cluster("apply").exit_code == 0
    image = "softwareimage\nuse openstack-image-mellanox\n"
    words = site.cmsh(f"{image}get kernelparameters\n").strip()
    assert GROWN in words
    site.cmsh(f'{image}set kernelparameters "{words.replace(GROWN, "")}"\ncommit\n')
    lines = [line for line in site.cmsh(f"{LIST}get configfilemodifications\n").splitlines() if line]
    left = " ".join(f'"{line}"' for line in lines if "tenant_network_type" not in line)
    site.cmsh(f"{LIST}set configfilemodifications {left}\ncommit\n")
    before = state.snapshot(str(site.head))["objects"]
    file = site.path / "recipes/clusters" / f"{NAME}.toml"
    if name == NAME:
        file.unlink()
        printed = site.cluster("import", name, "--out", "-")
        assert "note: it is not quite what is there: a plan finds 3 changes to make" in printed.err
    imported = site.cluster("import", name)
    assert "left out: image/openstack-image-mellanox: " in imported.err
    assert "left out: node/node003: the settings of its own" in imported.err
    assert "a plan finds nothing to do" in imported.out
    if name != NAME:
        assert "both own them" in site.cluster("plan", name).out
        assert site.cluster("apply", name).exit_code == 0
        file.unlink()
    for _ in range(2):
        planned = site.cluster("plan").out
        assert planned.endswith(f"{name}: nothing to do\n"), planned
        assert site.cluster("apply").exit_code == 0
    assert state.snapshot(str(site.head))["objects"] == before


def test_no_note_says_that_what_a_plan_changes_is_left_as_it_is(site: Cluster) -> None:
    """The path of an image stays, and the kernel parameters that an apply has added go."""
    assert site.cluster("apply").exit_code == 0
    site.write(f"recipes/clusters/{NAME}.toml", f'[cluster]\nname = "{NAME}"\n')
    planned = site.cluster("plan").out
    assert "~ image/openstack-image-mellanox" in planned
    notes = [line for line in planned.splitlines() if "left as it is" in line and "mellanox" in line]
    path = "path (/cm/images/openstack-image-mellanox) is no longer in the file, and left as it is"
    assert f"note: image/openstack-image-mellanox: {path}" in notes
    assert not [line for line in notes if "image/openstack-image-mellanox," in line]
