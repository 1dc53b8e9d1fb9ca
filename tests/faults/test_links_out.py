"""Bases with links that lead out of the image (`/etc/x -> /host`): every stage stays inside."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.archives import plain, tar_of
from tests.faults.site import Site, add_shell, archive_stage, command_stage

OLD = "old\n[DEFAULT]\n"


def stage(kind: str, options: str) -> str:
    return f'\n[[stage]]\nname = "s"\ntype = "{kind}"\n{options}'


STAGES: Mapping[str, tuple[str, dict[str, str]]] = {
    "overlay": (stage("overlay", 'tree = "tree"\n'), {"file": "new"}),
    "file": (stage("file", 'path = "/etc/x/file"\ncreate = "new"\n'), {"file": "new"}),
    "link": (stage("file", 'path = "/etc/x/link"\nlink = "target"\n'), {"file": OLD, "link": "-> target"}),
    "remove": (stage("file", 'path = "/etc/x/file"\nremove = true\n'), {}),
    "owner": (stage("file", 'path = "/etc/x/file"\nmode = "0777"\n'), {"file": OLD}),
    "edit": (
        stage("edit", 'file = "/etc/x/file"\nafter = "^old"\ninsert = "new"\n'),
        {"file": "old\nnew\n[DEFAULT]\n"},
    ),
    "settings": (
        stage("settings", 'file = "/etc/x/file"\n[stage.set.DEFAULT]\na = 1\n'),
        {"file": f"{OLD}a = 1\n"},
    ),
    "archive": (archive_stage("a.tar", name="s").replace("/opt/x", "/etc/x"), {"file": "new"}),
}
"""Stages, and what is in the folder that /etc/x leads to after each."""

FOLLOWING = ("file", "owner", "edit", "settings")
"""Those that change what a link leads to; the others replace the link itself."""


@pytest.fixture
def outside(site: Site) -> Iterator[Path]:
    """A directory of the host with a file in it, to which links of the base lead.

    Not below /tmp or /var/tmp, because a chroot has its own.
    """
    site.write("overlays/tree/etc/x/file", "new")
    (site.path / "a.tar").write_bytes(tar_of(plain("file", b"new")))
    with TemporaryDirectory(dir="/var/lib", prefix="pipeline-faults-") as name:
        folder = Path(name)
        (folder / "file").write_text(OLD)
        os.utime(folder / "file", (1_000_000_000, 1_000_000_000))
        os.utime(folder, (1_000_000_000, 1_000_000_000))
        yield folder


def state(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that a careless program could change in ``folder``, and of it."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (folder, *folder.iterdir()):
        status = path.lstat()
        content = path.read_text() if path.is_file() else ""
        owner = (status.st_uid, status.st_gid, status.st_nlink)
        found[path.name] = (status.st_mode, *owner, status.st_mtime_ns, os.listxattr(path), content)
    return found


def tree(folder: Path) -> dict[str, str]:
    """Name → content, or where a link leads."""
    return {
        path.name: f"-> {os.readlink(path)}" if path.is_symlink() else path.read_text()
        for path in folder.iterdir()
    }


def leading_to(outside: Path, how: str) -> str:
    return str(outside) if how == "absolute" else "../" * 20 + str(outside).lstrip("/")


def below(root: Path, path: Path) -> Path:
    return root / str(path).lstrip("/")


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("how", ["absolute", "relative"])
def test_a_stage_below_a_link_out_of_the_image_is_told_and_writes_nothing_outside(
    site: Site, outside: Path, kind: str, how: str
) -> None:
    (site.base / "etc/x").symlink_to(leading_to(outside, how))
    before = state(outside)
    site.recipe(STAGES[kind][0])
    ended = site.run("build")
    assert state(outside) == before
    if kind == "remove":  # there is no such file in the image, and so nothing to do
        assert ended.exit_code == 0, ended.err
        return
    assert ended.exit_code == 1
    assert f'{site.line("[[stage]]")}: stage "s": ' in ended.err
    assert f"/etc/x is a link to {leading_to(outside, how)}, which does not exist in the image" in ended.err


@pytest.mark.parametrize("kind", STAGES)
@pytest.mark.parametrize("how", ["absolute", "relative"])
def test_what_the_link_leads_to_within_the_image_is_what_is_changed(
    site: Site, outside: Path, kind: str, how: str
) -> None:
    inside = below(site.base, outside)
    inside.mkdir(parents=True)
    (inside / "file").write_text(OLD)
    (site.base / "etc/x").symlink_to(leading_to(outside, how))
    before = state(outside)
    text, expected = STAGES[kind]
    site.recipe(text)
    ended = site.run("build")
    assert state(outside) == before
    assert ended.exit_code == 0, ended.err
    assert tree(below(site.images / "web", outside)) == expected
    if kind == "owner":
        assert (below(site.images / "web", outside) / "file").stat().st_mode & 0o7777 == 0o777


@pytest.mark.parametrize("kind", [kind for kind in STAGES if kind != "link"])
def test_a_file_that_is_itself_a_link_out_of_the_image_is_not_followed_outside(
    site: Site, outside: Path, kind: str
) -> None:
    (site.base / "etc/x").mkdir()
    (site.base / "etc/x/file").symlink_to(outside / "file")
    before = state(outside)
    text, expected = STAGES[kind]
    site.recipe(text)
    ended = site.run("build")
    assert state(outside) == before
    if kind in FOLLOWING:
        assert ended.exit_code == 1
        assert f"/etc/x/file is a link to {outside}/file, which does not exist in the image" in ended.err
    else:
        assert ended.exit_code == 0, ended.err
        assert tree(site.images / "web/etc/x") == expected


@pytest.mark.parametrize("mode", ["overlay", "copy"])
def test_a_link_out_that_a_stage_makes_is_kept_as_a_link_by_all_that_is_done_with_the_layer(
    site: Site, outside: Path, mode: str
) -> None:
    text = (site.path / "pipeline.toml").read_text()
    site.write("pipeline.toml", text.replace("[bases]", f'publish = "{mode}"\n\n[bases]', 1))
    (site.base / "etc/of-base").symlink_to(outside / "file")
    os.lchown(site.base / "etc/of-base", 7, 7)
    before = state(outside)
    made = f'path = "/etc/made"\nlink = "{outside}/file"\nowner = "5:5"\n'
    whole = f'path = "/etc/whole"\nlink = "{outside}"\n'
    site.recipe(stage("file", made), stage("file", whole).replace('"s"', '"whole"'))
    for words in (("build",), ("fsck",), ("verify", "web")):
        ended = site.run(*words)
        assert state(outside) == before, words
        assert ended.exit_code == 0, ended.err
    etc = site.images / "web/etc"
    for name, target, owner in (
        ("of-base", outside / "file", 7),
        ("made", outside / "file", 5),
        ("whole", outside, 0),
    ):
        assert os.readlink(etc / name) == str(target)
        assert (etc / name).lstat().st_uid == owner


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "tmp", "run"])
def test_a_folder_of_the_chroot_itself_that_is_a_link_out_is_a_folder_inside(
    site: Site, outside: Path, name: str
) -> None:
    add_shell(site.base)
    (site.base / name).symlink_to(outside)
    before = state(outside)
    site.recipe(command_stage("looks", f"test -d /{name} && test ! -L /{name} && echo yes > /etc/inside"))
    ended = site.run("build")
    assert state(outside) == before
    assert ended.exit_code == 0, ended.err
    assert (site.images / "web/etc/inside").read_text() == "yes\n"
