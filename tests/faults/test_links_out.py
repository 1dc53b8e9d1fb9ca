"""Bases with links that lead out of the image (`/etc/x -> /host`): every stage stays inside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.archives import plain, tar_of
from tests.faults.site import Site, archive_stage

OVERLAY = '\n[[stage]]\nname = "s"\ntype = "overlay"\ntree = "tree"\n'


def stage(kind: str, options: str) -> str:
    return f'\n[[stage]]\nname = "s"\ntype = "{kind}"\n{options}'


STAGES = {
    "overlay": OVERLAY,
    "file": stage("file", 'path = "/etc/x/file"\ncreate = "new"\n'),
    "link": stage("file", 'path = "/etc/x/link"\nlink = "target"\n'),
    "remove": stage("file", 'path = "/etc/x/file"\nremove = true\n'),
    "owner": stage("file", 'path = "/etc/x/file"\nmode = "0777"\n'),
    "edit": stage("edit", 'file = "/etc/x/file"\nafter = "^old"\ninsert = "new"\n'),
    "settings": stage("settings", 'file = "/etc/x/file"\n[stage.set.DEFAULT]\na = 1\n'),
    "archive": archive_stage("a.tar", name="s").replace("/opt/x", "/etc/x"),
}


@pytest.fixture
def outside(site: Site) -> Iterator[Path]:
    """A directory of the host with a file in it, to which links of the base lead.

    Not below /tmp or /var/tmp, because a chroot has its own.
    """
    site.write("overlays/tree/etc/x/file", "new")
    (site.path / "a.tar").write_bytes(tar_of(plain("file", b"new")))
    with TemporaryDirectory(dir="/var/lib", prefix="pipeline-faults-") as name:
        folder = Path(name)
        (folder / "file").write_text("old\n[DEFAULT]\n")
        yield folder


def state(folder: Path) -> dict[str, tuple[int, int, str]]:
    return {
        path.name: (path.lstat().st_mode, path.lstat().st_mtime_ns, path.read_text())
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("how", ["absolute", "relative"])
def test_a_stage_below_a_link_out_of_the_image_writes_nothing_outside(
    site: Site, outside: Path, kind: str, how: str
) -> None:
    target = str(outside) if how == "absolute" else "../" * 20 + str(outside).lstrip("/")
    (site.base / "etc/x").symlink_to(target)
    before = state(outside)
    site.recipe(STAGES[kind])
    ended = site.run("build")
    assert ended.exit_code in (0, 1)
    assert state(outside) == before
    if ended.exit_code:
        assert f'{site.line("[[stage]]")}: stage "s": ' in ended.err


@pytest.mark.parametrize("kind", ["overlay", "file", "edit", "settings"])
def test_a_file_that_is_itself_a_link_out_of_the_image_is_not_followed_outside(
    site: Site, outside: Path, kind: str
) -> None:
    (site.base / "etc/x").mkdir()
    (site.base / "etc/x/file").symlink_to(outside / "file")
    before = state(outside)
    site.recipe(STAGES[kind])
    assert site.run("build").exit_code in (0, 1)
    assert state(outside) == before


def test_what_the_link_leads_to_within_the_image_is_what_is_changed(site: Site, outside: Path) -> None:
    inside = site.base / str(outside).lstrip("/")
    inside.mkdir(parents=True)
    (inside / "file").write_text("old\n")
    (site.base / "etc/x").symlink_to(outside)
    site.recipe(STAGES["edit"])
    ended = site.run("build")
    assert ended.exit_code == 0, ended.err
    published = site.images / "web" / str(outside).lstrip("/")
    assert (published / "file").read_text() == "old\nnew\n"
    assert (outside / "file").read_text() == "old\n[DEFAULT]\n"
