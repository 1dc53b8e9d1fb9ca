"""Reading tar archives, compressed or not, forward only and with an eye on how much comes out."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import zstandard

from pipeline.errors import PipelineError
from pipeline.fileops.members import Member, check_ratio, is_past_ratio

LARGEST_READ = 16 << 20
"""Nobody reads more at once but the tar reader a header that claims to be that long."""

READ_ON = 1 << 30
"""Bytes after which what looks like a bomb is taken for one, though its end has not been seen."""

XATTR = "SCHILY.xattr."
"""With the attribute's name behind it, a key in extended headers (GNU tar --xattrs, bsdtar)."""

ZSTD_LONGEST_HEADER = 18
ZSTD_LARGEST_WINDOW = 1 << 27
"""Bytes of memory; the limit of zstd itself unless it is told otherwise. A build is to stay below 200 MB."""
ZSTD = b"\x28\xb5\x2f\xfd"
ZSTD_SKIPPED = range(0x184D2A50, 0x184D2A60)
"""The magic numbers of frames that hold something else (RFC 8878, 3.1.2)."""

NEVER = {
    tarfile.CHRTYPE: "is a character device",
    tarfile.BLKTYPE: "is a block device",
    tarfile.FIFOTYPE: "is a fifo",
}

OPENERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
    ZSTD: lambda file: zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True),
}
"""What a file begins with, and what decompresses it."""

DAMAGE = (tarfile.TarError, lzma.LZMAError, zstandard.ZstdError)
"""What reading a damaged archive may raise, beside built-in exceptions."""


class Measured:
    """The decompressed stream: forward only, and cut off when it becomes a bomb."""

    def __init__(self, stream: Any, archive_size: int, archive: str) -> None:
        self._stream = stream
        self._archive_size = archive_size
        self._archive = archive
        self._position = 0

    def read(self, size: int) -> bytes:
        if size > LARGEST_READ:
            raise PipelineError(f"has a header that claims {size} bytes", where=self._archive)
        pieces = []
        while size and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
            self._position += len(piece)
        if is_past_ratio(self._position, self._archive_size):
            self._read_on()
            check_ratio(self._position, self._archive_size, self._archive)
        return b"".join(pieces)

    def _read_on(self) -> None:
        """Raise ``EOFError`` when the stream ends too early: what was cut off is small for what it holds."""
        left = READ_ON
        while left > 0 and (piece := self._stream.read(1 << 20)):
            left -= len(piece)

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        while self._position < position and self.read(min(position - self._position, 1 << 20)):
            pass
        if self._position > position:
            raise tarfile.ReadError("the archive would have to be read backwards")


class StrictInfo(tarfile.TarInfo):
    """A header. Unlike its base it does not take damage or a missing end for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> StrictInfo:
        try:
            return super().fromtarfile(tar)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"damaged header at byte {tar.offset}: {error}") from None
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            raise tarfile.ReadError("it has no end: was it cut off?") from None


def open_tar(file: IO[bytes], size: int, archive: str) -> Iterator[tuple[Member, Callable[[], IO[bytes]]]]:
    """Each member with what opens its content, which has to be read before the next member is asked for.

    After the last one the rest of the stream is read, so that checksums at its end are checked.
    """
    head = file.read(8)
    file.seek(0)
    if head.startswith(ZSTD):
        _check_frames(file, size, archive)
        file.seek(0)
    opener = next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)
    stream = Measured(opener(file) if opener else file, size, archive)
    with tarfile.open(
        fileobj=stream,  # type: ignore[call-overload]
        mode="r:",
        tarinfo=StrictInfo,
        encoding="utf-8",
        errors="surrogateescape",
    ) as tar:
        while (info := tar.next()) is not None:
            yield _member(info), lambda info=info: tar.extractfile(info)  # type: ignore[misc]
            tar.members.clear()
        while stream.read(1 << 20):
            pass


def _check_frames(file: IO[bytes], size: int, archive: str) -> None:
    """Raise ``EOFError`` when zstd's frames do not end where the file does: its reader would not notice.

    Only the lengths of blocks are read (RFC 8878, 3.1.1). What begins like no frame is left to the reader.
    """
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(ZSTD_LONGEST_HEADER)
        if int.from_bytes(head[:4], "little") in ZSTD_SKIPPED:
            place += 8 + int.from_bytes(head[4:8], "little")
        elif head.startswith(ZSTD):
            frame = zstandard.get_frame_parameters(head)
            _check_window(frame.window_size, archive)
            place = _end_of_blocks(file, place + zstandard.frame_header_size(head))
            place += 4 * frame.has_checksum
        else:
            return
    if place > size:
        raise EOFError(f"it ends {place - size} bytes or more before its last frame does: was it cut off?")


def _check_window(size: int, archive: str) -> None:
    if size > ZSTD_LARGEST_WINDOW:
        raise PipelineError(
            f"needs a window of {size >> 20:,} MiB to be decompressed, and gets at most "
            f"{ZSTD_LARGEST_WINDOW >> 20} MiB of memory for it",
            where=archive,
            hint="pack it with zstd --long=27 or less, or in another way",
        )


def _end_of_blocks(file: IO[bytes], place: int) -> int:
    last = False
    while not last:
        file.seek(place)
        block = file.read(3)
        if len(block) < 3:
            return place + 3
        header = int.from_bytes(block, "little")
        last, is_one_byte = bool(header & 1), header >> 1 & 3 == 1
        place += 3 + (1 if is_one_byte else header >> 3)
    return place


def _member(info: tarfile.TarInfo) -> Member:
    common = (info.mode & 0o7777, info.uid, info.gid, float(info.mtime))
    xattrs = {
        name.removeprefix(XATTR): value.encode("utf-8", "surrogateescape")
        for name, value in info.pax_headers.items()
        if name.startswith(XATTR)
    }
    if info.isdir():
        return Member(info.name, "directory", *common, xattrs=xattrs)
    if info.issym():
        return Member(info.name, "link", *common, target=info.linkname, xattrs=xattrs)
    if info.islnk():
        return Member(info.name, "hardlink", *common, target=info.linkname)
    if info.isreg():
        return Member(info.name, "file", *common, size=info.size, sparse=info.issparse(), xattrs=xattrs)
    what = NEVER.get(
        info.type, f"is of type {info.type.decode('latin-1')!r}, which is no file, directory or link"
    )
    return Member(info.name, "refused", what=what)


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is a plain tar archive, of whatever age."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
