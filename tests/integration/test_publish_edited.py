"""What was changed by hand: told as it is in the published directory, and never lost without a word."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_versions import Place, make_place, private_mounts, reboot, says

from pipeline.chroot import syscalls
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.publish.handedits import hand_edits, kept_edits
from pipeline.publish.publication import publish
from pipeline.publish.restoring import restore
from pipeline.publish.unpublishing import planned_unpublish, unpublish
from pipeline.store.records import Version

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture(params=["overlay", "copy"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    with private_mounts():
        yield make_place(tmp_path, request.param)


def base(root: Path) -> None:
    for name in ("etc/rc.d/init.d", "opt", "srv/old", "srv/again", "lib"):
        (root / name).mkdir(parents=True)
    for name in (
        "etc/rc.d/init.d/functions",
        "etc/passwd",
        "etc/group",
        "srv/old/x",
        "srv/again/y",
        "lib/so",
    ):
        (root / name).write_text(name)
    os.link(root / "lib/so", root / "lib/so.1")
    (root / "link").symlink_to("etc")


def above(root: Path) -> None:
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("above")


def edit(root: Path) -> None:
    """Something of each kind."""
    shutil.rmtree(root / "etc/rc.d/init.d")
    (root / "etc/rc.d/init.d").mkdir()
    (root / "etc").chmod(0o777)
    (root / "opt/new").mkdir()
    (root / "opt/new/in").write_text("in")
    (root / "opt/caf\udce9\\").touch()
    (root / "etc/passwd").write_text("hacks")  # as long as it was
    os.chown(root / "etc/group", 0, 7)
    shutil.rmtree(root / "srv/old")
    (root / "srv/old").write_text("a file now")
    (root / "link").unlink()
    (root / "link").symlink_to("opt")
    os.setxattr(root / "lib/so", "user.note", b"1")
    # What only looks changed.
    shutil.rmtree(root / "srv/again")
    (root / "srv/again").mkdir()
    (root / "srv/again/y").write_text("srv/again/y")


TOLD = [
    "~ /etc  (dir, mode 0755 → 0777)",
    "~ /etc/group  (gid 0 → 7)",
    "~ /etc/passwd  (content)",
    "- /etc/rc.d/init.d/functions",
    "~ /lib/so  (xattrs user.note)",
    "~ /lib/so.1  (xattrs user.note)",
    "~ /link  (link, target etc → opt)",
    "+ /opt/caf\\xe9\\\\",
    "+ /opt/new  (dir)",
    "+ /opt/new/in",
    "~ /srv/old  (type dir → file, mode 0755 → 0644, content)",
]


def show(place: Place, capsys: pytest.CaptureFixture[str], label: str = "web@1") -> list[str]:
    """The lines of ``show`` from the first one that tells of edits on."""
    assert main(["show", label, "--site", str(place.site.file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next((number for number, line in enumerate(lines) if "by hand" in line), len(lines))
    return [line.strip() for line in lines[first:]]


def paths(place: Place, version: Version) -> list[str]:
    return [change.path for change in hand_edits(place.site, place.store, version)]


def test_every_kind_of_edit_is_told_and_nothing_else(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    version = place.version(base, above)
    root = publish(place.site, place.store, version)
    assert show(place, capsys) == []
    edit(root)
    heading, *told = show(place, capsys)
    assert heading == f"edited by hand in {root}:"
    # In a mount a file with several names is told by the one that was written.
    copied = place.site.publish_mode == "copy"
    assert told == [line for line in TOLD if copied or "/lib/so.1" not in line]


def test_edits_of_a_mount_are_no_edits_of_a_later_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with private_mounts():
        mounting = make_place(tmp_path)
        copying = mounting.with_mode("copy")
        version = mounting.version(base, above)
        mounting.with_mode("overlay")
        root = publish(mounting.site, mounting.store, version)
        (root / "srv/hand").write_text("hand")
        unpublish(mounting.site, mounting.store, "web", None)
        upper = mounting.store.path / "published/web-1/upper"
        kept = f"edited by hand when it was mounted, kept in {upper}"
        assert show(mounting, capsys) == [f"{kept}, mounted again when it is published:", "+ /srv/hand"]
        said: list[str] = []
        publish(copying.site, copying.store, version, note=said.append)
        before = "web@1 was changed by hand when it was mounted before"
        assert said == [f"{before}; its copy does not have that: /srv/hand"]
        assert show(copying, capsys) == [f"{kept}, not in {root}:", "+ /srv/hand"]
        (root / "etc/passwd").write_text("hack")
        assert show(copying, capsys)[:2] == [
            f"edited by hand in {root}:",
            "~ /etc/passwd  (size 5 → 4, content)",
        ]
        assert paths(copying, version) == ["/etc/passwd"]
        assert [each.path for each in kept_edits(copying.site, copying.store, version)] == ["/srv/hand"]
        unpublish(copying.site, copying.store, "web", None, force=True)
        mounting.with_mode("overlay")
        words = ["publish", "web@1", "--site", str(mounting.site.file)]
        assert main([*words, "--dry-run"]) == 0
        again = f"{before}; its directory has that again: /srv/hand\n"
        assert capsys.readouterr().out.endswith(again)
        assert main(words) == 0
        assert capsys.readouterr().out.endswith(again)
        assert main(words) == 0
        assert "by hand" not in capsys.readouterr().out
        assert paths(mounting, version) == ["/srv/hand"]
        reboot(mounting)
        restore(mounting.site, mounting.store)
        assert paths(mounting, version) == ["/srv/hand"]


def test_what_is_mounted_in_a_copy_is_no_edit(tmp_path: Path) -> None:
    with private_mounts():
        place = make_place(tmp_path, "copy")
        version = place.version(base, above)
        root = publish(place.site, place.store, version)
        (tmp_path / "host").mkdir()
        (tmp_path / "host/file").touch()
        for source, target in (("host", "opt"), ("host/file", "etc/passwd")):
            syscalls.mount(str(tmp_path / source), str(root / target), flags=syscalls.MS_BIND)
        assert paths(place, version) == []
        (root / "etc/group").write_text("edited")
        assert paths(place, version) == ["/etc/group"]


def test_a_copy_that_was_changed_is_taken_away_only_when_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place(tmp_path, "copy")
    for text in ("one", "two"):
        publish(place.site, place.store, place.version(says(text)))
    root = place.site.images / "web-1"
    words = ["unpublish", "web@1", "--site", str(place.site.file)]
    for number in range(5):
        (root / f"etc/{number}").touch()
    for more in ([], ["--dry-run"]):
        assert main([*words, *more]) == 1
        told = capsys.readouterr().err
        assert f"{root} is a copy that was changed by hand: /etc/0, /etc/1, /etc/2 and 2 more" in told
        assert "pipeline unpublish --force web@1\n" in told
    with pytest.raises(PipelineError, match=r"run: pipeline unpublish --force web$"):
        unpublish(place.site, place.store, "web", None)
    assert (root / "etc/4").exists()
    assert len(planned_unpublish(place.site, place.store, "web", None, force=True)) == 2
    assert main([*words, "--force"]) == 0
    assert not root.exists()
    unpublish(place.site, place.store, "web", None)


def test_a_copy_that_cannot_be_compared_is_taken_for_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = make_place(tmp_path, "copy")
    version = place.version(says("one"))
    publish(place.site, place.store, version)
    shutil.rmtree(place.store.layer_tree(version.layers[0]))
    with pytest.raises(PipelineError, match="could not be found out: web@1 needs the layer"):
        unpublish(place.site, place.store, "web", None)
    assert "what was changed by hand could not be found out: web@1 needs the layer" in show(place, capsys)[0]
    unpublish(place.site, place.store, "web", None, force=True)
    assert os.listdir(place.site.images) == []
