"""How the lab's base images come into being: once, complete, and whatever happens on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import MachineError
from pipeline.lab import bases, roots
from pipeline.lab.bases import ensure_bases
from pipeline.lab.repackage import python_tag, requires, rpm_version
from tests.trees import tree_entries

REPOSITORY = Path(__file__).parents[2]

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="base images are built and entered by root")


class TestVersions:
    @pytest.mark.parametrize(
        ("debian", "expected"),
        [
            ("1.2-3", ("", "1.2", "3")),
            ("2:4.0.2-3", ("2", "4.0.2", "3")),
            ("2.36-9+deb12u14", ("", "2.36", "9+deb12u14")),
            ("1.3.3+ds-1", ("", "1.3.3+ds", "1")),
            ("20230311", ("", "20230311", "0")),
            ("0.0~2023.04.11-1", ("", "0.0~2023.04.11", "1")),
            ("2.0-beta-1", ("", "2.0.beta", "1")),
        ],
    )
    def test_a_debian_version_becomes_one_that_rpm_takes(
        self, debian: str, expected: tuple[str, str, str]
    ) -> None:
        version = rpm_version(debian)
        assert (version.epoch, version.version, version.release) == expected

    def test_only_packages_of_the_closure_are_required_the_first_of_alternatives(self) -> None:
        names = frozenset({"libc6", "gawk", "mawk", "python3"})
        depends = "libc6 (>= 2.36), debconf | debconf-2.0, original-awk | gawk | mawk, python3:any"
        assert requires(depends, names) == ("gawk", "libc6", "python3")

    def test_compiled_python_is_named_after_the_closures_python(self) -> None:
        assert python_tag(frozenset({"python3", "python3.13", "python3-dnf", "python3.13-minimal"})) == "313"


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """A home in which both images are built, as far as the stamp says."""
    for image in bases.IMAGES:
        (tmp_path / "images" / image.name).mkdir(parents=True)
    (tmp_path / "images/.bases").write_text(bases._digest())
    return tmp_path


class TestBuilding:
    def test_a_second_call_builds_nothing_and_takes_no_time(self, complete: Path) -> None:
        notes: list[str] = []
        start = time.perf_counter()
        trees = ensure_bases(complete, notes.append)
        assert time.perf_counter() - start < 0.1
        assert (notes, list(trees)) == ([], ["openstack-image", "virtual-node-image"])

    def test_it_imports_nothing_slow_until_it_builds(self) -> None:
        script = "import sys, pipeline.lab.bases; print(*sorted(sys.modules))"
        loaded = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout
        assert {"sh", "requests", "concurrent.futures"}.isdisjoint(loaded.split())

    def test_missing_programs_are_named_all_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bases, "PROGRAMS", {"no-such-rpm": "rpm", "no-such-dpkg": "dpkg", "sh": "dash"})
        with pytest.raises(MachineError) as raised:
            ensure_bases(tmp_path / "home", lambda line: None)
        assert ["'no-such-rpm'" in str(raised.value), "'no-such-dpkg'" in str(raised.value)] == [True, True]
        assert raised.value.problems[0].command == "apt-get install -y dpkg rpm"
        assert not (tmp_path / "home").exists()


@pytest.fixture
def small_home(lab_home: Path, lab_images: dict[str, Path], tmp_path: Path) -> Iterator[Path]:
    """A home with the packages of the lab's own, and no images yet."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("apt", "rpms"):
        subprocess.run(["cp", "-a", str(lab_home / name), str(home / name)], check=True)
    yield home
    subprocess.run(["rm", "-rf", str(home)], check=True)


@needs_root
class TestKilled:
    def test_a_killed_build_leaves_no_mount_and_no_image_and_the_next_one_makes_the_same(
        self, small_home: Path, lab_images: dict[str, Path]
    ) -> None:
        script = (
            "import sys; from pathlib import Path; from pipeline.lab.bases import ensure_bases\n"
            "ensure_bases(Path(sys.argv[1]), lambda line: print(line, flush=True))"
        )
        command = [sys.executable, "-c", script, str(small_home)]
        first = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        assert first.stdout is not None
        for line in first.stdout:
            if "installing" in line:
                break
        database = small_home / "images/.openstack-image.new/var/lib/rpm/rpmdb.sqlite"
        deadline = time.monotonic() + 60
        while not database.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert str(small_home) not in Path("/proc/self/mounts").read_text()
        assert list((small_home / "images").glob("[a-z]*")) == []
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) for _ in range(2)
        ]
        notes = [process.communicate()[0] for process in both]
        assert [process.returncode for process in both] == [0, 0]
        assert sorted(text.count("is complete") for text in notes) == [0, 2]
        for image, tree in lab_images.items():
            assert tree_entries(small_home / "images" / image) == tree_entries(tree)
        assert roots.chroot(small_home / "images/openstack-image", ["rpm", "-q", "bash"]).startswith("bash-")
