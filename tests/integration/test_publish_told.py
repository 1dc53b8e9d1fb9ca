"""What publishing refuses and tells, the verbs' documents, paths of all kinds, and the unit for systemd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from published_versions import Place, make_place, motd, pointer, private_mounts, reboot, says

from pipeline.chroot import syscalls
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.publish.mounted import MNT_EXPIRE, is_busy, is_mounted
from pipeline.publish.publication import not_mounted, publication, publish
from pipeline.publish.restoring import restore
from pipeline.publish.unpublishing import unpublish
from pipeline.store.mounts import mount_points

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with private_mounts():
        yield make_place(tmp_path)


@pytest.mark.parametrize("make", ["file", "filled", "link", "fifo"])
def test_what_somebody_else_put_at_the_directory_is_left_alone(place: Place, make: str) -> None:
    target = place.site.images / "web-1"
    place.site.images.mkdir()
    match make:
        case "file":
            target.write_text("mine")
        case "filled":
            (target / "mine").mkdir(parents=True)
        case "link":
            target.symlink_to("elsewhere")
        case "fifo":
            os.mkfifo(target)
    with pytest.raises(PipelineError, match="web-1 is in the way"):
        publish(place.site, place.store, place.version(says("one")))
    assert os.listdir(place.site.images) == ["web-1"]
    assert publication(place.store, "web").directories == {}


@pytest.mark.parametrize("make", ["file", "directory", "link"])
def test_what_somebody_else_put_at_the_link_is_left_alone(place: Place, make: str) -> None:
    link = place.site.images / "web"
    place.site.images.mkdir()
    match make:
        case "file":
            link.write_text("mine")
        case "directory":
            link.mkdir()
        case "link":
            link.symlink_to("/data/web-1")
    version = place.version(says("one"))
    with pytest.raises(PipelineError, match="web is in the way"):
        publish(place.site, place.store, version)
    assert os.listdir(place.site.images) == ["web"]


def test_a_mount_that_another_store_made_is_left_alone(place: Place, tmp_path: Path) -> None:
    publish(place.site, place.store, place.version(says("one")))
    other = make_place(tmp_path / "other")
    site = replace(other.site, images=place.site.images)
    with pytest.raises(PipelineError, match="something is mounted there"):
        publish(site, other.store, other.version(says("other")))
    assert motd(place) == "one"


def test_files_in_a_directory_that_was_not_mounted_again_are_told_and_the_others_are_mounted(
    place: Place,
) -> None:
    publish(place.site, place.store, place.version(says("one")))
    publish(place.site, place.store, place.version(says("two")))
    reboot(place)
    (place.site.images / "web-1/lost").touch()
    with pytest.raises(PipelineError, match="web-1 is in the way: it holds files") as error:
        restore(place.site, place.store)
    assert len(error.value.problems) == 1
    assert motd(place) == "two"


def test_what_is_in_use_stays_published(place: Place) -> None:
    for text in ("one", "two"):
        publish(place.site, place.store, place.version(says(text)))
    with (place.site.images / "web-1/motd").open():
        for number in (1, None):
            with pytest.raises(PipelineError, match="web-1 is in use, and stays published"):
                unpublish(place.site, place.store, "web", number)
        assert (motd(place), motd(place, "web-1")) == ("two", "one")
    unpublish(place.site, place.store, "web", 1)
    unpublish(place.site, place.store, "web", None)
    assert os.listdir(place.site.images) == []


def test_who_is_still_in_a_mount_that_was_detached_is_told(place: Place) -> None:
    version = place.version(says("one"), image="detached")  # other stores may have mounted a web@1
    target = publish(place.site, place.store, version)
    with subprocess.Popen(["cat"], cwd=target / "etc", stdin=subprocess.PIPE) as inside:
        syscalls.unmount(str(target), syscalls.MNT_DETACH)
        unpublish(place.site, place.store, "detached", None)
        with pytest.raises(
            PipelineError, match=rf"another mount has its hand edits[^$]*ps -fp {inside.pid}$"
        ):
            publish(place.site, place.store, version)
    publish(place.site, place.store, version)


def test_a_copy_that_is_in_use_stays_published(tmp_path: Path) -> None:
    place = make_place(tmp_path, "copy")
    for text in ("one", "two"):
        publish(place.site, place.store, place.version(says(text)))
    target = place.site.images / "web-1"
    with subprocess.Popen(["cat"], cwd=target / "etc", stdin=subprocess.PIPE):
        for number in (1, None):
            with pytest.raises(PipelineError, match=rf"web-1 is in use[^$]*lsof \+D {target}"):
                unpublish(place.site, place.store, "web", number)
        assert (motd(place), motd(place, "web-1")) == ("two", "one")
    unpublish(place.site, place.store, "web", None)
    assert os.listdir(place.site.images) == []


@pytest.mark.parametrize("mode", ["overlay", "copy"])
def test_what_was_left_mounted_in_a_directory_is_named_and_how_it_is_unmounted(
    place: Place, mode: str
) -> None:
    place = place.with_mode(mode)
    for text in ("one", "two"):
        publish(place.site, place.store, place.version(says(text)))
    target = place.site.images / "web-1"
    (target / "etc/a b").mkdir()
    syscalls.mount("tmpfs", str(target / "etc"), "tmpfs")
    (target / "etc/a b").mkdir()
    syscalls.mount("tmpfs", str(target / "etc/a b"), "tmpfs")
    with pytest.raises(PipelineError) as error:
        unpublish(place.site, place.store, "web", 1, force=True)
    (told,) = error.value.problems
    assert told.message == (
        f"{target} is in use, and stays published: something is mounted at {target}/etc/a b, {target}/etc"
    )
    assert told.command == f"umount '{target}/etc/a b' {target}/etc"
    subprocess.run(["sh", "-c", told.command], check=True)
    assert unpublish(place.site, place.store, "web", 1, force=True) == (target,)


def test_looking_whether_a_directory_is_in_use_never_unmounts_it(place: Place) -> None:
    target = publish(place.site, place.store, place.version(says("one")))
    with pytest.raises(OSError, match="temporarily unavailable"):
        syscalls.unmount(str(target), MNT_EXPIRE)  # what is left of one who was killed while looking
    for _ in range(3):
        assert not is_busy(target)
        assert is_mounted(target)
    with (target / "motd").open():
        assert is_busy(target)


def test_the_current_version_and_an_unpublished_one_are_not_taken_away(place: Place) -> None:
    publish(place.site, place.store, place.version(says("one")))
    with pytest.raises(PipelineError, match=r"web@1 is what .*/web points to"):
        unpublish(place.site, place.store, "web", 1)
    with pytest.raises(PipelineError, match="web@2 is not published"):
        unpublish(place.site, place.store, "web", 2)
    assert unpublish(place.site, place.store, "nothing", None) == ()


def test_a_read_only_images_directory_is_told(place: Place) -> None:
    version = place.version(says("one"))
    place.site.images.mkdir()
    syscalls.mount("none", str(place.site.images), "tmpfs", syscalls.MS_RDONLY)
    with pytest.raises(PipelineError, match=r"web@1 cannot be published: Read-only[^$]*mounted read-only"):
        publish(place.site, place.store, version)
    assert publication(place.store, "web").directories == {}


def test_an_images_directory_that_is_a_link_and_paths_with_any_sign_work(tmp_path: Path) -> None:
    with private_mounts():
        place = make_place(tmp_path / "a, b:c%\\d é")
        (tmp_path / "real 1").mkdir()
        place.site.images.symlink_to(tmp_path / "real 1")
        one = place.version(says("one"))
        publish(place.site, place.store, one)
        assert motd(place) == "one"
        assert not_mounted(place.site, place.store) == ()
        reboot_points = [point for point in mount_points() if point.startswith(str(tmp_path))]
        assert reboot_points == [str(tmp_path / "real 1/web-1")]
        unpublish(place.site, place.store, "web", None)
        assert os.listdir(tmp_path / "real 1") == []


def test_a_store_that_was_moved_keeps_its_hand_edits(place: Place, tmp_path: Path) -> None:
    publish(place.site, place.store, place.version(says("one")))
    (place.site.images / "web/motd").write_text("by hand")
    reboot(place)
    subprocess.run(["cp", "-a", place.store.path, tmp_path / "new"], check=True)
    shutil.rmtree(place.store.path)
    (tmp_path / "new").rename(place.store.path)
    restore(place.site, place.store)
    assert motd(place) == "by hand"


def test_150_layers_can_be_mounted_and_more_than_a_page_is_told(place: Place) -> None:
    layers = [place.layer(says(str(number))) for number in range(10)]
    publish(place.site, place.store, place.of_layers(layers))
    assert motd(place) == "9"
    many = [place.layer(lambda root: None) for _ in range(150)]
    publish(place.site, place.store, place.of_layers([*layers, *many]))
    assert motd(place) == "9"
    more = [place.layer(lambda root: None) for _ in range(100)]
    with pytest.raises(PipelineError, match="260 layers take more than one page"):
        publish(place.site, place.store, place.of_layers([*layers, *many, *more]))
    assert publication(place.store, "web").directories == {1: "overlay", 2: "overlay"}
    assert sorted(os.listdir(place.site.images)) == ["web", "web-1", "web-2"]


def command(place: Place, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, object, str]:
    code = main([*words, "--json", "--site", str(place.site.file)])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def test_the_verbs_tell_one_document_and_a_dry_run_changes_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in ("one", "two"):
        place.version(says(text))
    images = place.site.images
    would = {
        "version": "web@1", "directory": f"{images}/web-1", "link": f"{images}/web",
        "before": None, "makes": "overlay", "kept_edits": [], "dry_run": True,
    }  # fmt: skip
    assert command(place, capsys, "publish", "web@1", "--dry-run") == (0, would, "")
    assert not images.exists()
    assert command(place, capsys, "publish", "web@1") == (0, would | {"dry_run": False}, "")
    assert command(place, capsys, "publish", "web")[0] == 0
    back = would | {"before": "web@2", "makes": None}
    assert command(place, capsys, "rollback", "web", "--dry-run") == (0, back, "")
    assert pointer(place) == "web-2"
    assert main(["publish", "web@2", "--site", str(place.site.file)]) == 0
    assert capsys.readouterr().out.endswith(f"{images}/web points to it (as before)\n")
    assert command(place, capsys, "rollback", "web") == (0, back | {"dry_run": False}, "")
    gone = {"removed": [f"{images}/web-2"], "dry_run": True}
    assert command(place, capsys, "unpublish", "web@2", "--dry-run") == (0, gone, "")
    assert command(place, capsys, "unpublish", "web@2", "--dry-run") == (0, gone, "")
    assert motd(place, "web-2") == "two"
    assert command(place, capsys, "unpublish", "web@2") == (0, gone | {"dry_run": False}, "")
    reboot(place)
    lost = {"mounted": [f"{images}/web-1"], "dry_run": True}
    assert command(place, capsys, "publish", "--restore", "--dry-run") == (0, lost, "")
    assert command(place, capsys, "publish", "--restore") == (0, lost | {"dry_run": False}, "")
    assert motd(place) == "one"


def test_hand_edits_of_any_name_are_shown(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    target = publish(place.site, place.store, place.version(says("one")))
    Path(os.fsdecode(bytes(target) + b"/caf\xe9\\")).touch()
    code, found, err = command(place, capsys, "show", "web")
    assert (code, err) == (0, "")
    assert isinstance(found, dict)
    assert found["hand_edits"] == ["/caf\\xe9\\\\"]
    assert main(["show", "web", "--site", str(place.site.file)]) == 0
    assert "  + /caf\\xe9\\\\\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["publish", "webb"], 2, "did you mean 'web'?"),
        (
            ["versions", "webb"],
            2,
            'there are versions of web (did you mean "web"?)\n  run: pipeline versions\n',
        ),
        (["publish", "web@7"], 2, "web has no version 7"),
        (["rollback", "nothing"], 2, "there is no version of 'nothing'"),
        (["rollback", "web@1"], 2, "pipeline rollback web --to 1"),
        (["rollback", "web"], 1, "nothing of web is published"),
        (["rollback", "web", "--to", "9"], 2, "web has no version 9"),
        (["rollback", "web", "--to", "2", "--dry-run"], 5, "pipeline verify web@2"),
        (["publish", "web"], 5, "its tests have not been run"),
        (["publish", "web", "--dry-run"], 5, "its tests have not been run"),
        (["unpublish", "web@1"], 1, "web@1 is not published"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_exit_code(
    place: Place, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    place.version(says("one"))
    place.version(says("two"), tested=None)
    got, document, err = command(place, capsys, *words)
    assert got == code
    assert isinstance(document, dict) and document.keys() == {"problems"}
    assert all(problem["message"] in err for problem in document["problems"])
    assert said in err
    assert "Traceback" not in err


def test_the_unit_mounts_everything_again(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["publish", "--unit", "--site", str(place.site.file)]) == 0
    unit = tmp_path / "pipeline-publish.service"
    unit.write_text(capsys.readouterr().out)
    publish(place.site, place.store, place.version(says("one")))
    reboot(place)
    lines = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line)
    assert lines["RequiresMountsFor"] == f"{place.store.path} {place.site.images}"
    assert {"cmd.service", "warewulfd.service"} <= set(lines["Before"].split())
    assert lines["ExecStart"].startswith(sys.executable)
    subprocess.run(lines["ExecStart"].split(), cwd=lines["WorkingDirectory"], check=True, env={})
    assert motd(place) == "one"


def test_systemd_takes_the_unit_whatever_the_paths_hold(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    from pipeline.publish.unit import unit

    site = make_place(tmp_path / 'a b%n$x"y').site
    file = tmp_path / "pipeline-publish.service"
    file.write_text(unit(site))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "pipeline-publish" in line]
    assert ours == []
    assert r'a b%%n$$x\"y/pipeline.toml"' in file.read_text()


def test_publishing_in_the_namespace_of_the_machine_is_seen_by_other_processes(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    version = place.version(says("one"))
    try:
        publish(place.site, place.store, version)
        seen = subprocess.run(
            ["cat", place.site.images / "web/motd"], capture_output=True, text=True, check=True
        )
        assert seen.stdout == "one"
    finally:
        unpublish(place.site, place.store, "web", None)
    assert not [point for point in mount_points() if point.startswith(str(tmp_path))]


@pytest.mark.parametrize("mode", ["overlay", "copy"])
@pytest.mark.parametrize("damage", ["{", '{"history": "one"}', ""])
def test_fsck_finds_a_damaged_record_of_publications_and_its_remedy_works(
    tmp_path: Path, mode: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with private_mounts():
        place = make_place(tmp_path / "it's", mode)
        for text in ("one", "two"):
            publish(place.site, place.store, place.version(says(text)))
        record = place.store.path / "images/web/published.json"
        record.write_text(damage)
        assert "pipeline fsck" in command(place, capsys, "publish", "web")[2]
        code, found, _ = command(place, capsys, "fsck")
        assert isinstance(found, dict)
        (problem,) = found["problems"]
        assert (code, problem["where"]) == (1, str(record))
        assert "the file is damaged" in problem["message"]
        subprocess.run(problem["hint"].split(": ", 1)[1], shell=True, check=True)
        assert command(place, capsys, "fsck")[0] == 0
        publish(place.site, place.store, place.version(says("three")))
        assert (motd(place), motd(place, "web-1")) == ("three", "one")
        assert publication(place.store, "web").history == (2, 3)
        unpublish(place.site, place.store, "web", None)
        assert os.listdir(place.site.images) == []


def test_fsck_says_to_remove_a_damaged_record_when_nothing_is_published(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.version(says("one"))
    record = place.store.path / "images/web/published.json"
    record.mkdir()
    assert main(["fsck", "--site", str(place.site.file)]) == 1
    assert f"nothing of web is in {place.site.images}; remove the file: rm -r {record}\n" in (
        capsys.readouterr().out
    )
