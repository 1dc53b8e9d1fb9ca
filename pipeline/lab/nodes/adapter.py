"""A node's adapter: its PCI attributes and its flash, text files that outlive the node's boots."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Literal

import msgspec

ADDRESS = "0000:04:00.0"
OLD = "2.30.3110"
"""A firmware older than the one that the lab's MLNX_OFED brings."""

Fault = Literal["", "fail", "query", "foreign"]


class Flash(msgspec.Struct, frozen=True):
    """What an adapter holds. ``device`` is its PCI device id: 0x1003 is a ConnectX-3."""

    version: str = OLD
    sriov: bool = False
    vfs: int = 0
    psid: str = "MT_1090120019"
    device: str = "0x1003"


def put(node: Path, flash: Flash = Flash(), address: str = ADDRESS) -> None:  # noqa: B008 - frozen
    """Give the node whose directory is ``node`` an adapter, before it boots or while it runs."""
    folder = _folder(node, address)
    folder.mkdir(parents=True, exist_ok=True)
    attributes = {"vendor": "0x15b3", "device": flash.device, "class": "0x028000"}
    for name, text in attributes.items():
        (folder / name).write_text(f"{text}\n")
    (folder / "config").write_bytes(configuration(flash.device))
    (folder / "flash").write_text(
        f"[HCA]\nfw_version = {flash.version}\nnum_pfs = 1\npsid = {flash.psid}\n"
        f"sriov_en = {str(flash.sriov).lower()}\ntotal_vfs = {flash.vfs}\n"
    )


def configuration(device: str) -> bytes:
    """The part of a device's configuration space that lspci reads: vendor, device, class 0280."""
    return struct.pack("<HHHHBBBB", 0x15B3, int(device, 16), 0x0006, 0x0010, 0, 0, 0x80, 0x02).ljust(
        64, b"\0"
    )


def read(node: Path, address: str = ADDRESS) -> Flash:
    """What the flash holds now."""
    folder = _folder(node, address)
    lines = (folder / "flash").read_text().splitlines()
    held = dict(line.split(" = ", 1) for line in lines if " = " in line)
    return Flash(
        version=held["fw_version"],
        sriov=held["sriov_en"] == "true",
        vfs=int(held["total_vfs"]),
        psid=held["psid"],
        device=(folder / "device").read_text().strip(),
    )


def break_it(node: Path, fault: Fault = "fail", *, slow: int = 0, address: str = ADDRESS) -> None:
    """Have burning go wrong, or take ``slow`` seconds; without either all is well again."""
    (_folder(node, address) / "fault").write_text(f"slow {slow}\n" if slow else f"{fault}\n")


def put_guest(node: Path, address: str = "0000:00:05.0") -> None:
    """Give a virtual node a virtual function, which has no flash of its own."""
    folder = _folder(node, address)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"vendor": "0x15b3", "device": "0x1004", "class": "0x028000", "guest": ""}.items():
        (folder / name).write_text(f"{text}\n")
    (folder / "config").write_bytes(configuration("0x1004"))


def unload(node: Path) -> None:
    """Take away what drivers have made: virtual functions, which are not there when a node boots."""
    for folder in (node / "adapters").iterdir():
        if (folder / "flash").exists() or (folder / "guest").exists():
            (folder / "sriov_numvfs").unlink(missing_ok=True)
        else:
            shutil.rmtree(folder)


def _folder(node: Path, address: str) -> Path:
    return node / "adapters" / address
