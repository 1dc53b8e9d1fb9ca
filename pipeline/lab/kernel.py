"""The files of the kernel package: what tools look at in CentOS 6.5's kernel, and nothing that boots."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import msgspec

from pipeline.lab.kmod import write_module

KERNEL = "2.6.32-431.el6.x86_64"
VERMAGIC = f"{KERNEL} SMP mod_unload modversions "
BUILD = "(mockbuild@c6b8.bsys.dev.centos.org) #1 SMP Fri Nov 22 03:15:09 UTC 2013"

BUILT_IN = (
    "kernel/fs/exportfs/exportfs.ko",
    "kernel/drivers/pci/pcieport.ko",
    "kernel/drivers/base/firmware_class.ko",
)

CONFIG = """\
#
# Automatically generated make config: don't edit
# Linux kernel version: 2.6.32-431.el6.x86_64
#
CONFIG_64BIT=y
CONFIG_X86_64=y
CONFIG_SMP=y
CONFIG_MODULES=y
CONFIG_MODVERSIONS=y
CONFIG_DMAR=y
# CONFIG_DMAR_DEFAULT_ON is not set
CONFIG_INTR_REMAP=y
CONFIG_PCI_IOV=y
CONFIG_INFINIBAND=m
CONFIG_INFINIBAND_IPOIB=m
CONFIG_MLX4_INFINIBAND=m
CONFIG_MLX4_CORE=m
CONFIG_MLX4_EN=m
CONFIG_BRIDGE=m
CONFIG_VLAN_8021Q=m
"""


class Module(msgspec.Struct, frozen=True):
    """A module of the kernel's own: its path below kernel/, what it needs, the devices it is for."""

    path: str
    depends: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


MODULES = (
    Module("drivers/infiniband/core/ib_core.ko"),
    Module("drivers/infiniband/core/ib_mad.ko", ("ib_core",)),
    Module("drivers/infiniband/core/ib_sa.ko", ("ib_core", "ib_mad")),
    Module("drivers/infiniband/core/rdma_cm.ko", ("ib_core", "ib_sa")),
    Module("drivers/infiniband/ulp/ipoib/ib_ipoib.ko", ("ib_core", "ib_sa")),
    Module(
        "drivers/net/mlx4/mlx4_core.ko",
        (),
        ("pci:v000015B3d00001003sv*sd*bc*sc*i*", "pci:v000015B3d00001004sv*sd*bc*sc*i*"),
    ),
    Module("drivers/net/mlx4/mlx4_en.ko", ("mlx4_core",)),
    Module("drivers/infiniband/hw/mlx4/mlx4_ib.ko", ("mlx4_core", "ib_core", "ib_mad", "ib_sa")),
    Module("drivers/net/igb/igb.ko", (), ("pci:v00008086d00001521sv*sd*bc*sc*i*",)),
    Module("drivers/net/virtio_net.ko", (), ("virtio:d00000001v*",)),
    Module("net/llc/llc.ko"),
    Module("net/802/stp.ko", ("llc",)),
    Module("net/bridge/bridge.ko", ("stp", "llc")),
    Module("net/8021q/8021q.ko"),
    Module("fs/ext4/ext4.ko"),
)


def write_kernel(root: Path) -> None:
    """Write ``root``/boot and ``root``/modules, the contents of /boot and of /lib/modules/``KERNEL``."""
    boot, modules = root / "boot", root / "modules"
    boot.mkdir(parents=True)
    (boot / f"vmlinuz-{KERNEL}").write_bytes(_boot_image())
    (boot / f"System.map-{KERNEL}").write_text(_symbols())
    (boot / f"config-{KERNEL}").write_text(CONFIG)
    (boot / f"symvers-{KERNEL}.gz").write_bytes(
        gzip.compress(b"0x00000000\tprintk\tvmlinux\tEXPORT_SYMBOL\n", mtime=0)
    )
    for module in MODULES:
        path = modules / "kernel" / module.path
        write_module(path, path.stem, VERMAGIC, depends=module.depends, aliases=module.aliases)
    (modules / "modules.order").write_text("".join(f"kernel/{module.path}\n" for module in MODULES))
    # Not in EL6, but kmod of today warns when it is missing.
    (modules / "modules.builtin.modinfo").write_text("exportfs.license=GPL\0")
    (modules / "modules.builtin").write_text("".join(f"{path}\n" for path in BUILT_IN))


def _boot_image() -> bytes:
    """A boot sector and setup header by which file(1) tells a bzImage and its version.

    The offsets are those of the kernel's Documentation/x86/boot.txt: 0x1fe signature, 0x202 header, 0x206
    protocol, 0x20e version string (relative to 0x200), 0x211 load flags.
    """
    image = bytearray(8192)
    struct.pack_into("<H", image, 0x1FE, 0xAA55)
    struct.pack_into("<4sH", image, 0x202, b"HdrS", 0x020A)
    struct.pack_into("<H", image, 0x20E, 0x0C00)
    image[0x211] = 1
    version = f"{KERNEL} {BUILD}".encode() + b"\0"
    image[0xE00 : 0xE00 + len(version)] = version
    return bytes(image)


def _symbols() -> str:
    names = (
        "startup_64",
        "_text",
        "printk",
        "schedule",
        "__kmalloc",
        "kfree",
        "register_netdev",
        "pci_enable_sriov",
    )
    return "".join(f"{0xFFFFFFFF81000000 + 4096 * place:016x} T {name}\n" for place, name in enumerate(names))
