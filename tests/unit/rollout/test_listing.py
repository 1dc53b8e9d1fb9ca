"""A directory as find(1) lists it is compared with what a version's manifest says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.rollout.listing import DIGEST, LIST, NONE, Difference, differences, digest, record
from pipeline.store.filesystem import DIRECTORY
from pipeline.store.tree import entries


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """With what makes listings go wrong."""
    root = tmp_path / "tree"
    (root / "etc/a dir").mkdir(parents=True)
    (root / "etc/a dir/x\ny\tz").write_text("1")
    (root / "etc-b").write_text("22")
    (root / "etc/link").symlink_to("//odd target\n")
    os.link(root / "etc-b", root / "etc/second")
    os.mkfifo(root / "pipe")
    (root / "setuid").write_text("")
    (root / "setuid").chmod(0o4711)
    (root / "none").write_text("")
    (root / "none").chmod(0)
    with open(os.fsencode(root) + b"/caf\xe9\\", "wb"):
        pass
    return root


def manifest(tree: Path) -> list[bytes]:
    root = os.open(tree, DIRECTORY)
    try:
        return sorted(record(entry) for entry, _ in entries(root) if entry.path)
    finally:
        os.close(root)


def listed(script: str, tree: Path) -> bytes:
    return subprocess.run(["sh", "-c", script, "sh", tree], stdout=subprocess.PIPE, check=True).stdout


def test_find_says_the_same_as_a_manifest(tree: Path) -> None:
    wanted = manifest(tree)
    assert listed(LIST, tree).split(b"\0")[:-1] == wanted
    assert listed(DIGEST, tree).decode().strip() == digest(wanted)
    assert differences(wanted, wanted) == ()


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert listed(DIGEST, tmp_path / "no").decode().strip() == NONE


def test_each_difference_is_named_with_what_it_is(tree: Path) -> None:
    wanted = manifest(tree)
    (tree / "etc/a dir/x\ny\tz").unlink()
    (tree / "etc/new").mkdir()
    (tree / "setuid").chmod(0o711)
    (tree / "etc-b").write_text("333")
    (tree / "etc/link").unlink()
    (tree / "etc/link").symlink_to("there")
    found = listed(LIST, tree).split(b"\0")[:-1]
    assert listed(DIGEST, tree).decode().strip() == digest(found) != digest(wanted)
    assert differences(wanted, found) == (
        Difference("/etc-b", "changed", "size 3 for 2"),
        Difference("/etc/a dir/x\ny\tz", "missing"),
        Difference("/etc/link", "changed", "leads to there for //odd target\n"),
        Difference("/etc/new", "extra"),
        Difference("/etc/second", "changed", "size 3 for 2"),
        Difference("/setuid", "changed", "mode 711 for 4711"),
    )
    assert str(Difference("/etc/new", "extra")) == "/etc/new is extra"
