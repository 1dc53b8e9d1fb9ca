"""What the lab is built from, and what it makes of it, are the same wherever and whenever that is."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pycdlib
import pytest

from pipeline.lab import bases, ofed, roots, rpms, sources
from pipeline.lab.rpmbuild import EPOCH
from tests.small_rpms import Package, build_packages
from tests.trees import tree_entries


def a_moment() -> None:
    """Long enough for another date in whole seconds, the steps in which ISO images and RPM count."""
    time.sleep(1.1)


@pytest.mark.skipif(ofed.iso_program() is None, reason="needs a program that writes ISO images")
class TestIso:
    @pytest.fixture
    def images(self, tmp_path: Path) -> Iterator[list[Path]]:
        """The same tree, with names long enough for continued fields, packed twice."""
        images = []
        for number in range(2):
            tree = tmp_path / str(number) / "tree"
            for place in ("a/b/deep", f"a/{'long-name-' * 20}", *(f"many/{each:03}" for each in range(60))):
                (tree / place).parent.mkdir(parents=True, exist_ok=True)
                (tree / place).write_text(f"{place} TF\x1a\x01\x0e1234567")
            images.append(tree.with_suffix(".iso"))
            ofed._iso(tree, images[-1])
            a_moment()
        yield images

    def test_the_same_tree_gives_the_same_bytes(self, images: list[Path]) -> None:
        first, second = (image.read_bytes() for image in images)
        assert first == second

    def test_dates_are_set_and_contents_and_long_names_are_as_they_were(self, images: list[Path]) -> None:
        iso = pycdlib.PyCdlib()
        iso.open(str(images[0]))
        try:
            record = iso.get_record(rr_path="/a/b/deep")
            assert (record.date.years_since_1900, record.date.month) == (114, 10)
            with iso.open_file_from_iso(rr_path="/a/b/deep") as file:
                assert file.read() == b"a/b/deep TF\x1a\x01\x0e1234567"
            assert iso.get_record(rr_path=f"/a/{'long-name-' * 20}").rock_ridge is not None
            assert len([1 for _, _, names in iso.walk(rr_path="/many") for _ in names]) == 60
        finally:
            iso.close()


@pytest.mark.skipif(os.geteuid() != 0 or which("rpmbuild") is None, reason="packages are installed by root")
class TestTrees:
    @pytest.fixture
    def package(self, tmp_path: Path) -> Path:
        wanted = Package("small", files="/usr/share/small/file")
        return build_packages([wanted], tmp_path / "small.spec", tmp_path)[0]

    def test_packages_installed_at_another_time_give_the_same_manifest(
        self, package: Path, tmp_path: Path
    ) -> None:
        manifests = []
        for name in ("one", "two"):
            tree = tmp_path / name
            tree.mkdir(mode=0o755)
            roots.found(tree, [[package]])
            (tree / "late").symlink_to("nowhere")
            roots.settle(tree)
            a_moment()
            manifests.append(tree_entries(tree))
        assert manifests[0] == manifests[1]
        assert any(entry.path.endswith("rpmdb.sqlite") for entry in manifests[0])

    def test_files_of_packages_keep_times_that_what_comes_later_does_not_have(
        self, package: Path, tmp_path: Path
    ) -> None:
        tree = tmp_path / "tree"
        tree.mkdir(mode=0o755)
        roots.found(tree, [[package]])
        (tree / "late").write_text("")
        roots.settle(tree)
        rpm = ["rpm", "--root", str(tree), "--dbpath", roots.DATABASE]
        subprocess.run([*rpm, "--verify", "small"], check=True)
        assert (tree / "usr/share/small/file").stat().st_mtime == EPOCH
        assert (tree / "late").stat().st_mtime > EPOCH


class TestSources:
    def test_what_python_compiled_among_them_changes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(bases.LAB, tmp_path / "lab")
        el6 = tmp_path / "lab/el6"
        monkeypatch.setattr(bases, "LAB", tmp_path / "lab")
        monkeypatch.setattr(rpms, "EL6", el6)
        spec = el6 / "openstack-neutron.spec"
        before = bases._digest(), rpms._spec_key(spec, "311"), sources.files(el6)
        compiled = el6 / "openstack-neutron/__pycache__/another.cpython-311.pyc"
        compiled.parent.mkdir(exist_ok=True)
        compiled.write_text("compiled")
        assert (bases._digest(), rpms._spec_key(spec, "311"), sources.files(el6)) == before
