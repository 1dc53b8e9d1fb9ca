"""Each thing that a machine can lack is found, with its fix."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.chroot import machine
from pipeline.cli import doctor as verb

REPOSITORY = Path(__file__).parents[2]


def test_a_kernel_without_overlayfs_is_found(tmp_path: Path) -> None:
    filesystems = tmp_path / "filesystems"
    filesystems.write_text("nodev\ttmpfs\n")
    check = machine._overlay(filesystems, tmp_path)
    assert check.needed and not check.good and "modules" in str(check.hint)
    folder = tmp_path / os.uname().release / "kernel/fs/overlayfs"
    folder.mkdir(parents=True)
    (folder / "overlay.ko.xz").write_text("")
    assert machine._overlay(filesystems, tmp_path).good
    filesystems.write_text("nodev\toverlay\n")
    assert machine._overlay(filesystems, tmp_path / "none").good


@pytest.mark.parametrize(
    ("library", "page", "good"),
    [
        ("libc-2.12.so", "[vdso]", False),
        ("libc-2.12.so", "[vsyscall]", True),
        ("libc-2.17.so", "[vdso]", True),
        ("libc.so.6", "[vdso]", True),
    ],
)
def test_an_image_of_el6_needs_the_vsyscall_page(tmp_path: Path, library: str, page: str, good: bool) -> None:
    (tmp_path / "base/usr/lib64").mkdir(parents=True)
    (tmp_path / "base/lib64").symlink_to("/usr/lib64")
    (tmp_path / "base/usr/lib64" / library).write_text("")
    (tmp_path / "maps").write_text(f"ff-fff r-xp 0 00:00 0 {page}\n")
    check = machine._vsyscall([tmp_path / "base", tmp_path / "missing"], tmp_path / "maps")
    assert check.good is good
    assert "vsyscall=emulate" in str(check.command)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "pipeline.toml"
    text = f'[site]\nstore = "{tmp_path}/store"\nimages = "{tmp_path}/images"\n'
    file.write_text(text + '[bases]\nmissing = "/no/such/base"\n[lab]\nhome = "lab"\n')
    return file


def doctor(site: Path, *before: str, path: str | None = None) -> tuple[int, dict[str, dict[str, object]]]:
    done = subprocess.run(
        [*before, sys.executable, "-m", "pipeline", "--site", str(site), "doctor", "--json"],
        capture_output=True, text=True, cwd=REPOSITORY,
        env={**os.environ, **({"PATH": path} if path is not None else {})},
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)["checks"]}


@pytest.mark.skipif(os.geteuid() != 0, reason="drops root's privileges")
def test_not_being_root_is_found(site: Path) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv here")
    os.chmod(site.parent, 0o755)
    code, checks = doctor(site, setpriv, "--bounding-set=-all", "--inh-caps=-all", "unshare", "-U", "--")
    assert code == 3 and not checks["root"]["good"] and "sudo" in str(checks["root"]["command"])


def test_one_thing_that_is_missing_is_told_as_one(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = machine.Check("overlay", False, "none")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(verb, "_checks", lambda _: [bad])
        assert verb.run(argparse.Namespace(site=site, json=False)) == 3
    assert capsys.readouterr().out.splitlines()[-1] == "1 thing is missing"


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are looked at by root only")
def test_a_container_without_rights_is_found(site: Path) -> None:
    code, checks = doctor(site, "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    assert code == 3 and "--privileged" in str(checks["namespaces"]["hint"])


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_a_store_that_cannot_hold_layers_is_found(site: Path) -> None:
    top = site.parent
    for name in ("lower", "upper", "work", "store"):
        (top / name).mkdir()
    mount = f"mount -t overlay o -o lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work {top}/store"
    code, checks = doctor(site, "unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh")
    assert code == 3 and not checks["store"]["good"] and "overlay" in str(checks["store"])


def test_a_machine_without_find_is_found(site: Path, tmp_path: Path) -> None:
    code, checks = doctor(site, path=str(tmp_path))
    assert code == 3 and not checks["programs"]["good"]
    assert checks["programs"]["detail"] == "missing: find" and checks["programs"]["command"] == "make setup"
    assert doctor(site)[1]["programs"]["good"]


def test_what_finding_out_who_signed_lacks_is_told_where_the_site_asks_for_it(site: Path) -> None:
    assert "signing" not in doctor(site)[1]
    site.write_text(site.read_text() + '[signing]\nsigners = "signers"\n')
    code, checks = doctor(site, path=str(site.parent))
    told = str(checks["signing"]["detail"])
    assert code == 3 and "the program 'ssh-keygen' is missing" in told and "/signers: No such file" in told
    assert "openssh" in str(checks["signing"]["hint"]) and checks["signing"]["command"] == "make setup"
    (site.parent / "signers").write_text("junk\n")
    code, checks = doctor(site)
    assert code == 3 and f"{site.parent}/signers:1: this line names no signer" in str(checks["signing"])
    (site.parent / "signers").write_text("# nobody yet\n")
    assert doctor(site)[1]["signing"]["good"]


def test_setup_installs_find() -> None:
    assert re.search(
        r"^need find findutils findutils$", (REPOSITORY / "ci/setup.sh").read_text(), re.MULTILINE
    )


def test_missing_programs_of_the_lab_are_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.cli import doctor as verb

    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    check = verb._lab_programs()
    assert not check.good and "missing: " in check.detail and check.command == "make setup"


def test_a_unit_that_does_not_mount_what_this_site_publishes_is_told_with_what_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.publish import unit
    from pipeline.recipe.model import Site

    site = Site(tmp_path / "pipeline.toml", tmp_path, tmp_path / "store", tmp_path / "images")
    monkeypatch.setattr(unit, "FOLDERS", (tmp_path / "wants", tmp_path / "shipped"))
    (tmp_path / "wants").mkdir()
    check = verb._unit(site)
    assert not check.good and check.detail == "pipeline-publish.service is not enabled"
    file = tmp_path / "wants" / unit.NAME
    file.write_text(unit.unit(site))
    assert verb._unit(site).good
    other_name = re.sub(r"(?m)^(ExecStart=\S*/python)[0-9.]*", r"\g<1>3.99", unit.unit(site))
    file.write_text(other_name)
    assert verb._unit(site).good, "the same interpreter has several names"
    moved = unit.unit(Site(tmp_path / "old.toml", tmp_path, tmp_path / "old", tmp_path / "images"))
    for text in ("[Unit]\nDescription=nothing\n", moved, ""):
        file.write_text(text)
        check = verb._unit(site)
        assert not check.good and not check.needed and f"but {file} is not what" in check.detail
        assert "pipeline publish --unit >/etc/systemd/system/" in str(check.command)
        assert "daemon-reload" in str(check.command)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_that_a_container_cannot_publish_by_mounting_is_told(site: Path) -> None:
    assert doctor(site)[1]["publishing"]["good"]
    apart = ("unshare", "-m", "--propagation", "private")
    check = doctor(site, *apart)[1]["publishing"]
    assert not check["good"] and not check["needed"] and "do not reach the machine" in str(check["detail"])
    site.write_text(site.read_text().replace("[bases]", 'publish = "copy"\n[bases]'))
    assert doctor(site, *apart)[1]["publishing"]["good"]
