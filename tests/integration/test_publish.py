"""Publishing by mounting, rolling back and taking away, on real mounts that vanish with each test."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from published_versions import FAILED, Place, make_place, motd, pointer, private_mounts, reboot, says

from pipeline.chroot import syscalls
from pipeline.errors import PipelineError, UnverifiedError
from pipeline.publish.publication import not_mounted, publication, publish, rollback
from pipeline.publish.restoring import restore
from pipeline.publish.unpublishing import unpublish
from pipeline.store.mounts import mount_points
from pipeline.store.store import Store
from pipeline.store.tree import OPAQUE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with private_mounts():
        yield make_place(tmp_path)


def test_a_published_version_is_a_directory_and_the_link_points_to_it(place: Place) -> None:
    path = publish(place.site, place.store, place.version(says("one")))
    assert path == place.site.images / "web-1"
    assert pointer(place) == "web-1"
    assert motd(place) == "one"
    assert publication(place.store, "web").directories == {1: "overlay"}
    assert sorted(os.listdir(place.site.images)) == ["web", "web-1"]


def test_publishing_again_changes_nothing(place: Place) -> None:
    version = place.version(says("one"))
    publish(place.site, place.store, version)
    before = mount_points()
    publish(place.site, place.store, version)
    assert mount_points() == before
    assert publication(place.store, "web").history == (1,)


def test_rollback_goes_back_step_by_step_and_then_says_so(place: Place) -> None:
    for text in ("one", "two", "three"):
        publish(place.site, place.store, place.version(says(text)))
    assert rollback(place.site, place.store, "web").version.number == 2
    assert motd(place) == "two"
    assert rollback(place.site, place.store, "web").version.number == 1
    with pytest.raises(PipelineError) as nothing:
        rollback(place.site, place.store, "web")
    (problem,) = nothing.value.problems
    assert (
        problem.message
        == "there is nothing to go back to: web@1 is published, and nothing was published before it"
    )
    assert problem.hint is not None and "pipeline publish web@N" in problem.hint
    assert problem.command == "pipeline versions web"
    assert (motd(place), motd(place, "web-3")) == ("one", "three")


def test_rollback_to_a_number_can_be_rolled_back(place: Place) -> None:
    for text in ("one", "two", "three"):
        publish(place.site, place.store, place.version(says(text)))
    rollback(place.site, place.store, "web", to=1)
    assert (motd(place), publication(place.store, "web").history) == ("one", (2, 3, 1))
    rollback(place.site, place.store, "web")
    assert motd(place) == "three"


def test_rollback_to_a_version_that_never_was_published_publishes_it(place: Place) -> None:
    place.version(says("one"))
    publish(place.site, place.store, place.version(says("two")))
    assert rollback(place.site, place.store, "web", to=1).makes == "overlay"
    assert motd(place) == "one"


def test_an_unverified_version_is_published_only_when_told_and_can_be_gone_back_to(place: Place) -> None:
    untested, failed = place.version(says("1"), tested=None), place.version(says("2"), tested=FAILED)
    for version, why in ((untested, "have not been run"), (failed, "failed")):
        with pytest.raises(UnverifiedError, match=why):
            publish(place.site, place.store, version)
        with pytest.raises(UnverifiedError, match=why):
            rollback(place.site, place.store, "web", to=version.number)
    assert not place.site.images.exists()
    publish(place.site, place.store, untested, unverified=True)
    publish(place.site, place.store, place.version(says("3")))
    assert rollback(place.site, place.store, "web").version == untested


def test_hand_edits_survive_a_reboot_and_rollback_and_stay_in_their_version(place: Place) -> None:
    publish(place.site, place.store, place.version(says("one")))
    (place.site.images / "web/motd").write_text("by hand")
    (place.site.images / "web/etc/motd").unlink()
    publish(place.site, place.store, place.of_layers(place.store.layers()))
    assert motd(place) == "one"
    assert (place.site.images / "web/etc/motd").exists()
    reboot(place)
    assert {path.name for path in not_mounted(place.site, place.store)} == {"web-1", "web-2"}
    assert os.listdir(place.site.images / "web-1") == []
    assert [path.name for path in restore(place.site, place.store)] == ["web-1", "web-2"]
    assert not_mounted(place.site, place.store) == restore(place.site, place.store) == ()
    rollback(place.site, place.store, "web")
    assert motd(place) == "by hand"
    assert not (place.site.images / "web/etc/motd").exists()


def test_restore_remembers_what_the_link_says(place: Place) -> None:
    for text in ("one", "two", "three"):
        publish(place.site, place.store, place.version(says(text)))
    link = place.site.images / "web"
    for number, history in ((2, (1, 2)), (3, (1, 2, 3)), (1, (2, 3, 1))):
        link.unlink()
        link.symlink_to(f"web-{number}")
        restore(place.site, place.store)
        assert pointer(place) == f"web-{number}"
        assert publication(place.store, "web").history == history
    link.unlink()
    restore(place.site, place.store)
    assert pointer(place) == "web-1"


def test_what_is_edited_by_hand_is_in_no_layer(place: Place) -> None:
    version = place.version(says("one"))
    publish(place.site, place.store, version)
    with (place.site.images / "web/motd").open("a") as file:
        file.write(" more")
    assert (place.store.layer_tree(version.layers[0]) / "motd").read_text() == "one"


def test_hand_edits_are_kept_when_a_version_is_unpublished(place: Place) -> None:
    one = place.version(says("one"))
    publish(place.site, place.store, one)
    (place.site.images / "web/motd").write_text("by hand")
    assert unpublish(place.site, place.store, "web", None) == (place.site.images / "web-1",)
    assert os.listdir(place.site.images) == []
    publish(place.site, place.store, one)
    assert motd(place) == "by hand"


def test_hard_links_stay_links_when_edited_by_hand(place: Place) -> None:
    def fill(root: Path) -> None:
        (root / "a").write_text("1")
        os.link(root / "a", root / "b")

    publish(place.site, place.store, place.version(fill))
    top = place.site.images / "web"
    assert (top / "a").stat().st_ino == (top / "b").stat().st_ino
    with (top / "a").open("a") as file:
        file.write("2")
    assert (top / "b").read_text() == "12"
    reboot(place)
    restore(place.site, place.store)
    assert (top / "b").read_text() == (top / "a").read_text() == "12"
    assert (top / "a").stat().st_nlink == 2


def test_deletions_and_replaced_directories_show(place: Place) -> None:
    def base(root: Path) -> None:
        for name in ("kept", "gone", "replaced"):
            (root / name).mkdir()
            (root / name / "old").write_text("old")

    def change(root: Path) -> None:
        os.mknod(root / "gone", stat.S_IFCHR, 0)
        (root / "replaced").mkdir()
        os.setxattr(root / "replaced", OPAQUE, b"y")
        (root / "replaced/new").write_text("new")

    publish(place.site, place.store, place.version(base, change))
    seen = sorted(
        str(path.relative_to(place.site.images / "web")) for path in (place.site.images / "web").rglob("*")
    )
    assert seen == ["kept", "kept/old", "replaced", "replaced/new"]


def test_the_root_has_the_owner_mode_and_time_of_the_version(place: Place) -> None:
    def fill(root: Path) -> None:
        os.chown(root, 3, 4)
        root.chmod(0o2751)
        os.setxattr(root, "user.note", b"x")
        os.utime(root, ns=(10**18, 10**18 + 7))

    publish(place.site, place.store, place.version(fill))
    status = (place.site.images / "web-1").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (3, 4, 0o2751)
    assert status.st_mtime_ns == 10**18 + 7
    assert os.getxattr(place.site.images / "web-1", "user.note") == b"x"


def test_a_program_in_a_chroot_by_hand_can_write_to_dev_null(place: Place) -> None:
    def fill(root: Path) -> None:
        (root / "dev").mkdir()
        os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    publish(place.site, place.store, place.version(fill))
    (place.site.images / "web/dev/null").write_text("nothing")


def read_until(stop: Path, place: Place, report: Path) -> None:
    """Look at the published tree again and again, and report what was not as it ought to be."""
    wrong: list[str] = []
    reads = 0
    while not stop.exists():
        try:
            os.stat(place.site.images / "web/motd")
            fd = os.open(place.site.images / "web", os.O_RDONLY | os.O_DIRECTORY)
            texts = set()
            for name in ("motd", "etc/motd"):
                with open(os.open(name, os.O_RDONLY, dir_fd=fd)) as file:
                    texts.add(file.read())
            os.close(fd)
            if texts not in ({"one" * 9}, {"two" * 9}):
                wrong.append(f"mixed: {texts}")
            if not pointer(place).startswith("web-"):
                wrong.append(pointer(place))
        except OSError as error:
            wrong.append(str(error))
        reads += 1
    report.write_text(json.dumps([reads, wrong]))


def test_readers_see_the_old_tree_or_the_new_one_during_200_turns(place: Place, tmp_path: Path) -> None:
    layers = [place.layer(says(text * 9)) for text in ("one", "two")]
    publish(place.site, place.store, place.of_layers(layers[:1]))
    stop, report, started = tmp_path / "stop", tmp_path / "report", 0
    reader = os.fork()
    if reader == 0:
        try:
            read_until(stop, place, report)
        finally:
            os._exit(0)
    try:
        for turn in range(50):
            version = place.of_layers(layers[turn % 2 :][:1])  # a new one: mounted before it is pointed to
            publish(place.site, place.store, version)
            rollback(place.site, place.store, "web")
            publish(place.site, place.store, version)
            rollback(place.site, place.store, "web", to=1 + started)
            started = turn % 7
    finally:
        stop.touch()
        os.waitpid(reader, 0)
    reads, wrong = json.loads(report.read_text())
    assert wrong == []
    assert reads > 200


def test_neither_publish_nor_rollback_takes_longer_for_a_bigger_tree(place: Place, tmp_path: Path) -> None:
    syscalls.mount("none", str(tmp_path), "tmpfs")  # 10,000 files are made sooner
    place = make_place(tmp_path)

    def best(files: int, image: str) -> float:
        def fill(root: Path) -> None:
            (root / "0").touch()
            for number in range(1, files):
                if number % 100 == 0:
                    (root / f"d{number}").mkdir()
                os.mknod(root / (f"d{number - number % 100}/{number}" if number > 99 else f"{number}"))

        layers = [place.layer(fill)]
        took = []
        publish(place.site, place.store, place.of_layers(layers, image=image))
        for _ in range(5):
            version = place.of_layers(layers, image=image)
            begun = time.process_time()
            publish(place.site, place.store, version)
            rollback(place.site, place.store, image)
            took.append(time.process_time() - begun)
        return min(took)

    small, big = best(1_000, "small"), best(10_000, "big")
    assert big < 0.05
    assert big < 2 * small + 0.005


def test_two_that_publish_at_once_give_what_one_after_the_other_gives(place: Place) -> None:
    versions = [place.version(says(text)) for text in "abcd"]
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            publish(place.site, place.store, versions[number])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    now = publication(place.store, "web")
    assert sorted(now.history) == [1, 2, 3, 4]
    assert pointer(place) == f"web-{now.current}"
    assert len([point for point in mount_points() if Path(point).parent == place.site.images]) == 4


AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*AS_NOBODY, *words], capture_output=True, text=True)


@pytest.fixture
def open_to_all() -> Iterator[Place]:
    """A place whose folder others may enter; pytest's own are for nobody else."""
    with TemporaryDirectory(prefix="pipeline-publish-") as folder:
        Path(folder).chmod(0o755)
        with private_mounts():
            yield make_place(Path(folder))


def test_others_read_what_is_published_and_cannot_get_into_the_store(open_to_all: Place) -> None:
    place = open_to_all

    def fill(upper: Path) -> None:
        says("one")(upper)
        (upper / "tmp").mkdir()
        (upper / "tmp").chmod(0o1777)

    version = place.version(fill)
    publish(place.site, place.store, version)
    assert as_nobody("cat", str(place.site.images / "web/motd")).stdout == "one"
    tree = place.store.layer_tree(version.layers[0])
    for words in (["touch", str(tree / "tmp/mine")], ["cat", str(tree / "motd")]):
        assert "Permission denied" in as_nobody(*words).stderr
    assert os.listdir(tree / "tmp") == []


def test_a_store_that_is_open_to_others_is_closed_to_them(place: Place) -> None:
    place.store.path.chmod(0o755)
    Store.open(place.store.path)
    assert stat.S_IMODE(place.store.path.stat().st_mode) == 0o700
