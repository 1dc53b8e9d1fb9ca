"""The stages edit, settings, file and overlay in a real chroot."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_root import SmallRoot

from pipeline.errors import PipelineError
from pipeline.stages.base import Stage
from pipeline.stages.edit import Edit
from pipeline.stages.file import File
from pipeline.stages.overlay import Overlay
from pipeline.stages.settings import Settings
from tests.trees import ACCESS_ACL, DEFAULT_ACL, SHARED_ACL, deep

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def root(tmp_path: Path) -> SmallRoot:
    return SmallRoot(tmp_path / "root")


def error_of(run: Callable[[], None]) -> str:
    with pytest.raises(PipelineError) as caught:
        run()
    return str(caught.value)


def insert(file: str = "/etc/x") -> Edit:
    return Edit(name="x", file=file, after="^a$", insert="b")


WRITERS: list[tuple[Stage, str]] = [
    (insert("/etc/out/x"), "b"),
    (Settings(name="x", file="/etc/out/x", set={"s": {"k": "v"}}), "[s]"),
    (Settings(name="x", file="/etc/out/new", set={"s": {"k": "v"}}, create=True), "[s]"),
    (File(name="x", path="/etc/out/x", create="new"), "new"),
    (File(name="x", path="/etc/out/new", create="new"), "new"),
]


def test_an_edited_file_keeps_owner_mode_and_extended_attributes(root: SmallRoot) -> None:
    file = root.image / "etc/x"
    file.write_bytes(b"a\nno utf-8: \xff\n")
    os.chown(file, 120, 162)
    file.chmod(0o4640)
    os.setxattr(file, "user.origin", b"rpm")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr(file, "security.capability", capability)
    os.setxattr(root.image / "etc", DEFAULT_ACL, SHARED_ACL)
    root.run(insert())
    assert root.path("/etc/x").read_bytes() == b"a\nb\nno utf-8: \xff\n"
    assert root.look("/etc/x") == (120, 162, "4640")
    assert os.getxattr(root.path("/etc/x"), "user.origin") == b"rpm"
    assert os.getxattr(root.path("/etc/x"), "security.capability") == capability
    assert ACCESS_ACL not in os.listxattr(root.path("/etc/x"))
    assert root.changed() == ["etc/x"]


def test_an_edit_that_is_already_made_leaves_the_image_alone(root: SmallRoot) -> None:
    (root.image / "etc/x").write_text("a\nb\n")
    root.run(insert())
    assert root.changed() == []


def test_the_file_that_a_link_leads_to_is_edited_and_the_link_stays(root: SmallRoot) -> None:
    (root.image / "etc/real").write_text("a\n")
    (root.image / "etc/x").symlink_to("/etc/real")
    root.run(insert())
    assert root.text("/etc/real") == "a\nb\n"
    assert root.changed() == ["etc/real"]


@pytest.mark.parametrize(("stage", "expected"), WRITERS)
def test_a_link_out_of_the_image_leads_to_the_same_path_within_it(
    root: SmallRoot, tmp_path: Path, stage: Stage, expected: str
) -> None:
    outside = Path(f"/srv{tmp_path}")  # where tests may write, and a path that an image may have
    inside = root.image / str(outside).lstrip("/")
    inside.mkdir(parents=True)
    (inside / "x").write_text("a\n")
    (root.image / "etc/out").symlink_to(outside)
    root.run(stage)
    name = "new" if "new" in getattr(stage, "file", getattr(stage, "path", "")) else "x"
    assert expected in root.text(f"{outside}/{name}")
    assert not outside.exists()


def test_nothing_is_written_to_the_directory_of_the_host_that_a_link_names(
    root: SmallRoot, tmp_path: Path
) -> None:
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    (outside / "x").write_text("a\n")
    (tree / "etc/out").mkdir(parents=True)
    (tree / "etc/out/x").write_text("new")
    (root.image / "etc/out").symlink_to(outside)
    overlay = Overlay(name="x", tree="t")
    for stage, given in [*((stage, None) for stage, _ in WRITERS), (overlay, tree)]:
        message = error_of(lambda stage=stage, given=given: root.run(stage, tree=given))  # type: ignore[misc]
        assert f"/etc/out is a link to {outside}, which does not exist in the image" in message
    assert [path.name for path in outside.iterdir()] == ["x"]
    assert (outside / "x").read_text() == "a\n"
    assert root.changed() == []


def test_a_link_to_itself_is_told(root: SmallRoot) -> None:
    (root.image / "etc/x").symlink_to("y")
    (root.image / "etc/y").symlink_to("x")
    assert "/etc/x: is a link that leads back to itself" in error_of(lambda: root.run(insert()))


def test_a_missing_file_is_told_with_what_has_a_similar_name(root: SmallRoot) -> None:
    (root.image / "etc/neutron.conf").touch()
    message = error_of(lambda: root.run(insert("/etc/neutrn.conf")))
    assert "/etc/neutrn.conf: does not exist" in message and "there is /etc/neutron.conf" in message


@pytest.mark.parametrize("options", [{"create": "x"}, {"touch": True}, {"link": "x"}])
def test_a_file_in_a_folder_that_is_missing_is_told_by_its_name_with_a_way_to_make_the_folder(
    root: SmallRoot, options: dict[str, Any]
) -> None:
    with pytest.raises(PipelineError) as caught:
        root.run(File(name="x", path="/opt/new/deep/f", **options))
    [problem] = caught.value.problems
    assert (problem.where, problem.message) == ("/opt/new/deep/f", "/opt/new does not exist in the image")
    assert problem.hint is not None and 'path = "/opt/new/deep", directory = true' in problem.hint
    root.run(File(name="x", path="/opt/new/deep", directory=True))
    root.run(File(name="x", path="/opt/new/deep/f", **options))


def test_a_directory_cannot_be_edited(root: SmallRoot) -> None:
    assert "/etc: is a directory; expected a regular file" in error_of(lambda: root.run(insert("/etc")))


@pytest.mark.parametrize(
    "options", [{"directory": True, "mode": "0700"}, {"mode": "0700"}, {"directory": True}]
)
def test_a_link_to_a_fresh_filesystem_itself_is_refused(root: SmallRoot, options: dict[str, Any]) -> None:
    (root.image / "var/tmp").mkdir(parents=True)
    (root.image / "opt/z").symlink_to("/var/tmp")
    message = error_of(lambda: root.run(File(name="x", path="/opt/z", **options)))
    assert "/opt/z: /var/tmp is not part of the image" in message


def test_a_path_that_leads_to_a_fresh_filesystem_is_refused(root: SmallRoot) -> None:
    (root.image / "var").mkdir()
    (root.image / "var/run").symlink_to("../run")
    stage = File(name="x", path="/var/run/x", touch=True)
    assert "/run is not part of the image" in error_of(lambda: root.run(stage))


def test_a_path_that_leads_to_what_no_layer_keeps_is_refused(root: SmallRoot, tmp_path: Path) -> None:
    (root.image / "var/log").mkdir(parents=True)
    (root.image / "opt/log").symlink_to("/var/log")
    (root.image / "etc/backup").symlink_to("passwd-")
    (root.image / "etc/passwd-").write_text("a = 1\n")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "yum.log").write_text("x")
    for stage in (
        File(name="x", path="/opt/log/yum.log", touch=True),
        File(name="x", path="/opt/log/dnf.log", link="other"),
        Overlay(name="x", tree="t", destination="/opt/log"),
        Edit(name="x", file="/etc/backup", insert="b = 1", after="a = 1"),
    ):
        laid = tree if isinstance(stage, Overlay) else None
        with pytest.raises(PipelineError, match="is not kept: logs, caches"):
            root.run(stage, tree=laid)
    root.run(File(name="x", path="/etc/passwd-", remove=True))
    assert stat.S_ISCHR((root.upper / "etc/passwd-").lstat().st_mode)


def test_what_edit_could_not_find_names_file_line_and_pattern(root: SmallRoot) -> None:
    (root.image / "etc/x").write_text("start() {\n  aa\n}\n")
    stage = Edit(name="x", file="/etc/x", within="^start", after="^a$", insert="b")
    assert "/etc/x:1: no line in the block of lines 1-3 matches after = '^a$'" in error_of(
        lambda: root.run(stage)
    )


def test_nothing_to_delete_becomes_a_note(root: SmallRoot) -> None:
    (root.image / "etc/x").write_text("a\n")
    root.run(Edit(name="x", file="/etc/x", delete="^zzz$"))
    assert len(root.notes) == 1 and "nothing to delete" in root.notes[0]


def test_settings_are_set_and_removed_in_place(root: SmallRoot) -> None:
    file = root.image / "etc/nova.conf"
    file.write_text("[DEFAULT]\nverbose=True\n[libvirt]\n#vif_driver=x\n")
    os.chown(file, 0, 162)
    file.chmod(0o640)
    values: dict[str, dict[str, str | bool | int | tuple[str, ...]]] = {
        "libvirt": {"vif_driver": "mlnxvif.vif.MlxEthVIFDriver"},
        "DEFAULT": {"debug": True, "workers": 4, "filters": ("a", "b")},
    }
    root.run(Settings(name="x", file="/etc/nova.conf", set=values, remove={"DEFAULT": ("verbose",)}))
    assert root.text("/etc/nova.conf") == (
        "[DEFAULT]\ndebug=True\nworkers=4\nfilters=a\nfilters=b\n"
        "[libvirt]\n#vif_driver=x\nvif_driver=mlnxvif.vif.MlxEthVIFDriver\n"
    )
    assert root.look("/etc/nova.conf") == (0, 162, "0640")


def test_settings_make_a_missing_file_only_when_told_to(root: SmallRoot) -> None:
    stage = Settings(name="x", file="/etc/new", set={"s": {"k": "v"}})
    assert "does not exist" in error_of(lambda: root.run(stage))
    root.run(Settings(name="x", file="/etc/new", set={"s": {"k": "v"}}, create=True))
    assert root.text("/etc/new") == "[s]\nk = v\n"
    assert root.look("/etc/new") == (0, 0, "0644")


def test_touching_makes_an_empty_file_with_the_owner_that_the_image_knows(root: SmallRoot) -> None:
    stage = File(name="x", path="/etc/eswitchd.log", touch=True, owner="eswitch:nova")
    root.run(stage)
    assert root.look("/etc/eswitchd.log") == (120, 162, "0644") and root.text("/etc/eswitchd.log") == ""


def test_touching_a_file_that_is_there_keeps_its_content(root: SmallRoot) -> None:
    (root.image / "etc/x").write_text("a\n")
    root.run(File(name="x", path="/etc/x", touch=True))
    assert root.changed() == []


def test_an_unknown_owner_is_told_with_the_nearest(root: SmallRoot) -> None:
    message = error_of(lambda: root.run(File(name="x", path="/etc/x", touch=True, owner="eswitchd")))
    assert "/etc/passwd: the image has no user 'eswitchd'" in message and "'eswitch'" in message


def test_files_directories_and_links_are_made_and_removed(root: SmallRoot) -> None:
    root.run(File(name="x", path="/opt/a/b", directory=True, owner="120:130", mode="2750"))
    root.run(File(name="x", path="/opt/a/b/c", create="text\n", mode="0600"))
    root.run(File(name="x", path="/opt/link", link="a/b", owner="eswitch"))
    assert root.look("/opt/a/b") == (120, 130, "2750") and root.look("/opt/a") == (0, 0, "0755")
    assert root.text("/opt/a/b/c") == "text\n" and root.look("/opt/a/b/c") == (0, 0, "0600")
    assert os.readlink(root.path("/opt/link")) == "a/b" and root.look("/opt/link")[0] == 120
    root.run(File(name="x", path="/opt/link", link="/nowhere"))
    assert os.readlink(root.path("/opt/link")) == "/nowhere"
    root.run(File(name="x", path="/opt/link", remove=True))
    root.run(File(name="x", path="/opt/a", remove=True))
    root.run(File(name="x", path="/opt/a", remove=True))
    assert root.changed() == [] and not root.path("/opt/a").exists()
    assert root.notes == ["/opt/a: nothing to remove"]


def test_a_directory_is_removed_however_deep_it_is(root: SmallRoot) -> None:
    (root.image / "opt/deep").mkdir()
    with deep(root.image / "opt/deep", 1500):
        root.run(File(name="x", path="/opt/deep", remove=True))
    assert stat.S_ISCHR((root.upper / "opt/deep").lstat().st_mode)


def test_removing_a_file_of_the_image_leaves_a_whiteout(root: SmallRoot) -> None:
    (root.image / "etc/x").write_text("a\n")
    root.run(File(name="x", path="/etc/x", remove=True))
    assert stat.S_ISCHR((root.upper / "etc/x").lstat().st_mode)


def test_a_link_does_not_replace_a_file_and_a_file_no_directory(root: SmallRoot) -> None:
    stages = (File(name="x", path="/etc/passwd", link="y"), File(name="x", path="/etc", create="y"))
    assert "/etc/passwd: is a regular file" in error_of(lambda: root.run(stages[0]))
    assert "/etc: is a directory" in error_of(lambda: root.run(stages[1]))


def test_a_new_owner_keeps_setuid_and_capabilities(root: SmallRoot) -> None:
    file = root.image / "etc/x"
    file.touch()
    file.chmod(0o4755)
    root.run(File(name="x", path="/etc/x", owner="eswitch:eswitch"))
    assert root.look("/etc/x") == (120, 130, "4755")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "etc/eswitchd").mkdir(parents=True)
    (tree / "etc/eswitchd/eswitchd.conf.j2").write_text("vfs = {{ vfs }}\n")
    (tree / "etc/rc.local").write_text("#!/bin/sh\n")
    (tree / "etc/rc.local").chmod(0o700)
    (tree / "etc/plain").write_text("{{ no template }}\n")
    (tree / "etc/plain").chmod(0o666)
    (tree / "etc/link").symlink_to("plain")
    return tree


def test_an_overlay_lays_files_links_and_templates(root: SmallRoot, tree: Path) -> None:
    root.parameters = {"vfs": 16}
    root.run(Overlay(name="x", tree="t"), tree=tree)
    assert root.text("/etc/eswitchd/eswitchd.conf") == "vfs = 16\n"
    assert root.text("/etc/plain") == "{{ no template }}\n"
    assert os.readlink(root.path("/etc/link")) == "plain"
    assert root.look("/etc/rc.local") == (0, 0, "0755") and root.look("/etc/plain") == (0, 0, "0644")
    assert root.changed() == ["etc/eswitchd/eswitchd.conf", "etc/link", "etc/plain", "etc/rc.local"]


def test_an_overlay_gives_modes_and_owners_and_leaves_directories_of_the_image_alone(
    root: SmallRoot, tree: Path
) -> None:
    root.parameters = {"vfs": 16}
    (root.image / "etc").chmod(0o711)
    os.chown(root.image / "etc", 120, 0)
    modes = {"*": "0640", "etc/eswitchd": "0750", "*/rc.local": "0700"}
    stage = Overlay(
        name="x", tree="t", owner="root:nova", modes=modes, owners={"etc/eswitchd/*": "eswitch:eswitch"}
    )
    root.run(stage, tree=tree)
    assert root.look("/etc") == (120, 0, "0711")
    assert root.look("/etc/eswitchd") == (0, 162, "0750")
    assert root.look("/etc/eswitchd/eswitchd.conf") == (120, 130, "0640")
    assert root.look("/etc/rc.local") == (0, 162, "0700")


def test_an_overlay_follows_links_to_directories_of_the_image(root: SmallRoot, tmp_path: Path) -> None:
    (root.image / "usr/lib").mkdir(parents=True)
    (root.image / "lib").symlink_to("usr/lib")
    (tmp_path / "tree/lib/sub").mkdir(parents=True)
    (tmp_path / "tree/lib/sub/x").write_text("a")
    root.run(Overlay(name="x", tree="t"), tree=tmp_path / "tree")
    assert root.changed() == ["usr/lib/sub/x"]


def test_an_overlay_lays_below_a_destination_that_it_makes(root: SmallRoot, tree: Path) -> None:
    root.parameters = {"vfs": 1}
    root.run(Overlay(name="x", tree="t", destination="/opt/new/place"), tree=tree)
    assert root.text("/opt/new/place/etc/plain")


def test_an_overlay_again_changes_nothing(root: SmallRoot, tree: Path) -> None:
    root.parameters = {"vfs": 16}
    root.run(Overlay(name="x", tree="t"), tree=tree)
    before = [root.path(f"/{name}").lstat().st_ctime_ns for name in root.changed()]
    root.run(Overlay(name="x", tree="t"), tree=tree)
    assert [root.path(f"/{name}").lstat().st_ctime_ns for name in root.changed()] == before


def test_all_that_is_in_the_way_of_an_overlay_is_told_before_anything_is_laid(
    root: SmallRoot, tree: Path
) -> None:
    root.parameters = {"vfs": 16}
    (root.image / "etc/plain").mkdir()
    (root.image / "etc/eswitchd").write_text("a file")
    stage = Overlay(name="x", tree="t", owner="nobody-here")
    message = error_of(lambda: root.run(stage, tree=tree))
    assert "/etc/plain: the image has a directory where the tree has a file" in message
    assert "/etc/eswitchd: the image has a regular file where the tree has a directory" in message
    assert "no user 'nobody-here'" in message
    assert root.changed() == []


def test_all_that_is_wrong_with_a_tree_is_told_at_once(root: SmallRoot, tree: Path) -> None:
    (tree / "etc/other.j2").write_text("{{ missing }}")
    (tree / "etc/eswitchd/eswitchd.conf").write_text("twice")
    os.mkfifo(tree / "fifo")
    stage = Overlay(name="x", tree="t", modes={"etc/nothing*": "0600"})
    message = error_of(lambda: root.run(stage, tree=tree))
    assert "etc/other.j2: line 1" in message and "missing" in message
    assert "is laid as etc/eswitchd/eswitchd.conf, and so is" in message
    assert "fifo: is a fifo" in message
    assert "modes: nothing in the tree matches 'etc/nothing*'" in message
