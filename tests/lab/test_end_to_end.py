"""The seed's images from nothing to published versions, and what a user does next, on the lab."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.project import REPOSITORY, Project, make_project, unmount_all

IMAGES = ["openstack-image-mellanox", "virtual-node-image"]
CORE_CONF = "overlays/openstack-image-mellanox/etc/modprobe.d/mlx4_core.conf.j2"

pytestmark = pytest.mark.xdist_group("end-to-end")


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, lab_home: Path, lab_images: object, lab_mirror: object
) -> Iterator[Project]:
    made = make_project(tmp_path_factory.mktemp("e2e") / "project", lab_home)
    yield made
    unmount_all(made)


@pytest.fixture(scope="module")
def first(project: Project) -> dict[str, Any]:
    """The first build of both images: image → its part of the document."""
    result = project.run("build", "--json")
    assert result.exit_code == 0, result.err
    return {image["image"]: image for image in result.json()["images"]}


def built(project: Project, *words: str) -> dict[str, Any]:
    result = project.run("build", "--json", *words)
    assert result.exit_code == 0, result.err
    return {image["image"]: image for image in result.json()["images"]}


def test_both_images_become_version_1_tested_and_published(project: Project, first: dict[str, Any]) -> None:
    assert sorted(first) == IMAGES
    for name, image in first.items():
        assert (image["version"], image["verified"], image["lock"]) == (1, True, "made")
        assert image["tests"][0] == image["tests"][1] > 5
        assert image["published"] == str(project.images / f"{name}-1")
        assert os.readlink(project.images / name) == f"{name}-1"
        assert (project.images / name / "etc/redhat-release").is_file()
        assert not any(stage["cached"] for stage in image["stages"])


def test_the_readme_counts_the_tests_that_there_are(first: dict[str, Any]) -> None:
    said = set(re.findall("^tests: (.*) passed$", (REPOSITORY / "README.md").read_text(), re.MULTILINE))
    assert said == {"{} of {}".format(*image["tests"]) for image in first.values()}


def test_the_document_says_all_of_each_stage(first: dict[str, Any]) -> None:
    for image in first.values():
        assert len(image["tree"]) == 64
        for stage in image["stages"]:
            assert set(stage) >= {"name", "type", "key", "cached", "seconds", "bytes", "packages"}


def test_expected_firmware_errors_are_named(first: dict[str, Any]) -> None:
    for image in first.values():
        notes = next(stage["notes"] for stage in image["stages"] if stage["name"] == "ofed")
        assert any("Failed to update Firmware" in note and "no HCA" in note for note in notes)


def test_what_is_removed_when_it_is_there_is_removed_from_the_image_that_has_it(
    first: dict[str, Any],
) -> None:
    counts = {
        name: next(stage["packages"] for stage in image["stages"] if stage["name"] == "ofed-conflicts")
        for name, image in first.items()
    }
    assert counts == {"openstack-image-mellanox": 1, "virtual-node-image": 2}


def test_a_second_build_runs_no_stage_and_makes_no_version(project: Project, first: dict[str, Any]) -> None:
    again = built(project)
    for name, image in again.items():
        assert image["version"] == 1
        assert all(stage["cached"] for stage in image["stages"])
        assert image["tree"] == first[name]["tree"]
        assert image["lock"] == "kept"


def test_the_lock_holds_every_rpm_and_source(project: Project, first: dict[str, Any]) -> None:
    import tomllib

    lock = tomllib.loads((project.path / "recipes/openstack-image-mellanox/recipe.lock").read_text())
    packages = [package for stage in lock["stages"] for package in stage["answer"]["install"]]
    names = {package["nevra"].rsplit("-", 2)[0] for package in packages}
    assert {"eswitchd", "openstack-neutron-mellanox", "mlnxvif", "mlnx-dnsmasq", "dnsmasq"} <= names
    for entry in (*packages, *lock["sources"]):
        assert len(entry["sha256"]) == 64
        assert entry["size"] > 0
        assert entry["location"].startswith(("http://", "ftp://"))
        assert "127.0.0.1" not in entry["location"]


def test_the_same_lock_in_an_empty_store_is_the_same_tree(
    project: Project, first: dict[str, Any], tmp_path: Path, lab_home: Path
) -> None:
    other = make_project(tmp_path / "other", lab_home)
    try:
        for name in IMAGES:
            lock = Path("recipes") / name / "recipe.lock"
            (other.path / lock).write_bytes((project.path / lock).read_bytes())
        again = built(other, "--locked")
        assert {name: image["tree"] for name, image in again.items()} == {
            name: image["tree"] for name, image in first.items()
        }
    finally:
        unmount_all(other)


def test_verification_reports_are_kept_with_the_version(project: Project, first: dict[str, Any]) -> None:
    shown = project.run("show", "openstack-image-mellanox@1", "--json").json()
    assert shown["verification"]["passed"]
    reports = Path(project.run("verify", "openstack-image-mellanox@1", "--json").json()["reports"])
    assert {"junit.xml", "results.json"} <= {path.name for path in reports.iterdir()}


def test_show_tells_kernel_parameters_packages_and_provenance(
    project: Project, first: dict[str, Any]
) -> None:
    version = project.run("show", "openstack-image-mellanox", "--json").json()["version"]
    assert version["kernel_parameters"] == ["intel_iommu=on", "iommu=pt", "pci=realloc", "pci=nocrs"]
    assert version["kernel"] == "2.6.32-431.el6.x86_64"
    assert any(nevra.startswith("eswitchd-0.10") for nevra in version["packages"])
    assert all(len(version[name]) == 64 for name in ("recipe_digest", "lock_digest", "base_digest"))
    text = project.run("show", "openstack-image-mellanox", "--packages").out
    for word in ("intel_iommu=on", "eswitchd-0.10", "passed", "recipe.toml:", "mlnx-ofed.toml:"):
        assert word in text


def test_shell_runs_in_the_version_and_leaves_nothing(project: Project, first: dict[str, Any]) -> None:
    said = project.run("shell", "openstack-image-mellanox@1", "--", "sh", "-c", "uname -r; touch /etc/x")
    assert said.out == "2.6.32-431.el6.x86_64\n"
    again = project.run("shell", "openstack-image-mellanox@1", "--", "ls", "/etc/x")
    assert again.exit_code != 0


def test_the_store_is_as_it_was_committed(project: Project, first: dict[str, Any]) -> None:
    result = project.run("fsck")
    assert result.exit_code == 0, result.out


def test_an_edited_overlay_reruns_it_and_what_follows_and_rollback_brings_the_old_one_back(
    project: Project, first: dict[str, Any]
) -> None:
    conf = project.path / CORE_CONF
    conf.write_text("# less noise\n" + conf.read_text().replace("debug_level=1", "debug_level=0"))
    image = built(project, "openstack-image-mellanox")["openstack-image-mellanox"]
    assert image["version"] == 2
    ran = [stage["name"] for stage in image["stages"] if not stage["cached"]]
    assert ran == ["drivers", "dhcp-agent", "nova", "mlnx-agent", "eswitchd-settings"]
    published = project.images / "openstack-image-mellanox"
    assert "debug_level=0" in (published / "etc/modprobe.d/mlx4_core.conf").read_text()

    rolled = project.run("rollback", "openstack-image-mellanox", "--json")
    assert rolled.json()["version"] == "openstack-image-mellanox@1"
    assert os.readlink(published) == "openstack-image-mellanox-1"
    assert "debug_level=1" in (published / "etc/modprobe.d/mlx4_core.conf").read_text()


def test_nothing_of_the_host_was_written(project: Project, first: dict[str, Any]) -> None:
    assert not Path("/opt/MLNX_OFED_LINUX-2.3-1.0.1-rhel6.5-x86_64").exists()
    assert not Path("/etc/init.d/neutron-mlnx-agent").exists()
    kinds = [line.split()[2] for line in Path("/proc/self/mounts").read_text().splitlines()
             if str(project.path) in line]  # fmt: skip
    assert set(kinds) <= {"overlay"}


def test_versions_lists_them(project: Project, first: dict[str, Any]) -> None:
    rows = json.loads(project.run("versions", "--json").out)["versions"]
    assert {row["version"] for row in rows} >= {f"{name}@1" for name in IMAGES}
