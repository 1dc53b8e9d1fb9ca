"""A version's directory is there and complete where nodes are installed from, or what it lacks is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cluster.fanout import Target as Reached
from pipeline.cluster.fanout import Way
from pipeline.cluster.head import Head
from pipeline.cluster.livenodes import as_configuration
from pipeline.publish.directories import edits
from pipeline.publish.publication import publish
from pipeline.publish.record import directory
from pipeline.rollout.model import Finding, Target
from pipeline.rollout.trees import (
    Tree,
    lost,
    on_head,
    on_provisioners,
    provisioner_findings,
    published,
    tree,
)
from tests.integration.loopback_sshd import loopback_sshd
from tests.integration.published_versions import Place, make_place, private_mounts


def base(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/old").write_text("old")
    (root / "etc/motd").write_text("1")
    (root / "boot").mkdir()


def stage(root: Path) -> None:
    """Deletes ``etc/old``, changes ``etc/motd``."""
    (root / "etc").mkdir(exist_ok=True)
    os.mknod(root / "etc/old", 0o020000, 0)
    (root / "etc/motd").write_text("two")
    (root / "etc/caf\udce9").write_text("no UTF-8")
    (root / "etc/a\nb").symlink_to("motd")


@pytest.fixture(params=["overlay", "copy"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with private_mounts():
        yield make_place(tmp_path, request.param)


@pytest.fixture
def made(place: Place) -> Tree:
    """A version that is published."""
    version = place.version(base, stage)
    publish(place.site, place.store, version)
    path = str(directory(place.site, version.image, version.number))
    return tree(place.store, Target("web-1", "web", version.number, path), version)


def found(place: Place, tree: Tree, *ignore: str) -> list[Finding]:
    return on_head(place.site, place.store, Head(), [tree], ignore)


def test_a_complete_directory_is_nothing_to_tell(place: Place, made: Tree) -> None:
    assert list(published(place.store, made.target)) == []
    assert found(place, made) == []
    assert lost(Head(), [made.target]) == []


def test_a_version_that_is_not_published_is_told_with_the_command(place: Place) -> None:
    version = place.version(base)
    target = Target("web-1", "web", version.number, str(directory(place.site, "web", 1)))
    (finding,) = published(place.store, target)
    assert (finding.severity, finding.command) == ("error", "pipeline publish web@1")


def test_what_was_changed_by_hand_is_an_error_and_more_files_a_warning(place: Place, made: Tree) -> None:
    root = Path(made.target.path)
    (root / "etc/motd").chmod(0o600)
    (root / "etc/caf\udce9").unlink()
    (root / "boot/initrd-2.6").write_text("by the cluster manager")
    (root / "boot/more").write_text("by hand")
    error, warning = found(place, made)
    assert (error.severity, warning.severity) == ("error", "warning")
    assert error.what.endswith("/etc/motd is changed (mode 600 for 644)")
    assert "is missing; " in error.what
    assert warning.what.endswith("has what the version has not: /boot/more")
    if place.site.publish_mode == "overlay":
        assert str(edits(place.store, root) / "upper") in error.hint
    else:
        assert "unpublish" in error.hint
    assert found(place, made, "/etc/motd", "/boot/", "/etc/caf*") == []


def test_a_directory_that_is_gone_is_told_with_the_command(place: Place, made: Tree) -> None:
    elsewhere = Target("web-1", "web", 1, f"{made.target.path}-gone")
    gone = Tree(elsewhere, made.records, made.digest)
    (finding,) = found(place, gone)
    assert finding.what == f"head node: there is no directory {elsewhere.path}"
    assert finding.command == "pipeline publish web@1"
    assert lost(Head(), [made.target, elsewhere]) == [elsewhere]


def test_the_head_nodes_files_are_seen_below_its_root(place: Place, made: Tree, tmp_path: Path) -> None:
    root = tmp_path / "head"
    below = root / made.target.path.lstrip("/")
    below.parent.mkdir(parents=True)
    head = Head(root=str(root))
    assert on_head(place.site, place.store, head, [made], ())[0].severity == "error"
    below.symlink_to(made.target.path)
    assert on_head(place.site, place.store, head, [made], ()) == []


def test_what_provisioning_nodes_lack_is_told_over_ssh(place: Place, made: Tree, tmp_path: Path) -> None:
    (tmp_path / "sshd").mkdir()
    path = Path(made.target.path)
    with loopback_sshd(tmp_path / "sshd") as (head, _):
        options = as_configuration([word for word in head.ssh_options if word not in ("-F", "none")])
        nodes = [
            Reached("prov1", "127.0.0.1", options=options),
            Reached("prov2", "127.0.0.1", options=options),
            Reached("prov3", "127.0.0.1", 1, options=tuple(each for each in options if "Port" not in each)),
        ]
        away = Tree(Target("web-9", "web", 9, f"{path}-away"), (), "d")
        lacking = on_provisioners([made, away], nodes, Way(seconds=20, connect_seconds=5))
        assert lacking["prov1"] == lacking["prov2"] == (f"has no {path}-away yet",)
        assert "could not be looked into" in lacking["prov3"][0]
        (path / "etc/motd").write_text("other")
        lacking = on_provisioners([made], nodes[:2], Way(seconds=20))
        assert set(lacking.values()) == {(f"has another {path}",)}
    told = provisioner_findings(lacking)
    assert [(each.severity, each.where) for each in told] == [("warning", "prov[1-2]")]
    assert on_provisioners([made], [], Way()) == {}
