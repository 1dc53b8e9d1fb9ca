"""Every input from outside, brought here and checked: URLs into the store, local files where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from hashlib import file_digest
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread

import msgspec

from pipeline.errors import PipelineError
from pipeline.events import Note, Observer, Progress, ignore
from pipeline.mirrors import Mirrors, is_url
from pipeline.printable import masked
from pipeline.recipe.model import Downloads
from pipeline.sources.content import ContentStore
from pipeline.sources.digests import Digest, FileDigests
from pipeline.sources.disk import writing
from pipeline.sources.locations import locate
from pipeline.sources.records import Records
from pipeline.sources.tries import CHANGED, Download, Known

AT_ONCE = 4


class Request(msgspec.Struct, frozen=True):
    """A file that is wanted; ``sha256`` (64 lower-case hex digits) and ``size`` (bytes) where pinned."""

    location: str
    sha256: str | None = None
    size: int | None = None


class Fetched(msgspec.Struct, frozen=True):
    """A file that is here, with the digest of its content. It must not be written to."""

    path: Path
    sha256: str
    size: int


class Fetcher:
    """Brings files here: ``directory`` is the store's place for downloads.

    What was downloaded is kept there once (``ContentStore``); files of this machine and of mirrors that are
    directories are used where they lie. ``observer`` is called from several threads.
    """

    def __init__(
        self, directory: Path, mirrors: Mirrors, settings: Downloads, observer: Observer = ignore
    ) -> None:
        self._store = ContentStore(directory)
        self._digests = FileDigests(directory / "seen")
        self._known = Records(directory / "known", Known)
        self._mirrors = mirrors
        self._settings = settings
        self._observer = observer

    def fetch(
        self, location: str, *, sha256: str | None = None, size: int | None = None, project: Path
    ) -> Fetched:
        """The file at ``location``: a URL (http, https, ftp, file) or a path, relative to ``project``.

        A file whose ``sha256`` is given and that was downloaded before costs one ``stat``. Without ``sha256``
        the server is asked whether what was downloaded last still stands. Raises ``PipelineError``.
        """
        return self._fetch(Request(location, sha256, size), project, Event())

    def fetch_all(self, requests: Iterable[Request], *, project: Path) -> tuple[Fetched, ...]:
        """The files of ``requests``, in their order, up to four fetched at once. Raises all errors as one."""
        wanted = tuple(requests)
        stop = Event()
        futures: dict[Request, Future[Fetched]] = {request: Future() for request in wanted}
        left: SimpleQueue[Request] = SimpleQueue()
        for request in futures:
            left.put(request)

        def work() -> None:
            while not left.empty():
                with suppress(Empty):
                    request = left.get_nowait()
                    _settle(futures[request], partial(self._fetch, request, project, stop))

        # Daemons: an interrupted run must not wait for a server that has stalled. What they have is resumed.
        threads = [
            Thread(target=work, name=f"fetch-{number}", daemon=True)
            for number in range(min(AT_ONCE, len(futures)))
        ]
        for thread in threads:
            thread.start()
        try:
            wait(futures.values())
        finally:
            stop.set()
        # All is fetched, so they end at once; the caller may fork, which must not happen beside a thread.
        for thread in threads:
            thread.join()
        _raise_all(futures.values())
        return tuple(futures[request].result() for request in wanted)

    def keep(self, path: Path) -> Fetched:
        """Take over a file that lies on the store's file system already: it is moved, not copied."""
        with writing(path), open(path, "rb") as stream:
            found = Digest(file_digest(stream, "sha256").hexdigest(), path.stat().st_size)
            self._store.keep(path, stream, found.sha256)
        return Fetched(self._store.path(found.sha256), found.sha256, found.size)

    def digest(self, path: Path) -> Digest:
        """The digest of a local file; an unchanged one is not read again."""
        return self._digests.of(path)

    def original(self, location: str) -> str:
        """The URL that a recipe would name for what a mirror has at ``location``."""
        return self._mirrors.back(location)

    def _fetch(self, request: Request, project: Path, stop: Event) -> Fetched:
        kept = self._store.find(request.sha256, request.size) if request.sha256 else None
        if kept is None:
            place = locate(request.location, self._mirrors, project)
            if isinstance(place, Path):
                return self._local(request, place)
            kept = self._remote(request, place, stop)
        return Fetched(self._store.path(kept.sha256), kept.sha256, kept.size)

    def _remote(self, request: Request, url: str, stop: Event) -> Digest:
        def progress(done: int, total: int | None) -> None:
            self._observer(Progress(image="", what=masked(request.location), done=done, total=total))

        def waiting() -> None:
            text = f"waiting for another run that downloads {masked(request.location)}"
            self._observer(Note(image="", stage="", text=text))

        download = Download(
            request.location, url, request.sha256, request.size, self._settings, progress, stop
        )
        return download.run(self._store, self._known, waiting)

    def _local(self, request: Request, path: Path) -> Fetched:
        told = f" ({request.location})" if is_url(request.location) else ""
        if not path.is_file():
            raise PipelineError(f"there is no file {path}{told}")
        found = self._digests.of(path)
        if request.sha256 not in (None, found.sha256):
            raise PipelineError(
                f"{path}{told}: expected sha256 {request.sha256}, got {found.sha256}", hint=CHANGED
            )
        if request.size not in (None, found.size):
            raise PipelineError(
                f"{path}{told}: expected {request.size:,} bytes, got {found.size:,}", hint=CHANGED
            )
        return Fetched(path, found.sha256, found.size)


def _settle(future: Future[Fetched], work: Callable[[], Fetched]) -> None:
    """Give ``future`` what ``work`` comes to."""
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


def _raise_all(futures: Iterable[Future[Fetched]]) -> None:
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, PipelineError):
            raise error
    problems = [problem for error in errors if isinstance(error, PipelineError) for problem in error.problems]
    if len({type(error) for error in errors}) == 1:
        raise type(errors[0])(problems)
    if problems:
        raise PipelineError(problems)
