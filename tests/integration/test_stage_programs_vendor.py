"""The package steps of the seed, on the image and the vendor of the lab: locked, then built from the lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.chroot.enter import enter
from pipeline.chroot.root import INPUTS, RootSpec
from pipeline.lab.bases import ensure_bases
from pipeline.lab.mirror import Mirror
from pipeline.lab.vendor import ensure_vendor
from pipeline.packaging import rpmdb
from pipeline.packaging.resolve import Resolution, resolve
from pipeline.stages.base import Inputs, LockedPackage, PackageAnswer
from pipeline.stages.packages import Packages
from pipeline.stages.repository import Repository

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")

MELLANOX = "http://www.mellanox.com/downloads/solutions/openstack/icehouse/repo/mlnx-icehouse"
RDO = "http://repos.fedorapeople.org/repos/openstack/openstack-icehouse/epel-6"
DNSMASQ = (
    "ftp://ftp.pbone.net/mirror/ftp5.gwdg.de/pub/opensuse/repositories/home:/kalyaka/CentOS_CentOS-6/x86_64/"
    "dnsmasq-2.66-3.1.x86_64.rpm"
)
DHCP = f"{MELLANOX}/mlnx-dnsmasq-2014.1.1-1.noarch.rpm"
REPOSITORIES = {"mellanox": f"{MELLANOX}/mlnx-icehouse.repo", "rdo": f"{RDO}/rdo-icehouse.repo"}

STAGE = Packages(
    name="packages",
    remove=("cm-config-intelcompliance-slave", "qlgc-ofed"),
    install=("eswitchd", "openstack-neutron-mellanox", "mlnxvif", DHCP, DNSMASQ),
)


@pytest.fixture(scope="module")
def lab() -> tuple[Path, Path]:
    """The tree of openstack-image, and the root of the mirror."""
    home = Path(os.environ.get("PIPELINE_LAB_HOME", Path(__file__).parents[2] / ".pipeline/lab"))
    tree, mirror = home / "images/openstack-image", home / "mirror"
    if tree.is_dir() and mirror.is_dir():
        return tree, mirror
    return ensure_bases(home, print)["openstack-image"], ensure_vendor(home, print)


def in_mirror(mirror: Path, url: str) -> Path:
    return mirror / url.replace("://", "/")


def lock(tree: Path, mirror: Path, out: Path) -> Resolution:
    binds = {f"{number}": in_mirror(mirror, url) for number, url in enumerate((DHCP, DNSMASQ))}
    binds |= {name: in_mirror(mirror, url) for name, url in REPOSITORIES.items()}
    spec = RootSpec(layers=(tree,), binds=binds, out=out, network=True)
    with Mirror(mirror) as server, enter(spec) as root:
        for name, url in REPOSITORIES.items():
            stage = Repository(name=name, source=url, gpgcheck=False)
            stage.run(root, Inputs(sources={url: f"{INPUTS}/{name}"}))
        return resolve(
            root,
            STAGE.packages(),
            files={DHCP: f"{INPUTS}/0", DNSMASQ: f"{INPUTS}/1"},
            mirrors={prefix: server.map(prefix) for prefix in ("http://www.mellanox.com/", RDO)},
        )


def test_the_seed_is_locked_and_built_without_network(lab: tuple[Path, Path], tmp_path: Path) -> None:
    tree, mirror = lab
    found = lock(tree, mirror, tmp_path)
    by_name = {package.nevra.rsplit("-", 2)[0]: package for package in found.install}
    assert by_name["dnsmasq"].location == DNSMASQ
    assert by_name["mlnx-dnsmasq"].location == DHCP
    assert [url.rstrip("/") for url in by_name["eswitchd"].base_urls] == [MELLANOX]
    assert [url.rstrip("/") for url in by_name["openstack-neutron-mellanox"].base_urls] == [RDO]
    removed = {nevra.rsplit("-", 2)[0] for nevra in found.remove}
    assert removed == {"cm-config-intelcompliance-slave", "dnsmasq"}

    files = {
        package.location or package.nevra: tmp_path / package.file
        if package.file
        else in_mirror(mirror, package.location or "")
        for package in found.install
    }
    answer = PackageAnswer(
        install=tuple(
            LockedPackage(
                nevra=package.nevra, location=package.location or package.nevra, size=1, sha256="0" * 64
            )
            for package in found.install
        ),
        remove=found.remove,
    )
    numbered = {location: str(number) for number, location in enumerate(files)}
    binds = {numbered[location]: path for location, path in files.items()}
    sources = {location: f"{INPUTS}/{number}" for location, number in numbered.items()}
    notes: list[str] = []
    with enter(RootSpec(layers=(tree,), binds=binds), on_note=notes.append) as root:
        STAGE.run(root, Inputs(packages=answer, sources=sources))
        installed = {nevra.rsplit("-", 2)[0]: nevra for nevra in rpmdb.installed(root)}
        assert installed["dnsmasq"] == "dnsmasq-2.66-3.1.x86_64"
        assert {"eswitchd", "openstack-neutron-mellanox", "mlnxvif", "mlnx-dnsmasq"} <= set(installed)
        assert "cm-config-intelcompliance-slave" not in installed
        assert root.run(["rpm", "-V", "eswitchd"], exit_codes=(0, 1)).exit_code == 0
    assert notes == ["remove: qlgc-ofed is not installed, nothing to remove"]
