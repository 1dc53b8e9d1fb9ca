"""A lab of its own: the shared base images, a head node, small images with eswitchd and its agent, nodes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest

from pipeline.lab import ofed, roots
from pipeline.lab.head import start
from pipeline.lab.head.objects import Object, blank
from pipeline.lab.head.state import State
from pipeline.lab.kmod import write_module
from pipeline.lab.nodes import running
from tests.lab.nodes.small_lab import Lab

VENDOR = Path(start.__file__).parents[1] / "vendor"
HEAVY = ("perl", "perl5", "gconv", "file", "hwdata")
"""What nothing on these nodes needs, by the names of directories below /usr."""


@pytest.fixture(scope="session")
def small_lab(
    lab_home: Path, lab_images: Mapping[str, Path], lab_mirror: Path, tmp_path_factory: pytest.TempPathFactory
) -> Lab:
    """Not running. Images, both with InfiniBand's drivers and num_vfs=4: ``hasty-2``, whose agent connects at
    once, and of node002 ``patient-1``, whose agent sleeps before, and which has VT-d switched on."""
    home = tmp_path_factory.mktemp("lab")
    for name in ("images", "mirror"):
        (home / name).symlink_to(lab_home / name)
    start.make(home / "head")
    lab = Lab(home)
    whole = home / "head/root/cm/images/patient-1"
    _small_image(lab_images["openstack-image"], whole)
    _edit(whole, "etc/rc.d/init.d/neutron-mlnx-agent", "    done\n", "    done\n    sleep 3\n")
    hasty = home / "head/root/cm/images/hasty-2"
    _link_tree(whole, hasty)
    _edit(hasty, "etc/rc.d/init.d/neutron-mlnx-agent", "    sleep 3\n", "")
    lab.change(_objects)
    return lab


def _objects(state: State) -> None:
    images = {
        "patient-1": _image("patient-1", "biosdevname=0 intel_iommu=on"),
        "hasty-2": _image("hasty-2", "biosdevname=0"),
    }
    state["objects"]["softwareimage"].update(images)
    state["objects"]["device"]["node002"]["values"]["softwareimage"] = "patient-1"
    for name in ("openstack-compute-hosts", "openstack-network-nodes"):
        made = {}
        for service in ("eswitchd", "neutron-mlnx-agent"):
            made[service] = blank("Service")
            made[service]["values"].update(autostart=True, monitored=True)
        category = state["objects"]["category"][name]
        category["sub"]["services"] = made
        category["values"]["softwareimage"] = "hasty-2"


@pytest.fixture(scope="module")
def lab(small_lab: Lab) -> Iterator[Lab]:
    """Three nodes are up."""
    try:
        small_lab.up(3)
        yield small_lab
    finally:
        running.down(small_lab.home)


def _image(name: str, kernel_parameters: str) -> Object:
    one = blank("SoftwareImage")
    one["values"].update(path=f"/cm/images/{name}", kernelparameters=kernel_parameters)
    return one


def _small_image(base: Path, tree: Path) -> None:
    """The base image without what is heavy, with the vendor's daemons put where their packages put them."""
    _link_tree(base, tree)
    for folder in [path for path in (tree / "usr").rglob("*") if path.is_dir() and path.name in HEAVY]:
        shutil.rmtree(folder, ignore_errors=True)
    for source, place, mode in (
        ("icehouse/eswitchd", "usr/bin/eswitchd", 0o755),
        ("icehouse/eswitchd.init", "etc/rc.d/init.d/eswitchd", 0o755),
        ("icehouse/eswitchd.conf", "etc/eswitchd/eswitchd.conf", 0o644),
        ("rdo/neutron-mlnx-agent", "usr/bin/neutron-mlnx-agent", 0o755),
        ("rdo/neutron-mlnx-agent.init", "etc/rc.d/init.d/neutron-mlnx-agent", 0o755),
        ("rdo/mlnx_conf.ini", "etc/neutron/plugins/mlnx/mlnx_conf.ini", 0o644),
    ):
        _write(tree / place, (VENDOR / source).read_text(), mode)
    for folder in ("var/log/eswitchd", "var/run/eswitchd"):
        (tree / folder).mkdir(parents=True)
        (tree / folder).chmod(0o777)
    _edit(tree, "etc/passwd", r"\Z", "eswitch:x:499:499::/var/lib/eswitch:/bin/false\n")
    _edit(tree, "etc/group", r"\Z", "eswitch:x:499:\n")
    (tree / "etc/rc.d/rc3.d/S97eswitchd").symlink_to("../init.d/eswitchd")
    _write(tree / "etc/modprobe.d/mlx4_core.conf", "options mlx4_core port_type_array=1,1 num_vfs=4\n")
    _write(tree / "etc/rc.d/init.d/openibd", "#!/bin/sh\nmodprobe -a mlx4_ib ib_ipoib eth_ipoib\n", 0o755)
    (tree / "etc/rc.d/rc3.d/S05openibd").symlink_to("../init.d/openibd")
    modules = tree / "lib/modules" / ofed.KERNEL
    write_module(modules / "extra/eth_ipoib.ko", "eth_ipoib", f"{ofed.KERNEL} SMP ", depends=["ib_ipoib"])
    roots.chroot(tree, ["depmod", ofed.KERNEL])


def _link_tree(source: Path, target: Path) -> None:
    """A copy that costs nothing: who changes a file puts another in its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    linked = subprocess.run(["cp", "-al", str(source), str(target)], capture_output=True, check=False)
    if linked.returncode:
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def _edit(tree: Path, name: str, pattern: str, text: str) -> None:
    path = tree / name
    new, count = re.subn(pattern, lambda _: text, path.read_text(), count=1)
    assert count
    _write(path, new, path.stat().st_mode & 0o7777)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows how its nodes were."""
    report = yield
    found = getattr(item, "funcargs", {}).get("lab")
    if report.failed and isinstance(found, Lab):
        report.sections.append(("Nodes", found.account()))
    return report
