"""Files of a head node on this machine, below a root of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.cluster.head import Head
from pipeline.cluster.headfiles import WRITE, HeadFiles, arguments, file_of
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


def test_an_owner_without_a_name_stays(files: HeadFiles, tmp_path: Path) -> None:
    path = tmp_path / FILE.name[1:]
    path.write_text("")
    for number in (54_321, 0):
        os.chown(path, 54_321, number)
        state = files.read([Wanted(FILE)])
        assert state.objects[FILE]["owner"] == f"54321:{number or 'root'}"
        write(files, f"{number}\n", state)
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (54_321, number)


def test_a_directory_is_no_file(files: HeadFiles, tmp_path: Path) -> None:
    (tmp_path / FILE.name[1:]).mkdir()
    with pytest.raises(PipelineError, match="is no regular file"):
        files.read([Wanted(FILE)])


def test_a_folder_that_is_missing_is_told_when_reading(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="the folder of this file is missing") as raised:
        HeadFiles(Head(root=str(tmp_path))).read([Wanted(FILE)])
    assert raised.value.problems[0].where == str(FILE)


def test_a_folder_that_is_missing_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="the folder of this file is missing"):
        write(HeadFiles(Head(root=str(tmp_path))), "x")
    argv, stdin = arguments(str(tmp_path), FILE.name, {"content": "x", "mode": "0644", "owner": "0:0"}, None)
    assert "No such file" in Head().run(argv, stdin).err
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_the_old_file(files: HeadFiles, tmp_path: Path) -> None:
    write(files, "old\n")
    limited = HeadFiles(Head(root=str(tmp_path), programs=(str(_failing_sync(tmp_path)),)))
    with pytest.raises(PipelineError, match="No space left"):
        write(limited, "new\n", files.read([Wanted(FILE)]))
    assert (tmp_path / FILE.name[1:]).read_text() == "old\n"
    assert len(list((tmp_path / "etc/opensm").iterdir())) == 1


@pytest.mark.parametrize("kept", [0, 4, 20])
def test_of_a_file_that_arrives_in_part_nothing_is_kept(files: HeadFiles, tmp_path: Path, kept: int) -> None:
    """As when this process or the connection ends in the middle: base64 sees the end of a shorter text."""
    write(files, "old line\nsecond line\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    base64 = shutil.which("base64")
    (programs / "base64").write_text(
        f'#!/bin/sh\n[ "$1" = -d ] || exec {base64} "$@"\nhead -c {kept} | {base64} "$@"\n'
    )
    (programs / "base64").chmod(0o755)
    cut = HeadFiles(Head(root=str(tmp_path), programs=(str(programs),)))
    with pytest.raises(PipelineError, match="it did not arrive whole"):
        write(cut, "new line\nmore of it\n", files.read([Wanted(FILE)]))
    assert (tmp_path / FILE.name[1:]).read_text() == "old line\nsecond line\n"
    assert len(list((tmp_path / "etc/opensm").iterdir())) == 1


def test_of_a_file_whose_writer_is_killed_nothing_is_kept(files: HeadFiles, tmp_path: Path) -> None:
    write(files, "old\n")
    here = files.read([Wanted(FILE)]).objects[FILE]
    argv, stdin = arguments(str(tmp_path), FILE.name, {**here, "content": "new\n" * 50_000}, here)
    shell = subprocess.Popen([argv[0], "-c", WRITE, *argv[3:]], stdin=subprocess.PIPE)
    assert shell.stdin is not None
    shell.stdin.write(stdin[:100_000].encode())
    shell.stdin.close()
    assert shell.wait() != 0
    assert (tmp_path / FILE.name[1:]).read_text() == "old\n"


def test_a_file_that_somebody_changed_since_it_was_read_is_not_replaced(
    files: HeadFiles, tmp_path: Path
) -> None:
    path = tmp_path / FILE.name[1:]
    write(files, "one\ntwo\n")
    seen = files.read([Wanted(FILE)])
    path.write_text("one\ntwo\ntheirs\n")
    with pytest.raises(PipelineError, match="somebody has changed it") as raised:
        write(files, "one\nours\n", seen)
    assert "+theirs" in raised.value.problems[0].message
    assert raised.value.problems[0].where == str(FILE)
    assert path.read_text() == "one\ntwo\ntheirs\n"
    path.write_text("one\ntwo\n")
    write(files, "one\nours\n", seen)
    assert path.read_text() == "one\nours\n"
    with pytest.raises(PipelineError, match="was not there, and is now"):
        write(files, "x\n", State({}))


def test_a_file_that_changes_in_the_last_moment_is_not_replaced(files: HeadFiles, tmp_path: Path) -> None:
    """After it was looked at once more: the shell that renames compares as well."""
    path = tmp_path / FILE.name[1:]
    write(files, "one\n")
    here = files.read([Wanted(FILE)]).objects[FILE]
    argv, stdin = arguments(str(tmp_path), FILE.name, {**here, "content": "ours\n"}, here)
    for change in (lambda: path.write_text("theirs\n"), path.unlink):
        change()
        ran = files.head.run(argv, stdin)
        assert ran.code != 0
        assert "somebody has changed it" in ran.err
    argv, stdin = arguments(str(tmp_path), FILE.name, {**here, "content": "ours\n"}, None)
    assert files.head.run(argv, stdin).code == 0
    assert files.head.run(argv, stdin).code != 0
    assert path.read_text() == "ours\n"


def _failing_sync(place: Path) -> Path:
    programs = place / "bin"
    programs.mkdir()
    (programs / "sync").write_text("#!/bin/sh\necho 'sync: No space left on device' >&2; exit 1\n")
    (programs / "sync").chmod(0o755)
    return programs
