"""Removing a directory with all that is in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline import removing
from pipeline.removing import remove_tree
from tests.trees import deep


def test_what_is_deeper_than_recursion_and_open_files_go_is_removed(tmp_path: Path) -> None:
    with deep(tmp_path, 5000):
        remove_tree(tmp_path / "d")
        assert os.listdir(tmp_path) == []


def test_files_links_and_what_is_gone_are_removed_and_nothing_that_a_link_names(
    tmp_path: Path,
) -> None:
    (tmp_path / "kept/in").mkdir(parents=True)
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "tree/a/link").symlink_to(tmp_path / "kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "file").touch()
    for name in ("tree", "link", "file", "nowhere"):
        remove_tree(tmp_path / name)
    assert os.listdir(tmp_path) == ["kept"] and (tmp_path / "kept/in").is_dir()


def test_a_directory_that_is_moved_meanwhile_has_nothing_removed_where_it_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree/a/b").mkdir(parents=True)
    (tmp_path / "other/b2").mkdir(parents=True)
    entered = removing._entered

    def moved(directory: int) -> object:
        if os.listdir(directory) == [] and (tmp_path / "tree/a/b").exists():
            (tmp_path / "tree/a/b").rename(tmp_path / "other/b")
        return entered(directory)

    monkeypatch.setattr(removing, "_entered", moved)
    with pytest.raises(OSError, match="moved while it was removed"):
        remove_tree(tmp_path / "tree")
    assert sorted(os.listdir(tmp_path / "other")) == ["b", "b2"]


def test_what_cannot_be_removed_is_named_with_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a/b").mkdir(parents=True)

    def full(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched, pytest.raises(OSError) as raised:
        patched.setattr(os, "scandir", full)
        remove_tree(tmp_path / "a")
    assert raised.value.filename == str(tmp_path / "a")


@pytest.mark.parametrize(("call", "of"), [("unlink", "b/a/file"), ("rmdir", "b/a"), ("open", "b/a")])
def test_the_very_file_that_cannot_be_removed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, of: str
) -> None:
    (tmp_path / "tree/b/a").mkdir(parents=True)
    (tmp_path / "tree/b/a/file").touch()
    real = getattr(os, call)

    def marked(path: str | bytes, *rest: int, dir_fd: int | None = None) -> object:
        if os.fsencode(path) == os.path.basename(os.fsencode(of)):
            raise PermissionError(1, "Operation not permitted", path)
        return real(path, *rest, dir_fd=dir_fd)

    with monkeypatch.context() as patched, pytest.raises(PermissionError) as raised:
        patched.setattr(os, call, marked)
        remove_tree(tmp_path / "tree")
    assert raised.value.filename == str(tmp_path / "tree" / of)
