"""Digests of local files and trees."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.sources import digests
from pipeline.sources.digests import FileDigests, tree_digest


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once."""
    monkeypatch.setattr(digests, "SETTLED_NS", -(10**12))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each content that was hashed."""
    made: list[object] = []

    def counted() -> object:
        made.append(sha256())
        return made[-1]

    monkeypatch.setattr(digests, "sha256", counted)
    return made


@pytest.mark.usefixtures("settled")
def test_an_unchanged_file_is_not_read_again(tmp_path: Path, reads: list[object]) -> None:
    (tmp_path / "x").write_bytes(b"one")
    for _ in range(3):
        found = FileDigests(tmp_path / "seen").of(tmp_path / "x")
        assert (found.sha256, found.size) == (sha256(b"one").hexdigest(), 3)
    assert len(reads) == 1


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("kept", ["mtime", "inode"])
def test_a_changed_file_is_read_again_whatever_it_keeps(tmp_path: Path, kept: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    before = path.stat()
    files = FileDigests(tmp_path / "seen")
    files.of(path)
    if kept == "mtime":
        path.with_suffix(".new").write_bytes(b"two")
        path.with_suffix(".new").replace(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        path.write_bytes(b"two")
    assert files.of(path).sha256 == sha256(b"two").hexdigest()


def test_a_file_that_was_just_written_is_read_each_time(tmp_path: Path, reads: list[object]) -> None:
    (tmp_path / "x").write_bytes(b"one")
    for _ in range(2):
        FileDigests(tmp_path / "seen").of(tmp_path / "x")
    assert len(reads) == 2


@pytest.mark.usefixtures("settled")
def test_damaged_notes_only_cost_the_work(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"one")
    files = FileDigests(tmp_path / "seen")
    wanted = files.of(tmp_path / "x")
    for damage in (b"", b"[1]", b"\xff", b'[1,2,3,4,5,"x"]'):
        for note in (tmp_path / "seen").iterdir():
            note.write_bytes(damage)
        assert files.of(tmp_path / "x") == wanted


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    files = FileDigests(tmp_path / "seen")
    with pytest.raises(PipelineError, match="fifo is not a file"):
        files.of(tmp_path / "fifo")
    with pytest.raises(PipelineError, match="Is a directory"):
        files.of(tmp_path)
    with pytest.raises(PipelineError, match="No such file"):
        files.of(tmp_path / "nothing")


def make_tree(root: Path) -> Path:
    (root / "etc/init.d").mkdir(parents=True)
    for path in (root, root / "etc", root / "etc/init.d"):
        path.chmod(0o755)
    (root / "etc/init.d/agent").write_bytes(b"run")
    (root / "etc/init.d/agent").chmod(0o755)
    (root / "etc/link").symlink_to("init.d/agent")
    Path(os.fsdecode(os.fsencode(root) + b"/etc/\xff")).write_bytes(b"")
    return root


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda root: (root / "etc/init.d/agent").write_bytes(b"ran"),
    "mode": lambda root: (root / "etc/init.d/agent").chmod(0o4755),
    "directory mode": lambda root: (root / "etc").chmod(0o700),
    "name": lambda root: (root / "etc/init.d/agent").rename(root / "etc/init.d/agenT"),
    "link target": lambda root: ((root / "etc/link").unlink(), (root / "etc/link").symlink_to("x")),
    "type": lambda root: ((root / "etc/link").unlink(), (root / "etc/link").write_bytes(b"init.d/agent")),
    "empty directory": lambda root: (root / "etc/new").mkdir(),
    "moved up": lambda root: (root / "etc/init.d/agent").rename(root / "etc/agent"),
    "fifo": lambda root: os.mkfifo(root / "fifo"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_whatever_is_laid_over_an_image_changes_the_digest(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    root = make_tree(tmp_path / "tree")
    before = tree_digest(root)
    change(root)
    assert tree_digest(root) != before


def test_a_checkout_somewhere_else_at_another_time_has_the_same_digest(tmp_path: Path) -> None:
    one, other = make_tree(tmp_path / "one"), make_tree(tmp_path / "a/other")
    os.utime(other / "etc/init.d/agent", (1, 1))
    assert tree_digest(one) == tree_digest(other)
    assert len(tree_digest(one)) == 64


def test_a_link_target_cannot_pass_for_another_link(tmp_path: Path) -> None:
    for name, links in (("one", {"a": "t", "b": "u"}), ("other", {"a": "t/blinku"})):
        (tmp_path / name).mkdir()
        for link, target in links.items():
            (tmp_path / name / link).symlink_to(target)
    assert tree_digest(tmp_path / "one") != tree_digest(tmp_path / "other")


def test_a_missing_tree_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"cannot read .*nothing: No such file"):
        tree_digest(tmp_path / "nothing")
