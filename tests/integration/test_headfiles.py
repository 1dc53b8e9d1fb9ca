"""Files of a head node on this machine, below a root of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.cluster.head import Head
from pipeline.cluster.headfiles import HeadFiles, file_of
from pipeline.cluster.objects import Assignment, Change, State, Wanted
from pipeline.errors import PipelineError

FILE = file_of("/etc/opensm/it's a $(file).conf")


@pytest.fixture
def files(tmp_path: Path) -> HeadFiles:
    (tmp_path / "etc/opensm").mkdir(parents=True)
    return HeadFiles(Head(root=str(tmp_path)))


def write(files: HeadFiles, content: str, state: State | None = None) -> None:
    files.write([Change(FILE, "set", (Assignment("content", None, content),))], state or State({}))


def test_what_was_written_is_read(files: HeadFiles) -> None:
    assert files.read([Wanted(FILE)]).objects == {}
    write(files, 'a\n`b` "c" ü\n')
    assert files.read([Wanted(FILE)]).objects[FILE] == {
        "content": 'a\n`b` "c" ü\n',
        "mode": "0644",
        "owner": "root:root",
    }


def test_bytes_mode_and_owner_stay(files: HeadFiles, tmp_path: Path) -> None:
    path = tmp_path / FILE.name[1:]
    path.write_bytes(b"\xff\n")
    path.chmod(0o640)
    os.chown(path, 1, 1)
    state = files.read([Wanted(FILE)])
    write(files, str(state.objects[FILE]["content"]) + "more\n", state)
    found = path.stat()
    assert path.read_bytes() == b"\xff\nmore\n"
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o640, 1, 1)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_directory_is_no_file(files: HeadFiles, tmp_path: Path) -> None:
    (tmp_path / FILE.name[1:]).mkdir()
    with pytest.raises(PipelineError, match="is no regular file"):
        files.read([Wanted(FILE)])


def test_a_folder_that_is_missing_is_told_when_reading(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="the folder of this file is missing") as raised:
        HeadFiles(Head(root=str(tmp_path))).read([Wanted(FILE)])
    assert raised.value.problems[0].where == str(FILE)


def test_a_folder_that_is_missing_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"could not be written.*No such file") as raised:
        write(HeadFiles(Head(root=str(tmp_path))), "x")
    assert raised.value.problems[0].where == "head node"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_the_old_file(files: HeadFiles, tmp_path: Path) -> None:
    write(files, "old\n")
    limited = HeadFiles(Head(root=str(tmp_path), programs=(str(_failing_sync(tmp_path)),)))
    with pytest.raises(PipelineError, match="No space left"):
        write(limited, "new\n")
    assert (tmp_path / FILE.name[1:]).read_text() == "old\n"
    assert len(list((tmp_path / "etc/opensm").iterdir())) == 1


def _failing_sync(place: Path) -> Path:
    programs = place / "bin"
    programs.mkdir()
    (programs / "sync").write_text("#!/bin/sh\necho 'sync: No space left on device' >&2; exit 1\n")
    (programs / "sync").chmod(0o755)
    return programs
