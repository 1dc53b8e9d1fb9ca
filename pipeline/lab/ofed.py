"""The lab's MLNX_OFED: its RPMs, and the tree around them as a tarball and an ISO image.

Names, versions and the tree's files are those of the release that the hand procedure installs; where they
are not public they follow the pattern of the releases next to it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipeline import programs
from pipeline.lab.isodates import set_dates
from pipeline.lab.kmod import Parameter, write_module
from pipeline.lab.library import write_library
from pipeline.lab.rpmbuild import EPOCH, rpmbuild

if TYPE_CHECKING:
    import tarfile

VERSION = "2.3-1.0.1"
DISTRO = "rhel6.5"
KERNEL = "2.6.32-431.el6.x86_64"
NAME = f"MLNX_OFED_LINUX-{VERSION}-{DISTRO}-x86_64"

VERMAGIC = f"{KERNEL} SMP mod_unload modversions "
"""As EL6 kernels have it, the space at its end included."""

OFA_RELEASE = "OFED.2.3.1.0.1.1.g6e9b2f1.rhel6u5"

LIBRARIES = "/usr/lib64"
"""Where the libraries lie. The linker of the lab's images, Debian's, does not look there by itself."""

DEPMOD = '/sbin/depmod -a "$(uname -r)"'
"""As the original's packages: for the running kernel, which in a chroot is the build host's."""

ISO_PROGRAMS = ("xorriso", "genisoimage")


class Component(msgspec.Struct, frozen=True):
    """A package that only has files: a payload directory of its name, if any, and what its kind brings.

    ``library`` is the soname of its shared library, ``modules`` the kernel modules that it holds.
    """

    name: str
    version: str
    release: str
    summary: str
    library: str = ""
    modules: tuple[str, ...] = ()
    requires: str = ""
    target: str = "x86_64"


class Module(msgspec.Struct, frozen=True):
    """A kernel module: its folder below ``extra/``, and what modinfo says of it."""

    name: str
    folder: str
    depends: tuple[str, ...] = ()
    params: tuple[tuple[str, Parameter], ...] = ()
    aliases: tuple[str, ...] = ()


COMPONENTS = (
    Component("ofed-scripts", "2.3", "OFED.2.3.1.0.1", "OFED scripts"),
    Component("kmod-iser", "1.4.5", "OFED.2.3.1.0.1.rhel6u5", "iSER initiator", modules=("ib_iser",)),
    Component("kmod-srp", "1.3.3", "OFED.2.3.1.0.1.rhel6u5", "SRP initiator", modules=("ib_srp",)),
    Component(
        "kmod-kernel-mft-mlnx", "3.7.1", "3.rhel6u5", "MFT modules", modules=("mst_pci", "mst_pciconf")
    ),
    Component("libibverbs", "1.1.8mlnx1", "OFED.2.3.1.0.1", "Verbs library", "libibverbs.so.1"),
    Component(
        "libibverbs-devel",
        "1.1.8mlnx1",
        "OFED.2.3.1.0.1",
        "Verbs library, for programs",
        requires="libibverbs",
    ),
    Component(
        "libibverbs-utils", "1.1.8mlnx1", "OFED.2.3.1.0.1", "Verbs library, examples", requires="libibverbs"
    ),
    Component("libmlx4", "1.0.6mlnx1", "OFED.2.3.1.0.1", "ConnectX-3 driver", "libmlx4.so.1"),
    Component("libmlx5", "1.0.1mlnx1", "OFED.2.3.1.0.1", "Connect-IB driver", "libmlx5.so.1"),
    Component("libibcm", "1.0.5mlnx2", "OFED.2.3.1.0.1", "Userspace connection manager", "libibcm.so.1"),
    Component("libibumad", "1.3.9.MLNX20140817.485ffa6", "0.1", "Userspace MAD library", "libibumad.so.3"),
    Component("libibmad", "1.3.11.MLNX20140817.fad53c6", "0.1", "MAD library", "libibmad.so.5"),
    Component("librdmacm", "1.0.18mlnx", "OFED.2.3.1.0.1", "RDMA connection manager", "librdmacm.so.1"),
    Component(
        "librdmacm-utils", "1.0.18mlnx", "OFED.2.3.1.0.1", "RDMA connection examples", requires="librdmacm"
    ),
    Component("ibacm", "1.0.9mlnx", "OFED.2.3.1.0.1", "Communication manager assistant"),
    Component("infiniband-diags", "1.6.5.MLNX20140817.g2c8f9f0", "0.1", "Diagnostics"),
    Component("ibutils2", "2.1.1", "0.49.MLNX20140813.gb2f4c2f", "Fabric diagnostics"),
    Component("mft", "3.7.1", "3", "Firmware tools"),
    Component("mstflint", "3.7.1", "1.20.g9b0e9e3", "Firmware burning tool", requires="mft"),
    Component("perftest", "2.3", "0.14.gfb37b76", "Performance tests", requires="libibverbs-utils"),
    Component("srptools", "1.0.2", "OFED.2.3.1.0.1", "SRP tools"),
    Component("dapl", "2.1.2mlnx", "OFED.2.3.1.0.1", "uDAPL library", "libdat2.so.2"),
    Component("mlnxofed-docs", "2.3", "1.0.1", "Documentation", target="noarch"),
)

_CORE = "mlnx-ofa_kernel/drivers/infiniband/core"
_ULP = "mlnx-ofa_kernel/drivers/infiniband/ulp"
_HW = "mlnx-ofa_kernel/drivers/infiniband/hw"
_NET = "mlnx-ofa_kernel/drivers/net"

_VFS = (
    ("num_vfs", Parameter("charp", "Either single value to define the number of VFs or a list per device")),
    ("probe_vf", Parameter("charp", "Either single value to define how many VFs are probed by this driver")),
    (
        "port_type_array",
        Parameter("charp", "Either pair of values to define port types or a list: 1 IB, 2 Ethernet"),
    ),
    ("debug_level", Parameter("int", "Enable debug tracing if > 0")),
    ("msi_x", Parameter("int", "Attempt to use MSI-X if nonzero")),
    ("log_num_mgm_entry_size", Parameter("int", "log mgm size, that defines the num of qp per mcg")),
)


def _pci(*devices: int) -> tuple[str, ...]:
    return tuple(f"pci:v000015B3d{device:08X}sv*sd*bc*sc*i*" for device in devices)


MODULES = (
    Module("ib_core", _CORE),
    Module("ib_mad", _CORE, ("ib_core",)),
    Module("ib_sa", _CORE, ("ib_mad", "ib_core")),
    Module("ib_cm", _CORE, ("ib_sa", "ib_mad", "ib_core")),
    Module("ib_addr", _CORE),
    Module("iw_cm", _CORE, ("ib_core",)),
    Module("ib_umad", _CORE, ("ib_mad", "ib_core")),
    Module("ib_uverbs", _CORE, ("ib_core",)),
    Module("ib_ucm", _CORE, ("ib_cm", "ib_uverbs", "ib_core")),
    Module("rdma_cm", _CORE, ("ib_cm", "iw_cm", "ib_addr", "ib_sa", "ib_core")),
    Module("rdma_ucm", _CORE, ("rdma_cm", "ib_uverbs", "ib_sa", "ib_core")),
    Module("mlx4_core", f"{_NET}/ethernet/mellanox/mlx4", (), _VFS, _pci(0x1003, 0x1004, 0x1007)),
    Module("mlx4_en", f"{_NET}/ethernet/mellanox/mlx4", ("mlx4_core",)),
    Module(
        "mlx4_ib",
        f"{_HW}/mlx4",
        ("mlx4_core", "ib_sa", "ib_mad", "ib_core"),
        (("sm_guid_assign", Parameter("int", "Enable SM alias_GUID assignment if sm_guid_assign > 0")),),
    ),
    Module("mlx5_core", f"{_NET}/ethernet/mellanox/mlx5/core", (), (), _pci(0x1011, 0x1013)),
    Module("mlx5_ib", f"{_HW}/mlx5", ("mlx5_core", "ib_mad", "ib_core")),
    Module(
        "ib_ipoib",
        f"{_ULP}/ipoib",
        ("ib_cm", "ib_sa", "ib_core"),
        (
            ("send_queue_size", Parameter("int", "Number of descriptors in send queue")),
            ("recv_queue_size", Parameter("int", "Number of descriptors in receive queue")),
        ),
        ("rtnl-link-ipoib",),
    ),
    Module("eth_ipoib", f"{_NET}/eth_ipoib", ("ib_ipoib",)),
    Module("ib_iser", "iser", ("rdma_cm", "ib_core")),
    Module("ib_srp", "srp", ("ib_cm", "ib_sa", "ib_core")),
    Module("mst_pci", "mft"),
    Module("mst_pciconf", "mft"),
)


def packages(data: Path, work: Path, out: Path) -> Iterator[Callable[[], tuple[Path, ...]]]:
    """What builds each RPM of the release into ``out``; may be called in parallel. ``work`` is scratch space.

    ``data`` is the folder of the specs and payloads. Preparing writes each package's files below ``work``.
    """
    driver = work / "mlnx-ofa_kernel"
    _copy(data / "payload/mlnx-ofa_kernel", driver)
    for module in MODULES:
        if module.folder.startswith("mlnx-ofa_kernel/"):
            _write(module, driver)
    symvers = "".join(f"0x00000000\t{module.name}\textra/{module.folder}\n" for module in MODULES)
    (driver / "usr/src/ofa_kernel/default").mkdir(parents=True)
    (driver / "usr/src/ofa_kernel/default/Module.symvers").write_text(symvers)
    defines = {"ofa_version": "2.3", "ofa_release": OFA_RELEASE, "kernel": KERNEL}
    yield partial(rpmbuild, data / "mlnx-ofa_kernel.spec", sources=driver, out=out, defines=defines)

    _copy(data / "payload/opensm", work / "opensm")
    defines = {"opensm_version": "4.3.0.MLNX20140812.d7b2f3c", "opensm_release": "0.1"}
    yield partial(rpmbuild, data / "opensm.spec", sources=work / "opensm", out=out, defines=defines)

    for component in COMPONENTS:
        sources = work / component.name
        _fill(component, data, sources)
        yield partial(
            rpmbuild, data / "component.spec", sources=sources, out=out, defines=_defines(component)
        )


def _defines(component: Component) -> dict[str, str]:
    defines = {
        "component": component.name,
        "component_version": component.version,
        "component_release": component.release,
        "component_summary": component.summary,
        "target": component.target,
    }
    if component.requires:
        defines["component_requires"] = component.requires
    if component.modules:
        defines["component_post"] = DEPMOD
    if component.library:
        defines["component_post"] = "/sbin/ldconfig"
    return defines


def _fill(component: Component, data: Path, sources: Path) -> None:
    sources.mkdir(parents=True)
    if (data / "payload" / component.name).is_dir():
        _copy(data / "payload" / component.name, sources)
    if component.name == "ofed-scripts":
        uninstall = sources / "usr/sbin/ofed_uninstall.sh"
        uninstall.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data / "tree/uninstall.sh", uninstall)
        uninstall.chmod(0o755)
    if component.library:
        write_library(sources / LIBRARIES.lstrip("/") / component.library, component.library)
        folders = sources / "etc/ld.so.conf.d" / f"{component.name}.conf"
        folders.parent.mkdir(parents=True, exist_ok=True)
        folders.write_text(f"{LIBRARIES}\n")
    for module in MODULES:
        if module.name in component.modules:
            _write(module, sources)
    doc = sources / "usr/share/doc" / f"{component.name}-{component.version}"
    doc.mkdir(parents=True)
    (doc / "README").write_text(f"{component.summary}: a stand-in, made for tests.\n")


def _write(module: Module, root: Path) -> None:
    write_module(
        root / "lib/modules" / KERNEL / "extra" / module.folder / f"{module.name}.ko",
        module.name,
        VERMAGIC,
        dict(module.params),
        module.depends,
        module.aliases,
        version=VERSION,
    )


def _copy(source: Path, target: Path) -> None:
    """Copy a tree with modes 0755 and 0644, whatever the checkout's umask was."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def write_release(data: Path, rpms: Path, work: Path, out: Path) -> None:
    """Write ``NAME.tgz`` into ``out``, and ``NAME.iso`` where a program of ``ISO_PROGRAMS`` is installed."""
    tree = work / NAME
    _copy(data / "tree", tree)
    for name, text in {
        ".arch": "x86_64",
        ".mlnx": f"MLNX_OFED_LINUX-{VERSION}",
        ".supported_kernels": KERNEL,
        "distro": DISTRO,
    }.items():
        (tree / name).write_text(text + "\n")
    shutil.copytree(rpms, tree / "RPMS")
    (tree / "src").mkdir()
    specs = work / f"MLNX_OFED_SRC-{VERSION}"
    specs.mkdir()
    for spec in data.glob("*.spec"):
        shutil.copy(spec, specs)
    out.mkdir(parents=True, exist_ok=True)
    _tar(specs, tree / "src" / f"{specs.name}.tgz")
    _tar(tree, out / f"{NAME}.tgz")
    _iso(tree, out / f"{NAME}.iso")


def _tar(tree: Path, archive: Path) -> None:
    """A tar.gz of ``tree`` below its own name, the same bytes for the same tree."""
    import gzip
    import tarfile

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime = EPOCH
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with (
        archive.open("wb") as raw,
        gzip.GzipFile(archive.stem, "wb", 6, raw, mtime=EPOCH) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        tar.add(tree, tree.name, filter=plain)


def iso_program() -> str | None:
    """The program of this machine that writes ISO images, if it has one."""
    return next((program for program in ISO_PROGRAMS if shutil.which(program)), None)


def _iso(tree: Path, image: Path) -> None:
    """An image of ``tree``, the same bytes for the same tree and program."""
    program = iso_program()
    if program is None:
        return
    options = ["-quiet", "-R", "-V", f"MLNX_OFED_LINUX-{VERSION}", "-o", str(image)]
    if program == "xorriso":
        programs.run(["xorriso", "-as", "mkisofs", *options, str(tree)])
    else:  # it lays folders and files down as the file system lists them, which each does in its own way
        files = sorted(path for path in tree.rglob("*") if path.is_file())
        grafts, order = image.with_suffix(".grafts"), image.with_suffix(".order")
        grafts.write_text("".join(f"{path.relative_to(tree)}={path}\n" for path in files))
        order.write_text("".join(f"{path} {-weight}\n" for weight, path in enumerate(files)))
        programs.run([program, *options, "-graft-points", "-path-list", str(grafts), "-sort", str(order)])
        grafts.unlink()
        order.unlink()
    set_dates(image, EPOCH)
