"""A node's adapter: its PCI attributes and its flash, text files that outlive the node's boots."""

from __future__ import annotations

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
    (folder / "flash").write_text(
        f"[HCA]\nfw_version = {flash.version}\nnum_pfs = 1\npsid = {flash.psid}\n"
        f"sriov_en = {str(flash.sriov).lower()}\ntotal_vfs = {flash.vfs}\n"
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


def _folder(node: Path, address: str) -> Path:
    return node / "adapters" / address
