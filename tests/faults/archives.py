"""Archives, good and bad, as bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping


def tar_with(files: Mapping[str, bytes]) -> bytes:
    """A tar of plain files."""
    return tar_of(*((tarfile.TarInfo(name), content) for name, content in files.items()))


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar of these members, whatever they are."""
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return whole.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A symbolic or hard link."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def special(name: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    """A device (1:3, which is /dev/null) or a fifo."""
    info = tarfile.TarInfo(name)
    info.type, info.devmajor, info.devminor = kind, 1, 3
    return info, b""


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    """A file."""
    return tarfile.TarInfo(name), content


def zip_with(files: Mapping[str, bytes]) -> bytes:
    """A zip of plain files, with names as they are given."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return whole.getvalue()


def bomb() -> bytes:
    """A small tar.gz that unpacks to 300 MB of zeros."""
    head = tarfile.TarInfo("zeros")
    head.size = 300_000_000
    whole = io.BytesIO()
    with gzip.GzipFile(fileobj=whole, mode="wb", compresslevel=9) as packed:
        packed.write(head.tobuf(tarfile.GNU_FORMAT))
        for _ in range(300):
            packed.write(bytes(1_000_000))
        packed.write(bytes(10240))
    return whole.getvalue()
