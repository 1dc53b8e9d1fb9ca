"""Machines that lack something: exit 3 with the reason, all at once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.site import Site, add_shell, command_stage, file_stage

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
CONTAINER = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
"""Root as it is in a container that nobody gave more."""

TAKES_ROOT = "this takes root: images are made and entered with chroots, device nodes and mounts"
ROOTS_ALONE = "the store is root's alone: "

WITHOUT_VSYSCALL = """\
from pathlib import Path

whole = Path.read_text


def read_text(self, *args, **kwargs):
    text = whole(self, *args, **kwargs)
    return text.replace("[vsyscall]", "[gone]") if str(self) == "/proc/self/maps" else text


Path.read_text = read_text
"""

WITHOUT_OVERLAYFS = """\
import errno
import os

from pipeline.chroot import syscalls

whole = syscalls.mount


def mount(source, target, kind=None, *args, **kwargs):
    if kind == "overlay":
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), target)
    return whole(source, target, kind, *args, **kwargs)


syscalls.mount = mount
"""


def on_kernel(site: Site, answers: str) -> tuple[str, ...]:
    """What starts a command with a kernel that answers otherwise: no machine of the tests lacks that."""
    site.write("kernel/sitecustomize.py", answers)
    return ("env", f"PYTHONPATH={site.path}/kernel:{site.environment()['PYTHONPATH']}")


@pytest.fixture
def readable(site: Site) -> Site:
    """The site, where everybody can read and write it."""
    folder = site.path
    while folder != Path("/"):
        folder.chmod(folder.stat().st_mode | 0o755)
        folder = folder.parent
    for path in (site.path, site.path / "recipes"):
        path.chmod(0o777)
    return site


@pytest.mark.parametrize(
    "words",
    [
        ("build",),
        ("lock",),
        ("publish", "web"),
        ("unpublish", "web"),
        ("verify", "web"),
        ("shell", "web"),
        ("rollback", "web"),
        ("gc",),
    ],
)
def test_without_root_what_needs_it_exits_3_with_the_reason_and_touches_nothing(
    readable: Site, words: tuple[str, ...]
) -> None:
    readable.recipe(file_stage("a"))
    ended = readable.run(*words, before=NOBODY)
    assert ended.exit_code == 3, ended.err
    assert TAKES_ROOT in ended.err
    assert "run: sudo pipeline doctor" in ended.err
    readable.check_nothing_ran()


def test_without_root_a_base_that_only_root_sees_is_no_other_answer(readable: Site) -> None:
    hidden = readable.base.parent / "hidden"
    shutil.copytree(readable.base, hidden / "base", symlinks=True)
    hidden.chmod(0o700)
    readable.settle(bases=f'hidden = "{hidden / "base"}"\n')
    readable.recipe(file_stage("a"), base="hidden")
    ended = readable.run("build", before=NOBODY)
    assert ended.exit_code == 3, ended.err
    assert TAKES_ROOT in ended.err
    ended = readable.run("doctor", before=NOBODY)
    assert ended.exit_code == 3, ended.err
    assert "LACK  root: user id 65534" in ended.out


def test_a_wrong_recipe_is_told_also_without_root(readable: Site) -> None:
    readable.recipe(file_stage("a").replace("path", "pat"))
    ended = readable.run("build", before=NOBODY)
    assert ended.exit_code == 2
    assert f"{readable.line('pat =')}: " in ended.err
    readable.check_nothing_ran()


def test_without_root_what_only_looks_works(readable: Site) -> None:
    readable.recipe(file_stage("a"))
    for words in (("plan",), ("stages",), ("schema",)):
        ended = readable.run(*words, before=NOBODY)
        assert ended.exit_code == 0, (words, ended.err)
    readable.check_nothing_ran()


def test_without_root_the_store_is_closed_and_says_why(readable: Site) -> None:
    readable.recipe(file_stage("a"))
    assert readable.run("build").exit_code == 0
    for words in (("versions",), ("show", "web"), ("plan",), ("explain", "web"), ("diff", "web@1", "web@1")):
        ended = readable.run(*words, before=NOBODY)
        assert ended.exit_code == 3, (words, ended.err)
        assert ROOTS_ALONE in ended.err, words
    ended = readable.run("doctor", before=NOBODY)
    assert ended.exit_code == 3, ended.err
    assert "LACK  root: user id 65534" in ended.out
    assert f"note  published versions: {ROOTS_ALONE}" in ended.out


def test_a_container_that_may_not_mount_is_told_so_before_and_while_there_is_a_store(site: Site) -> None:
    site.recipe(file_stage("a"))
    ended = site.run("build", before=CONTAINER)
    assert ended.exit_code == 3, ended.err
    assert "this process may not set the attributes that overlayfs needs" in ended.err
    assert "it needs CAP_SYS_ADMIN (docker run --privileged)" in ended.err
    assert "run: pipeline doctor" in ended.err
    assert site.run("build").exit_code == 0
    site.recipe(file_stage("a"), file_stage("b"))
    ended = site.run("build", before=CONTAINER)
    assert ended.exit_code == 3, ended.err
    assert "this machine could not make a chroot: " in ended.err and "Operation not permitted" in ended.err
    assert "run: pipeline doctor" in ended.err
    assert "b" not in site.layers()


def test_a_kernel_without_overlayfs_is_told_and_mended_the_build_goes_on(site: Site) -> None:
    site.recipe(file_stage("a"))
    ended = site.run("build", before=on_kernel(site, WITHOUT_OVERLAYFS))
    assert ended.exit_code == 3, ended.err
    assert "this machine could not make a chroot: " in ended.err and "No such device" in ended.err
    assert "it takes root, namespaces and overlayfs" in ended.err
    assert "run: pipeline doctor" in ended.err
    assert "a" not in site.layers()
    assert site.run("build").exit_code == 0


@pytest.mark.parametrize(("libc", "exit_code"), [("libc-2.12.so", 3), ("libc-2.17.so", 1)])
def test_an_el6_image_on_a_kernel_without_vsyscall_page_is_told_with_the_boot_parameter(
    site: Site, libc: str, exit_code: int
) -> None:
    add_shell(site.base)
    (site.base / "lib64").mkdir(exist_ok=True)
    (site.base / "lib64" / libc).touch()
    site.recipe(command_stage("dies", "kill -SEGV $$"))
    ended = site.run("build", before=on_kernel(site, WITHOUT_VSYSCALL))
    assert ended.exit_code == exit_code, ended.err
    assert f'{site.line("[[stage]]")}: stage "dies": ' in ended.err
    assert ("programs of EL6 and older can't run here" in ended.err) == (exit_code == 3)
    assert ("boot this machine with vsyscall=emulate" in ended.err) == (exit_code == 3)
    ended = site.run("build")
    assert ended.exit_code == 1, "with the page it is the program's own fault"
    assert "can't run here" not in ended.err


def test_what_the_lab_lacks_is_told_all_at_once_with_the_packages(site: Site, tmp_path: Path) -> None:
    site.settle(f'[lab]\nhome = "{tmp_path}/lab"\n')
    site.recipe(file_stage("a"), base="openstack-image")
    bare = tmp_path / "bin"
    bare.mkdir()
    for program in ("sh", "env"):
        (bare / program).symlink_to(shutil.which(program) or "")
    ended = site.run("build", before=("env", f"PATH={bare}"))
    assert ended.exit_code == 3, ended.err
    for program, package in {"rpmbuild": "rpm", "dpkg-deb": "dpkg", "rpm": "rpm"}.items():
        assert f"the program '{program}'" in ended.err
        assert f"hint: install the package {package}\n" in ended.err
    assert not (tmp_path / "lab/images").exists()


def test_a_store_on_overlayfs_is_refused_with_the_reason(site: Site, tmp_path: Path) -> None:
    site.recipe(file_stage("a"))
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    place = tmp_path / "merged"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", str(place)], check=True)
    text = (site.path / "pipeline.toml").read_text()
    (site.path / "pipeline.toml").write_text(text.replace('store = "store"', f'store = "{place}/store"'))
    try:
        ended = site.run("build")
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert ended.exit_code == 3, ended.err
    assert f"the store {place}/store" in ended.err
    assert "lies on overlayfs, which cannot hold overlayfs layers" in ended.err
    assert "put the store on a volume of its own" in ended.err


def test_a_recipe_folder_that_cannot_be_written_is_told_and_what_is_built_is_kept(site: Site) -> None:
    recipe = site.recipe(file_stage("a"))
    folder = recipe.parent
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        ended = site.run("build")
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert ended.exit_code == 1
    assert f"cannot write {folder}/recipe.lock: Read-only file system" in ended.err
    assert not site.lock().exists()
    ended = site.run("build", "--json")
    assert ended.exit_code == 0
    assert [stage["cached"] for stage in ended.images()["web"]["stages"]] == [True]


def test_nothing_of_the_environment_gets_into_an_image(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    add_shell(site.base)
    site.recipe(command_stage("env", "set > /etc/environment"))
    monkeypatch.setenv("PIPELINE_SECRET", "secret-word")
    assert site.run("build").exit_code == 0
    seen = (site.images / "web/etc/environment").read_text()
    assert "PATH=" in seen and "secret-word" not in seen


def test_a_machine_that_allows_few_open_files_still_builds(site: Site) -> None:
    site.recipe(file_stage("one"))
    ended = site.run("build", before=["prlimit", "--nofile=600:600"])
    assert ended.exit_code == 0, ended.err
