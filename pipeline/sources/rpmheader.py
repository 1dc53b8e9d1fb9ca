"""What an RPM file says of itself, read without an rpm on the host."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from pipeline.errors import PipelineError

LEAD_MAGIC = b"\xed\xab\xee\xdb"
"""The first four bytes of every RPM (rpm's lib/rpmlead.c)."""


class PackagedFile(msgspec.Struct, frozen=True):
    """A file of a package: ``mode`` as in stat(2), ``digest`` in hex (empty for what is no regular file)."""

    path: str
    mode: int
    size: int
    owner: str
    group: str
    digest: str
    link: str


class Header(msgspec.Struct, frozen=True):
    """The header of a package. ``arch`` is ``src`` for a source package; ``epoch`` 0 where there is none."""

    name: str
    epoch: int
    version: str
    release: str
    arch: str
    files: tuple[PackagedFile, ...]

    @property
    def nevra(self) -> str:
        """``name-[epoch:]version-release.arch``, the epoch only when it is not 0."""
        epoch = f"{self.epoch}:" if self.epoch else ""
        return f"{self.name}-{epoch}{self.version}-{self.release}.{self.arch}"


def nevra(path: Path) -> str:
    """The NEVRA of the RPM at ``path``. Raises ``PipelineError`` when it is none."""
    return read(path).nevra


def read(path: Path) -> Header:
    """The header of the RPM at ``path``. Raises ``PipelineError`` when it is none or is damaged."""
    import rpmfile  # only where a package is really read

    try:
        with path.open("rb") as stream:
            if stream.read(len(LEAD_MAGIC)) != LEAD_MAGIC:
                raise PipelineError(
                    f"{path} is not an RPM", hint="download it again, or check where it is from"
                )
            stream.seek(0)
            return _header(rpmfile.open(fileobj=stream).headers)
    except OSError as error:
        raise PipelineError(f"cannot read {path}: {error.strerror}") from None
    except (
        rpmfile.errors.RPMError,
        struct.error,
        AssertionError,
        LookupError,
        ValueError,
        TypeError,
    ) as error:
        raise PipelineError(
            f"{path} is a damaged RPM: {error or type(error).__name__}",
            hint="download it again, or check where it is from",
        ) from None


def _header(raw: Mapping[Any, Any]) -> Header:
    return Header(
        name=raw["name"].decode(),
        epoch=int(raw.get("serial", 0)),  # rpmfile calls tag 1003 by its name of the 1990s
        version=raw["version"].decode(),
        release=raw["release"].decode(),
        arch=raw["arch"].decode() if "sourcerpm" in raw else "src",
        files=tuple(_files(raw)),
    )


def _files(raw: Mapping[Any, Any]) -> list[PackagedFile]:
    names = _all(raw, "basenames")
    directories = [_text(name) for name in _all(raw, "dirnames")]
    columns = [_all(raw, tag) for tag in ("dirindexes", "filemodes", "filesizes", "fileusername")]
    columns += [_all(raw, tag) for tag in ("filegroupname", "filemd5s", "filelinktos")]
    return [
        PackagedFile(
            directories[directory] + _text(name),
            mode,
            size,
            _text(owner),
            _text(group),
            _text(digest),
            _text(link),
        )
        for name, directory, mode, size, owner, group, digest, link in zip(names, *columns, strict=True)
    ]


def _all(raw: Mapping[Any, Any], tag: str) -> list[Any]:
    """The values of an array; rpmfile gives the only one of an array of numbers bare."""
    value = raw.get(tag, [])
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _text(value: bytes) -> str:
    """File names need not be UTF-8."""
    return value.decode(errors="surrogateescape")
