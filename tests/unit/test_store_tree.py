"""Trees and manifests without root: order, escaping, digests."""

from __future__ import annotations

import gzip
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.store import manifest
from pipeline.store.filesystem import DIRECTORY
from pipeline.store.forked import Message, Share, Turns, in_processes
from pipeline.store.tree import raw_path, readable, walk
from tests.trees import deep


@given(st.binary(max_size=30))
def test_any_name_comes_back_from_its_readable_form(raw: bytes) -> None:
    assert raw_path(readable(raw)) == raw


@given(st.text(st.characters(codec="utf-8", exclude_characters="\\")))
def test_utf8_names_stay_as_they_are(name: str) -> None:
    assert readable(name.encode()) == name


def test_a_walk_is_in_the_order_of_raw_paths(tmp_path: Path) -> None:
    for name in ("a/b/c", "a/b-c", "a-b/x", "a.d", "ab", "a!", "a/ä", "é/\udcff"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name.encode(errors="replace").decode())
    root = os.open(tmp_path, DIRECTORY)
    paths = [item.path for item in walk(root)]
    os.close(root)
    assert paths == sorted(paths)
    assert len(paths) == 13


def test_a_walk_goes_deeper_than_any_path_name_may_be_long_and_than_files_may_be_open(tmp_path: Path) -> None:
    top = os.open(tmp_path, DIRECTORY)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with deep(tmp_path, 1500, "dir"):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
        try:
            assert max(len(item.path) for item in walk(top)) == 1500 * 4 + len("file")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            os.close(top)


def test_a_walk_of_which_a_directory_is_moved_away_ends_and_reads_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "tree/a/b/c").mkdir(parents=True)
    root = os.open(tmp_path / "tree", DIRECTORY)
    steps = walk(root)
    while next(steps).path != b"a/b/c":
        pass
    (tmp_path / "tree/a/b").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="moved"):
        list(steps)
    os.close(root)


def test_a_closed_walk_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    root = os.open(tmp_path, DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    steps = walk(root)
    while next(steps).path != b"a/b/c":
        pass
    steps.close()
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(root)


def test_a_link_to_a_directory_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "etc").symlink_to("/etc")
    root = os.open(tmp_path, DIRECTORY)
    assert [item.path for item in walk(root)] == [b"", b"etc"]
    os.close(root)


def test_the_digest_depends_on_content_and_not_on_inodes(tmp_path: Path) -> None:
    digests = []
    for name, content in (("one", "x"), ("two", "x"), ("three", "y")):
        tree = tmp_path / name
        tree.mkdir()
        (tree / "file").write_text(content)
        os.link(tree / "file", tree / "other")
        os.utime(tree / "file", ns=(0, 0))
        os.utime(tree, ns=(0, 0))
        summary = manifest.write_tree(tmp_path / f"{name}.gz", tree)
        assert summary.links == (("file", "other"),)
        assert (summary.bytes, summary.files) == (1, 2)
        assert manifest.digest(tmp_path / f"{name}.gz") == summary.digest
        digests.append(summary.digest)
    assert digests[0] == digests[1] != digests[2]
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [b"no gzip", gzip.compress(b"{}\n"), gzip.compress(b"x" * 99)[:-9]],
    ids=["no gzip", "no entry", "cut off"],
)
def test_a_damaged_manifest_is_an_error_that_names_it(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "manifest.gz"
    path.write_bytes(damage)
    with pytest.raises(PipelineError, match=r"manifest\.gz: the manifest is damaged"):
        list(manifest.read(path))


def test_each_turn_is_given_to_one_process() -> None:
    turns = Turns()
    taken: list[int] = []

    def task(_number: int, tell: object) -> None:
        assert callable(tell)
        mine = Share(turns, 3)
        for thing in range(3000):
            if mine.next_is_mine():
                tell(Message(done=thing))

    in_processes(task, lambda message: taken.append(message.done))
    turns.close()
    assert sorted(taken) == list(range(3000))


def test_what_a_worker_raises_is_raised() -> None:
    def refuses(_number: int, _tell: object) -> None:
        raise PipelineError("no", where="there", hint="try")

    def fails(_number: int, _tell: object) -> None:
        raise FileNotFoundError(2, "gone", "/x")

    def dies(number: int, _tell: object) -> None:
        if number == 0:
            os.kill(os.getpid(), 9)
        os.read(os.pipe()[0], 1)

    with pytest.raises(PipelineError, match="there: no\n  hint: try"):
        in_processes(refuses, lambda _: None)
    with pytest.raises(FileNotFoundError, match="/x"):
        in_processes(fails, lambda _: None)
    with pytest.raises(PipelineError, match="killed by signal 9"):
        in_processes(dies, lambda _: None)


def test_processes_that_walk_the_same_directory_at_once_each_see_all_of_it(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / str(number)).touch()
    root = os.open(tmp_path, DIRECTORY)
    seen: list[int] = []

    def task(_number: int, tell: object) -> None:
        assert callable(tell)
        for _ in range(200):
            tell(Message(done=len({item.path for item in walk(root)})))

    in_processes(task, lambda message: seen.append(message.done))
    os.close(root)
    assert seen == [41] * 400
