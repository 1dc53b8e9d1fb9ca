from __future__ import annotations

import os
import threading
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PipelineError, Problem, UsageError
from pipeline.sources.lock import (
    Lock,
    LockedBase,
    LockedSource,
    LockedStage,
    read,
    text_of,
    write,
)
from pipeline.stages.base import LockedPackage, PackageAnswer, PackageRequest

A, B = "a" * 64, "b" * 64

LOCK = Lock(
    base=LockedBase("openstack-image", A, 1412812800),
    sources=(
        LockedSource("http://www.mellanox.com/MLNX_OFED.tgz", A, 123),
        LockedSource("files/x.tgz", B, 0),
    ),
    stages=(
        LockedStage(
            "eswitchd",
            PackageRequest(install=("eswitchd", "mlnxvif"), remove=("qlgc-ofed",)),
            PackageAnswer(
                install=(
                    LockedPackage(
                        nevra="eswitchd-1.0-1.noarch", location="http://h/eswitchd.rpm", size=9, sha256=A
                    ),
                    LockedPackage(
                        nevra="mlnxvif-2:1.0-1.x86_64", location="http://h/mlnxvif.rpm", size=9, sha256=B
                    ),
                ),
                remove=("qlgc-ofed-1-1.x86_64",),
            ),
        ),
        LockedStage("empty", PackageRequest(upgrade=("bash",)), PackageAnswer()),
    ),
)

EXPECTED = f"""\
# Made by `pipeline lock`: what the image is built from, exactly. Keep it in version control, beside the
# recipe; change the recipe and lock again rather than this file.

version = 1

[base]
name = "openstack-image"
digest = "{A}"
epoch = 1412812800

[[sources]]
location = "http://www.mellanox.com/MLNX_OFED.tgz"
sha256 = "{A}"
size = 123
"""


def test_a_lock_reads_like_a_file_made_for_people_and_comes_back_the_same(tmp_path: Path) -> None:
    write(tmp_path / "recipe.lock", LOCK)
    assert (tmp_path / "recipe.lock").read_text().startswith(EXPECTED)
    assert read(tmp_path / "recipe.lock") == LOCK
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.lock"]
    assert (tmp_path / "recipe.lock").stat().st_mode & 0o777 == 0o644


def test_where_there_is_no_lock_there_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "recipe.lock") is None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_survives(text: str) -> None:
    lock = Lock(
        base=LockedBase(text, text, 0),
        stages=(LockedStage(text, PackageRequest(install=(text, text)), PackageAnswer(remove=(text,))),),
    )
    raw = tomllib.loads(text_of(lock))
    assert raw["base"]["name"] == text
    assert raw["stages"][0]["request"]["install"] == [text, text]


@pytest.mark.parametrize(
    "text",
    [
        "\x00\x1f\x7f\x80",
        "\\x41",
        "\\\\x",
        "\\u0041",
        'q"\'\'\'"""',
        "é\u2028\U0001f600",
        "[a]",
        "#",
        "a\r\n\tb",
        "=",
    ],
)
def test_texts_that_break_toml_writers_survive(text: str, tmp_path: Path) -> None:
    lock = Lock(base=LockedBase("x", A, 0), sources=(LockedSource(text, A, 1),))
    write(tmp_path / "recipe.lock", lock)
    assert read(tmp_path / "recipe.lock") == lock


def test_what_no_lock_can_hold_leaves_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "recipe.lock", LOCK)
    with pytest.raises(PipelineError, match="not valid text"):
        write(tmp_path / "recipe.lock", Lock(base=LockedBase("\udcff", "y", 0)))
    assert read(tmp_path / "recipe.lock") == LOCK


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"cannot write .*nowhere/recipe.lock: No such file"):
        write(tmp_path / "nowhere" / "recipe.lock", LOCK)


def test_a_reader_sees_the_old_lock_or_the_new_one(tmp_path: Path) -> None:
    path, other = tmp_path / "recipe.lock", Lock(base=LockedBase("other", B, 1))
    write(path, LOCK)
    ended = threading.Event()

    def rewrite() -> None:
        while not ended.is_set():
            write(path, other)
            write(path, LOCK)

    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        assert all(read(path) in (LOCK, other) for _ in range(100))
    finally:
        ended.set()
        thread.join()


def damaged(directory: Path, old: str, new: str) -> UsageError:
    """The error for a lock in which ``old`` was replaced, once, by ``new``."""
    path = directory / "openstack-image-mellanox" / "recipe.lock"
    path.parent.mkdir()
    text = text_of(LOCK)
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError) as error:
        read(path)
    assert error.value.problems[-1].command == "pipeline lock openstack-image-mellanox"
    assert error.value.exit_code == 2
    return error.value


def line(problem: Problem) -> str:
    """The text of the line that a problem names."""
    assert problem.where is not None
    path, _, number = problem.where.rpartition(":")
    return Path(path).read_text().splitlines()[int(number) - 1]


@pytest.mark.parametrize(
    ("old", "new", "told", "at"),
    [
        ("[base]", "<<<<<<< HEAD\n[base]", "not a lock", "<<<<<<< HEAD"),
        (
            "size = 123",
            'size = "123"',
            'sources[0].size expects an integer, got the string "123"',
            'size = "123"',
        ),
        ("size = 0", "size = -1", "sources[1].size expects an integer, at least 0, got -1", "size = -1"),
        (
            f'location = "files/x.tgz"\nsha256 = "{B}"',
            'location = "files/x.tgz"\nsha256 = "B"',
            "sources[1].sha256 has to match",
            'sha256 = "B"',
        ),
        ('location = "files/x.tgz"\n', "", "sources[1].location is missing", "[[sources]]"),
        (
            'nevra = "mlnxvif',
            'nevre = "mlnxvif',
            'install[1].nevre is unknown (did you mean "nevra"?)',
            'nevre = "mlnxvif-2:1.0-1.x86_64"',
        ),
        (f'size = 9\nsha256 = "{B}"', 'size = 9\nsha256 = "cd"', "'cd', and no sha256", 'sha256 = "cd"'),
        ('name = "empty"', 'name = "eswitchd"', "'eswitchd', which is locked twice", 'name = "eswitchd"'),
        (
            '"files/x.tgz"',
            '"http://www.mellanox.com/MLNX_OFED.tgz"',
            "locked twice",
            'location = "http://www.mellanox.com/MLNX_OFED.tgz"',
        ),
        ("epoch", "epoc", 'base.epoc is unknown (did you mean "epoch"?)', "epoc = 1412812800"),
        ("epoch = 1412812800", "epoch = -5", "base.epoch expects an integer, at least 0", "epoch = -5"),
        ("epoch = 1412812800", f"epoch = {2**50}", "at most", f"epoch = {2**50}"),
        (f'digest = "{A}"', 'digest = "abc"', "'abc', and no sha256", 'digest = "abc"'),
        ("eswitchd-1.0-1.noarch", "eswitchd", "'eswitchd' is no name-", 'nevra = "eswitchd"'),
        ("eswitchd-1.0-1.noarch", "a b-1-1.x", "no package is called so", 'nevra = "a b-1-1.x"'),
        ("eswitchd-1.0-1.noarch", "-a-1-1.x", "no package is called so", 'nevra = "-a-1-1.x"'),
        ('"qlgc-ofed-1-1.x86_64"', '"qlgc"', "answer.remove[0] is wrong: 'qlgc'", 'remove = [ "qlgc",]'),
        ("size = 9", "size = 9\nsice = 9", "install[0].sice is unknown", "sice = 9"),
        ("[stages.answer]", "[stages.answer]\nupgrade = []", "answer.upgrade is unknown", "upgrade = []"),
        ("[stages.request]", "[stages.request]\nforce = true", "request.force is unknown", "force = true"),
        ("version = 1", "version = 7", "made by a newer pipeline", "version = 7"),
    ],
)
def test_a_damaged_lock_is_refused_with_file_and_line(
    tmp_path: Path, old: str, new: str, told: str, at: str
) -> None:
    error = damaged(tmp_path, old, new)
    assert at in [line(problem) for problem in error.problems if told in problem.message]


def test_all_that_is_wrong_in_a_lock_is_told_at_once_in_the_order_of_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "x" / "recipe.lock"
    path.parent.mkdir()
    text = text_of(LOCK)
    for old, new in (
        ("epoch = 1412812800", "epoch = -5"),
        ("size = 123", "size = -123"),
        (B, "B"),
        ("eswitchd-1.0-1.noarch", "eswitchd"),
        (f'size = 9\nsha256 = "{A}"', 'size = -9\nsha256 = "x"\nmore = 1'),
        ("qlgc-ofed-1-1.x86_64", "qlgc"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read(path)
    assert [line(problem).split(" ")[0] for problem in error.value.problems] == [
        "epoch",
        "size",
        "sha256",
        "remove",
        "nevra",
        "size",
        "sha256",
        "more",
    ]
    assert error.value.problems[-1].command == "pipeline lock x"


def test_a_lock_that_ends_in_the_middle_or_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.lock"
    whole = text_of(LOCK).encode()
    path.write_bytes(whole[: whole.index(b"[[stages]]") - 20])
    with pytest.raises(UsageError):
        read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a lock"):
        read(path)
    path.unlink()
    os.mkdir(path)
    with pytest.raises(UsageError, match="cannot read the lock: Is a directory"):
        read(path)
