"""Publishing by copying: the copy is what an overlay of the same layers shows."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_versions import Place, make_place, make_site, marked, private_mounts, says

from pipeline.chroot import syscalls
from pipeline.errors import PipelineError
from pipeline.publish.copied import copy_version
from pipeline.publish.publication import publication, publish, rollback
from pipeline.publish.restoring import restore
from pipeline.publish.unpublishing import unpublish
from pipeline.store.tree import OPAQUE
from tests.trees import tree_entries

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root"),
    pytest.mark.disk,
]

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
ODD = b"odd \xff\\name"
LONG = "/".join(["d" * 200] * 15)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with private_mounts():
        yield make_place(tmp_path, "copy")


def base(root: Path) -> None:
    for name in ("etc", "bin", "dev", "var/log", "gone/deep", "swap/old", "merged/a", "file-to-dir", LONG):
        (root / name).mkdir(parents=True)
    root.chmod(0o555)
    (root / "bin/su").write_text("su")
    os.chown(root / "bin/su", 0, 7)
    (root / "bin/su").chmod(0o4750)
    (root / "bin/ping").write_text("ping")
    os.setxattr(root / "bin/ping", "security.capability", CAPABILITY)
    os.setxattr(root / "etc", "user.note", b"\x00\xff")
    os.setxattr(root / "etc", "trusted.note", b"1")
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(root / "dev/sda", stat.S_IFBLK | 0o660, os.makedev(8, 0))
    os.mkfifo(root / "dev/pipe")
    os.symlink("/etc/issue", root / "etc/link")
    os.symlink(ODD, os.fsencode(root) + b"/etc/" + ODD)
    Path(os.fsdecode(os.fsencode(root) + b"/" + ODD)).write_text("odd")
    with (root / "var/log/lastlog").open("wb") as sparse:
        sparse.truncate(50_000_000)
        sparse.seek(20_000_000)
        sparse.write(b"last")
    for name in ("etc/a", "bin/b", "var/c"):
        (root / "one").exists() or (root / "one").write_text("one")
        os.link(root / "one", root / name)
    (root / "gone/deep/file").write_text("x")
    (root / "swap/old/file").write_text("x")
    (root / "merged/a/below").write_text("x")
    (root / "file-to-dir/below").write_text("hidden, then shown no more")
    (root / "dir-to-file").write_text("x")
    (root / LONG / "deep").write_text("deep")
    for path in [*root.rglob("*"), root]:
        os.utime(path, ns=(10**18 + 5, 10**18 + 123_456_789), follow_symlinks=False)


def change(root: Path) -> None:
    os.mknod(root / "gone", stat.S_IFCHR, 0)
    (root / "swap").mkdir()
    os.setxattr(root / "swap", OPAQUE, b"y")
    (root / "swap/new").write_text("new")
    (root / "merged/a").mkdir(parents=True)
    (root / "merged/a/above").write_text("x")
    (root / "merged").chmod(0o711)
    (root / "file-to-dir").write_text("a file now")
    (root / "dir-to-file").mkdir()
    (root / "dir-to-file/in").write_text("x")
    (root / "etc").mkdir()
    os.mknod(root / "etc/a", stat.S_IFCHR, 0)


def again(root: Path) -> None:
    (root / "gone").mkdir()
    os.setxattr(root / "gone", OPAQUE, b"y")
    (root / "gone/back").write_text("x")
    os.mknod(root / "file-to-dir", stat.S_IFCHR, 0)
    (root / "two").write_text("2")
    os.link(root / "two", root / "deux")


def test_a_copy_is_what_an_overlay_of_the_same_layers_shows(place: Place, tmp_path: Path) -> None:
    version = place.version(base, change, again)
    copy_version(place.store, version, tmp_path / "copy")
    overlay = make_site(tmp_path, "overlay", place.store.path, tmp_path / "mounted")
    shown = publish(overlay, place.store, version)
    copied = tree_entries(tmp_path / "copy")
    assert copied == tree_entries(shown)
    found = {entry.path: entry for entry in copied}
    assert found["gone/back"].type == "file"
    assert not {"gone/deep", "swap/old", "file-to-dir", "etc/a"} & set(found)
    assert (found["bin/su"].mode, found["bin/su"].gid) == ("4750", 7)
    assert found["var/c"].hardlink == "bin/b"
    assert found["two"].hardlink == "deux"
    assert not any(name.startswith("trusted.overlay") for entry in copied for name in entry.xattrs or {})
    lastlog = (tmp_path / "copy/var/log/lastlog").stat()
    assert (lastlog.st_size, lastlog.st_blocks < 100) == (50_000_000, True)


def test_two_copies_and_the_store_share_nothing_writable(place: Place) -> None:
    version = place.version(base)
    publish(place.site, place.store, version)
    publish(place.site, place.store, place.of_layers(version.layers))
    for name in ("web-1", "web-2"):
        with (place.site.images / name / "one").open("a") as file:
            file.write(name)
    assert (place.site.images / "web-1/one").read_text() == "oneweb-1"
    assert (place.site.images / "web-1/var/c").read_text() == "oneweb-1"
    assert (place.store.layer_tree(version.layers[0]) / "one").read_text() == "one"


def test_copies_are_published_rolled_back_and_taken_away(place: Place) -> None:
    for text in ("one", "two"):
        publish(place.site, place.store, place.version(says(text)))
    assert rollback(place.site, place.store, "web").makes is None
    assert (place.site.images / "web/motd").read_text() == "one"
    assert restore(place.site, place.store) == ()
    unpublish(place.site, place.store, "web", 2)
    assert sorted(os.listdir(place.site.images)) == ["web", "web-1"]
    unpublish(place.site, place.store, "web", None)
    assert os.listdir(place.site.images) == []


def test_a_version_keeps_its_way_when_the_site_changes_it(place: Place) -> None:
    one = place.version(says("one"))
    publish(place.site, place.store, one)
    mounting = place.with_mode("overlay")
    publish(mounting.site, place.store, one)
    publish(mounting.site, place.store, place.version(says("two")))
    assert publication(place.store, "web").directories == {1: "copy", 2: "overlay"}


def test_what_a_killed_process_left_half_copied_is_swept(place: Place) -> None:
    (place.site.images / ".web-7.tree/deep").mkdir(parents=True)
    (place.site.images / ".web-1.tree").mkdir()
    (place.site.images / ".web-site-7.tree").mkdir()
    publish(place.site, place.store, place.version(says("one")))
    assert sorted(os.listdir(place.site.images)) == [".web-site-7.tree", "web", "web-1"]


def test_a_leftover_that_cannot_be_removed_is_told_and_hinders_nothing(place: Place) -> None:
    site, images = place.site, place.site.images
    one, two = place.version(says("one")), place.version(says("two"))
    publish(site, place.store, one)
    publish(site, place.store, two)
    told: list[str] = []
    left = images / ".web-1.tree/etc/motd"
    with marked(images / "web-1/etc/motd"):
        unpublish(site, place.store, "web", 1, note=told.append)
        assert publication(place.store, "web").directories == {2: "copy"}
        publish(site, place.store, one, note=told.append)
        assert (images / "web/etc/motd").read_text() == "one"
        assert rollback(site, place.store, "web").version == two
        assert len(told) == 2
        for text in told:
            assert text.startswith(f"{left}: the leftover .web-1.tree cannot be removed: Operation not perm")
            assert f"lsattr -d {left} {left.parent} shows i or a; chattr -i -a" in text
        with marked(images / "web-1/etc/motd"):  # a second one finds a name of its own
            unpublish(site, place.store, "web", 1, force=True)
            assert {".web-1.tree", ".web-1.1.tree"} < set(os.listdir(images))
    publish(site, place.store, two)
    assert sorted(os.listdir(images)) == ["web", "web-2"]


def test_a_full_disk_is_told_and_leaves_nothing(place: Place) -> None:
    def fill(root: Path) -> None:
        (root / "big").write_bytes(os.urandom(3_000_000))

    version = place.version(fill)
    place.site.images.mkdir()
    syscalls.mount("none", str(place.site.images), "tmpfs", 0, "size=2m")
    with pytest.raises(PipelineError, match=r"web@1 cannot be copied: No space left[^$]*make room"):
        publish(place.site, place.store, version)
    assert os.listdir(place.site.images) == []
    assert publication(place.store, "web").directories == {}
    syscalls.mount("none", str(place.site.images), "tmpfs", syscalls.MS_REMOUNT, "size=9m")
    publish(place.site, place.store, version)


def test_what_lies_beside_from_a_killed_run_hinders_neither_rollback_nor_unpublish(place: Place) -> None:
    for text in ("one", "two"):
        version = place.version(says(text))
    publish(place.site, place.store, version)
    (place.site.images / ".web-1.tree/left").mkdir(parents=True)
    rollback(place.site, place.store, "web", to=1)
    (place.site.images / ".web-2.tree/left").mkdir(parents=True)
    unpublish(place.site, place.store, "web", 2)
    assert sorted(os.listdir(place.site.images)) == ["web", "web-1"]


def test_a_target_that_is_in_the_way_is_told(place: Place, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(PipelineError, match="there is in the way"):
        copy_version(place.store, place.version(says("one")), tmp_path / "there")
    assert os.listdir(tmp_path / "there") == []


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_where_the_file_system_can_a_copy_shares_blocks_with_the_store(tmp_path: Path, kind: str) -> None:
    mkfs = shutil.which(f"mkfs.{kind}")
    if mkfs is None or not os.path.exists("/dev/loop-control"):
        pytest.skip(f"{kind} cannot be made here")
    disk, mnt = tmp_path / "disk", tmp_path / "mnt"
    mnt.mkdir()
    with disk.open("wb") as file:
        file.truncate(400_000_000)
    subprocess.run([mkfs, "-q", disk], check=True)
    with private_mounts():
        if subprocess.run(["mount", "-o", "loop", disk, mnt]).returncode != 0:
            pytest.skip("it cannot be mounted here")
        place = make_place(mnt / "site", "copy")

        def fill(root: Path) -> None:
            (root / "big").write_bytes(os.urandom(50_000_000))

        version = place.version(fill)
        os.sync()
        before = shutil.disk_usage(mnt).used
        publish(place.site, place.store, version)
        assert shutil.disk_usage(mnt).used - before < 5_000_000
        assert (place.site.images / "web/big").read_bytes() == (
            place.store.layer_tree(version.layers[0]) / "big"
        ).read_bytes()
