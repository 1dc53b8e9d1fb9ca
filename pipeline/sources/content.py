"""Files kept by the digest of their content, and files on their way there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import BinaryIO

import msgspec

from pipeline.errors import PipelineError
from pipeline.sources.digests import CHUNK, Digest
from pipeline.sources.disk import no_space, writing
from pipeline.sources.records import Records
from pipeline.store.filesystem import rename_to_new, sync_directory

LOCK_POLL_SECONDS = 0.05


class Origin(msgspec.Struct, frozen=True):
    """What the bytes of a partial file are: ``url`` had them as ``validator``; written during ``boot``."""

    url: str
    validator: str
    boot: str


class ContentStore:
    """``sha256/ab/<64 hex digits>`` for whole files, each kept once; ``partial/`` for the others."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._partial = directory / "partial"
        self._origins = Records(directory / "partial", Origin)

    def path(self, digest: str) -> Path:
        """Where the file of that digest is, once it is here."""
        return self._directory / "sha256" / digest[:2] / digest

    def find(self, digest: str, size: int | None) -> Digest | None:
        """The file of that digest, if it is here; one of another size than it must have is not."""
        try:
            found = self.path(digest).stat().st_size
        except OSError:
            return None
        return Digest(digest, found) if size in (None, found) else None

    @contextmanager
    def partial(self, name: str, stop: Event, waiting: Callable[[], None]) -> Iterator[Partial]:
        """The partial file ``name``, held by nobody else while the context lasts, in any process.

        ``waiting`` is called when somebody else holds it. An empty one is not left behind. Raises
        ``PipelineError`` when ``stop`` is set while it waits.
        """
        path = self._partial / f"{sha256(os.fsencode(name)).hexdigest()}.part"
        with writing(path):
            self._partial.mkdir(parents=True, exist_ok=True)
        stream = _hold(path, stop, waiting)
        with stream:
            partial = Partial(path, stream, self._origins, self)
            try:
                yield partial
            finally:
                # Once kept or given up, the name may be somebody else's new partial file.
                if partial.size == 0 and _is_at(stream, path):
                    path.unlink()

    def keep(self, path: Path, stream: BinaryIO, digest: str) -> None:
        """Make the file at ``path``, open as ``stream``, the one of that digest."""
        kept = self.path(digest)
        with writing(kept):
            os.fchmod(stream.fileno(), 0o444)
            os.fsync(stream.fileno())
            for directory in (kept.parent.parent, kept.parent):
                if not directory.is_dir():
                    directory.mkdir(parents=True, exist_ok=True)
                    sync_directory(directory.parent)
            # Killed before this rename: the partial file is complete, and found so the next time.
            try:
                rename_to_new(path, kept)
            except FileExistsError:
                # Another run was quicker, and may have mounted its file in a chroot: that one stays.
                if kept.stat().st_size == os.fstat(stream.fileno()).st_size:
                    path.unlink()
                else:
                    path.rename(kept)
            sync_directory(kept.parent)


class Partial:
    """A file that is being fetched; ``size`` bytes of it are here. Made by ``ContentStore.partial``."""

    def __init__(self, path: Path, stream: BinaryIO, origins: Records[Origin], store: ContentStore) -> None:
        self.path = path
        self.size = os.fstat(stream.fileno()).st_size
        self.pieced = self.size > 0
        self._stream = stream
        self._origins = origins
        self._store = store
        self._hash = sha256()
        self._hashed = 0

    def validator(self, url: str) -> str | None:
        """The name that ``url`` gave to the content that the bytes here are from, if all of them surely are.

        Bytes written before the machine was started last may be lost where the file size is not.
        """
        origin = self._origins.get(self.path.name)
        return origin.validator if origin and (origin.url, origin.boot) == (url, _boot()) else None

    def restart(self) -> None:
        """Throw away what is here."""
        with writing(self.path):
            self._stream.truncate(0)
        self.size, self.pieced, self._hash, self._hashed = 0, False, sha256(), 0
        self._origins.remove(self.path.name)

    def begin(self, url: str, validator: str | None) -> None:
        """Start from nothing, noting, before the first byte is written, what it will be the first byte of."""
        self.restart()
        if validator is not None:
            self._origins.put(self.path.name, Origin(url, validator, _boot()))

    def check_space(self, total: int) -> None:
        """Give up at once when ``total`` bytes will not fit; all that is here is then thrown away."""
        found = os.statvfs(self.path.parent)
        if total - self.size > found.f_bavail * found.f_frsize:
            error = no_space(self.path, total - self.size)
            self.restart()
            raise error

    def append(self, chunk: bytes, total: int | None) -> None:
        """Write ``chunk`` at the end. ``total`` is what the file will have, for the error of a full disk."""
        self._read_back()
        try:
            with writing(self.path, None if total is None else total - self.size):
                self._stream.seek(self.size)
                left = memoryview(chunk)
                while left:
                    left = left[self._stream.write(left) :]
        except PipelineError:
            self.restart()
            raise
        self._hash.update(chunk)
        self._hashed = self.size = self.size + len(chunk)

    def digest(self) -> Digest:
        """The digest of what is here."""
        self._read_back()
        return Digest(self._hash.hexdigest(), self.size)

    def keep(self) -> Digest:
        """Make it a whole file of the store."""
        found = self.digest()
        self._store.keep(self.path, self._stream, found.sha256)
        self._origins.remove(self.path.name)
        return found

    def _read_back(self) -> None:
        """Catch up with bytes that an earlier run wrote."""
        if self._hashed == self.size:
            return
        with writing(self.path):
            self._stream.seek(self._hashed)
            while chunk := self._stream.read(min(CHUNK, self.size - self._hashed)):
                self._hash.update(chunk)
                self._hashed += len(chunk)


def _hold(path: Path, stop: Event, waiting: Callable[[], None]) -> BinaryIO:
    """``path``, opened and locked; the lock ends with the process or with the stream."""
    told = False
    while True:
        with writing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        stream = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            # flock cannot wait for two things, and an interrupted run must not wait for the lock.
            while not _locked(stream):
                if not told:
                    waiting()
                    told = True
                if stop.wait(LOCK_POLL_SECONDS):
                    raise PipelineError("interrupted")
            if _is_at(stream, path):
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()  # whoever held it has finished it, and it is a whole file now


def _locked(stream: BinaryIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(stream: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _boot() -> str:
    """A name for the time since this machine was started (proc(5), random/boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
