"""A rollout that is not at its end, whose cluster file was renamed: how it comes to its end is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from pipeline.cluster.load import load_cluster
from pipeline.recipe.site import load_site
from pipeline.rollout import folder as folders
from pipeline.rollout.model import Node, Order, Target
from tests.integration.cluster_site import COMPUTE, NAME, Cluster

IMAGE = "default-image"
NODE = Node("node001", COMPUTE, IMAGE)
ORDER = Order(0, NAME, "me", 1.0, (NODE,), (("node001",),), {IMAGE: Target(IMAGE)}, {"node001": IMAGE})


def renamed(site: Cluster, order: Order) -> Path:
    """Its folder; the file has another name since it was begun."""
    folder = folders.begin(site.path / "store", order)
    file = site.path / "recipes/clusters" / f"{NAME}.toml"
    file.with_name("mine.toml").write_text(file.read_text().replace(f'"{NAME}"', '"mine"'))
    file.unlink()
    return folder


@pytest.mark.parametrize("verb", ["status", "resume", "rollback"])
def test_what_needs_the_file_says_so_and_abort_ends_it_without(site: Cluster, verb: str) -> None:
    folder = renamed(site, ORDER)
    done = site.run("rollout", verb, NAME)
    assert done.exit_code == (0 if verb == "status" else 2), done.err
    assert f"{NAME}.toml: the file of the cluster {NAME} is gone" in done.err
    assert f"run: pipeline rollout abort {NAME} --number 1" in done.err
    ended = site.run("rollout", "abort", NAME, "--number", "1")
    assert ended.exit_code == 0 and "given up" in ended.out, ended.err
    assert folders.is_at_its_end(folder)


def test_with_hooks_a_file_that_only_has_them_is_enough(site: Cluster) -> None:
    folder = renamed(site, replace(ORDER, hooks=("ceph",)))
    told = site.run("rollout", "abort", NAME)
    assert told.exit_code == 2 and "run:" not in told.err
    assert "one with [cluster] and what [rollout] says of ceph will do" in told.err
    site.write(f"recipes/clusters/{NAME}.toml", f'[cluster]\nname = "{NAME}"\n[rollout]\nhooks = ["ceph"]\n')
    assert load_cluster(NAME, load_site(site.path / "pipeline.toml")).rollout.hooks == ("ceph",)
    ended = site.run("rollout", "abort", NAME)
    assert ended.exit_code == 0, ended.err
    assert folders.is_at_its_end(folder)
