"""Archives that would write elsewhere: refused with the member's name, and nothing is written anywhere."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.archives import bomb, link, plain, special, tar_of, zip_with
from tests.faults.site import Site, archive_stage

OUTSIDE = "/tmp/pipeline-faults-outside"

BAD: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "dots": (lambda: tar_of(plain("../escaped")), "../escaped", "'..'"),
    "deep dots": (lambda: tar_of(plain("a/../../../../etc/escaped")), "a/../../../../etc/escaped", "'..'"),
    "absolute": (lambda: tar_of(plain(f"{OUTSIDE}/escaped")), f"{OUTSIDE}/escaped", "absolute"),
    "link out": (lambda: tar_of(link("out", OUTSIDE)), "out", "leads out"),
    "link up": (lambda: tar_of(link("a/out", "../../../..")), "a/out", "leads out"),
    "through a link": (lambda: tar_of(link("out", "in"), plain("out/escaped")), "out/escaped", "below out"),
    "hard link out": (
        lambda: tar_of(link("hard", "/etc/passwd", tarfile.LNKTYPE)), "hard", "hard link that leads out",
    ),
    "device": (lambda: tar_of(special("null", tarfile.CHRTYPE)), "null", "device"),
    "block device": (lambda: tar_of(special("disk", tarfile.BLKTYPE)), "disk", "device"),
    "fifo": (lambda: tar_of(special("pipe", tarfile.FIFOTYPE)), "pipe", "fifo"),
    "zip with dots": (lambda: zip_with({"../escaped": b"x"}), "../escaped", "'..'"),
    "absolute zip": (lambda: zip_with({"/etc/escaped": b"x"}), "/etc/escaped", "absolute"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_member_that_leads_out_is_refused_by_name_and_nothing_is_written(site: Site, kind: str) -> None:
    make, member, reason = BAD[kind]
    (site.path / "bad").write_bytes(make())
    site.recipe(archive_stage("bad"))
    ended = site.run("build")
    assert ended.exit_code == 1
    assert f'{site.line("[[stage]]")}: stage "archive": ' in ended.err
    assert any(member in line and reason in line for line in ended.err.splitlines()), ended.err
    assert "run: pipeline shell web --stage archive" in ended.err
    check_nothing_written(site, "archive")


def test_a_bomb_is_refused_before_it_fills_the_disk(site: Site) -> None:
    (site.path / "bad").write_bytes(bomb())
    site.recipe(archive_stage("bad"))
    ended = site.run("build")
    assert ended.exit_code == 1
    assert "over 1000 times its size: a bomb" in ended.err
    assert f'{site.line("[[stage]]")}: stage "archive": bad: ' in ended.err
    check_nothing_written(site, "archive")


def test_more_members_or_bytes_than_the_recipe_allows_are_refused(site: Site) -> None:
    (site.path / "bad").write_bytes(tar_of(*(plain(f"f{number}", bytes(100)) for number in range(20))))
    site.recipe(
        archive_stage("bad", name="files", more="max_files = 19\n"),
    )
    assert "more than 19 members" in site.run("build").err
    site.recipe(archive_stage("bad", name="bytes", more="max_bytes = 1999\n"))
    assert "more than 1999 bytes" in site.run("build").err
    check_nothing_written(site, "files", "bytes")


WHOLE = tar_of(plain("a", bytes(2000)))
PACKED = gzip.compress(WHOLE)
ZIPPED = zip_with({"a": b"hello" * 100})

DAMAGED = {
    "empty": (b"", "is no archive"),
    "one byte": (WHOLE[:1], "is no archive"),
    "within the header": (WHOLE[:511], "is no archive"),
    "within a file": (WHOLE[:700], "damaged or not whole"),
    "without its end": (WHOLE[:2560], "damaged or not whole"),
    "cut gzip": (PACKED[:-30], "damaged or not whole"),
    "gzip without its end": (PACKED[:-8], "damaged or not whole"),
    "gzip with another checksum": (PACKED[:-8] + b"\0" * 4 + PACKED[-4:], "damaged or not whole"),
    "cut zip": (ZIPPED[:-20], "damaged or not whole"),
    "zip with other content": (ZIPPED.replace(b"hello", b"jello", 1), "damaged or not whole"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_archive_is_refused(site: Site, damage: str) -> None:
    content, told = DAMAGED[damage]
    (site.path / "bad").write_bytes(content)
    site.recipe(archive_stage("bad"))
    ended = site.run("build")
    assert ended.exit_code == 1
    assert f'{site.line("[[stage]]")}: stage "archive": bad: ' in ended.err
    assert told in ended.err
    assert "archive" not in site.layers()


def check_nothing_written(site: Site, *stages: str) -> None:
    for stage in stages:
        assert stage not in site.layers()
    assert not Path(OUTSIDE).exists()
    assert not list(site.path.parent.rglob("escaped"))
    places = list((site.store / "failed").rglob("upper"))
    assert places, "what failed is kept"
    for place in places:
        assert [path for path in place.rglob("*") if not path.is_dir()] == []
