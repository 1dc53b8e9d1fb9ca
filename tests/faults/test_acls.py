"""A default ACL on the folder that the store is in, as administrators set for those who share a project."""

from __future__ import annotations

import os
import stat

import pytest

from tests.faults.site import Site, add_shell, command_stage, file_stage
from tests.trees import DEFAULT_ACL, SHARED_ACL, acls

OVERLAY = '\n[[stage]]\nname = "tree"\ntype = "overlay"\ntree = "tree"\n'


@pytest.mark.parametrize("way", ["overlay", "copy"])
def test_nothing_of_an_image_inherits_the_acl_of_the_folder_of_the_store(site: Site, way: str) -> None:
    os.setxattr(site.path, DEFAULT_ACL, SHARED_ACL)
    site.settle()
    file = site.path / "pipeline.toml"
    file.write_text(file.read_text().replace("[site]", f'[site]\npublish = "{way}"'))
    add_shell(site.base)
    site.write("overlays/tree/srv/file", "x")
    site.recipe(file_stage("a"), OVERLAY, command_stage("c", "echo c >/etc/c; echo more >>/etc/passwd"))
    built = site.run("build")
    assert built.exit_code == 0, built.err
    image = site.images / "web"
    assert acls(image.resolve()) == []
    assert stat.S_IMODE((image / "etc/c").stat().st_mode) == 0o644
    checked = site.run("fsck")
    assert checked.exit_code == 0, checked.out
    (image / "etc/by-hand").write_text("x")
    (image / "etc/group").write_text("x")
    assert acls(image.resolve()) == []
