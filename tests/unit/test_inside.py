"""Paths of an image, looked at from outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.chroot.inside import kernel_release, resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/tool").write_text("")
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "absolute").symlink_to("/usr/bin/tool")
    (tmp_path / "up").symlink_to("../../../../usr")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "nowhere").symlink_to("/run/a/b")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("bin/tool", "usr/bin/tool"),
        ("/absolute", "usr/bin/tool"),
        ("up/bin/../bin/tool", "usr/bin/tool"),
        ("../../etc/passwd", None),
        ("circle", None),
        ("nowhere", None),
        ("usr/bin/tool/below", None),
        ("/", ""),
    ],
)
def test_no_link_leads_out(root: Path, path: str, found: str | None) -> None:
    assert resolve(str(root), path) == found


def test_where_a_missing_file_would_be_is_known_however_much_is_missing(root: Path) -> None:
    assert resolve(str(root), "nowhere", missing_ok=True) == "run/a/b"
    assert resolve(str(root), "bin/new", missing_ok=True) == "usr/bin/new"
    assert resolve(str(root), "circle", missing_ok=True) is None


def test_the_newest_kernel_counts_and_only_a_real_one(tmp_path: Path) -> None:
    assert kernel_release(str(tmp_path)) is None
    modules = tmp_path / "lib/modules"
    for name in ("2.6.32-71.el6.x86_64", "2.6.32-431.el6.x86_64", "9';reboot;'"):
        (modules / name / "kernel").mkdir(parents=True)
    (modules / "3.0.0-1").mkdir()
    assert kernel_release(str(tmp_path)) == "2.6.32-431.el6.x86_64"
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-3.0.0-1").write_text("")
    assert kernel_release(str(tmp_path)) == "3.0.0-1"
