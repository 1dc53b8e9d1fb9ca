"""The tries that bring one remote file into the store: resumed, repeated with back-off, checked."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Event
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from pipeline.errors import PipelineError, retold
from pipeline.printable import masked
from pipeline.recipe.model import Downloads
from pipeline.sources.content import ContentStore, Partial
from pipeline.sources.digests import Digest
from pipeline.sources.records import Records
from pipeline.sources.transfer import Answer, Ask, TransferError

PROGRESS_SECONDS = 0.1
FIRST_WAIT_SECONDS = 0.5
FRUITFUL = 1 << 20
"""After a try with so many bytes more than any before, ``Downloads.attempts`` count anew, from it on."""


class Known(msgspec.Struct, frozen=True):
    """The content of a location when ``url`` answered for it and named it ``validator``."""

    url: str
    validator: str
    sha256: str


class Download(msgspec.Struct):
    """One remote file: ``location`` as the recipe has it, ``url`` what answers for it; sizes in bytes.

    ``run`` may be called once. ``progress`` is told how many bytes are here and how many there will be.
    ``most`` is how many bytes the best try so far had.
    """

    location: str
    url: str
    sha256: str | None
    size: int | None
    settings: Downloads
    progress: Callable[[int, int | None], None]
    stop: Event
    tries: int = 0
    fruitless: int = 0
    most: int = 0
    source: str = ""

    def run(self, store: ContentStore, known: Records[Known], waiting: Callable[[], None]) -> Digest:
        """Fetch it. Raises ``PipelineError`` with source, expected and got, and tries made."""
        with store.partial(self.sha256 or self.location, self.stop, waiting) as partial:
            kept = self.sha256 and store.find(self.sha256, self.size)
            if kept:  # another process has brought it while this one waited
                partial.restart()
                return kept
            return self._repeat(lambda: self._try(partial, store, known))

    def _repeat(self, attempt: Callable[[], Digest]) -> Digest:
        import tenacity  # 0.14 s: only where something is really downloaded

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, TransferError) and error.passing
            ),
            stop=lambda _: self.fruitless >= self.settings.attempts,
            wait=lambda _: self._seconds_to_wait(),
            sleep=tenacity.sleep_using_event(self.stop),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except TransferError as error:
            raise self._failed(error) from None
        except PipelineError as error:
            what = f"cannot download {self.location}: "
            told = [replace(problem, message=what + problem.message) for problem in error.problems]
            raise retold(error, told) from None

    def _seconds_to_wait(self) -> float:
        """Twice as long after each try in vain; spread, so that many nodes do not come back at once."""
        longest = FIRST_WAIT_SECONDS * 2.0 ** max(0, self.fruitless - 1)
        return random.uniform(0.5, 1.0) * min(longest, self.settings.longest_wait)

    def _failed(self, error: TransferError) -> PipelineError:
        tries = "1 try" if self.tries == 1 else f"{self.tries} tries"
        source = f"{self.source or self.url}, " if (self.source or self.url) != self.location else ""
        return PipelineError(f"cannot download {self.location}: {error} ({source}{tries})", hint=error.hint)

    def _try(self, partial: Partial, store: ContentStore, known: Records[Known]) -> Digest:
        if self.stop.is_set():
            raise TransferError("interrupted", passing=False)
        self.most = max(self.most, partial.size)
        self.tries += 1
        try:
            return self._transfer(partial, store, known)
        except TransferError as error:
            if error.spoilt:
                partial.restart()
            self.fruitless = 1 if partial.size - self.most >= FRUITFUL else self.fruitless + 1
            raise

    def _transfer(self, partial: Partial, store: ContentStore, known: Records[Known]) -> Digest:
        if partial.size and partial.size == self.size and self.sha256:
            return self._keep(partial)  # killed between the last byte and the rename
        last = known.get(self.location) if self.sha256 is None else None
        kept = store.find(last.sha256, self.size) if last and last.url == masked(self.url) else None
        with _answer(self._ask(partial, last.validator if last and kept else None)) as answer:
            if answer is None:
                assert kept is not None, "servers may say 'unchanged' only of what is here"
                return kept
            self.source = answer.source
            self._receive(partial, answer)
        found = self._keep(partial)
        if answer.validator:
            known.put(self.location, Known(masked(self.url), answer.validator, found.sha256))
        return found

    def _ask(self, partial: Partial, unless: str | None) -> Ask:
        """Go on where the last try ended, if it is sure that the pieces fit or the digest will tell."""
        validator = partial.validator(masked(self.url))
        offset = partial.size if self.sha256 or validator else 0
        return Ask(self.url, self.settings.timeout, offset, validator, unless)

    def _receive(self, partial: Partial, answer: Answer) -> None:
        if answer.offset == 0:
            partial.begin(masked(self.url), answer.validator)
        else:
            partial.pieced = True
        self._check_size(partial, answer.total)
        total = answer.total if answer.total is not None else self.size
        if total is not None:
            partial.check_space(total)
        told = time.monotonic()
        self.progress(partial.size, total)
        for chunk in answer.chunks:
            if self.stop.is_set():
                raise TransferError("interrupted", passing=False)
            partial.append(chunk, total)
            if total is not None and partial.size > total:
                self._check_size(partial, partial.size)
                raise TransferError("the server sent more than it announced", passing=True, spoilt=True)
            if time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                self.progress(partial.size, total)
        if total is not None and partial.size < total:
            raise TransferError(
                f"the connection ended after {partial.size:,} of {total:,} bytes", passing=True
            )
        self.progress(partial.size, partial.size)

    def _check_size(self, partial: Partial, total: int | None) -> None:
        """Refuse a file of another size before it is fetched, when the server says how big it is."""
        if self.size is None or total is None or total == self.size:
            return
        raise TransferError(
            f"expected {self.size:,} bytes, the server has {total:,}",
            passing=False,
            spoilt=True,
            hint=CHANGED,
        )

    def _keep(self, partial: Partial) -> Digest:
        found = partial.digest()
        is_right = self.sha256 in (None, found.sha256) and self.size in (None, found.size)
        if is_right:
            return partial.keep()
        if partial.pieced:
            raise TransferError("what an earlier try left does not fit the rest", passing=True, spoilt=True)
        raise TransferError(
            f"expected {_shown(self.sha256, self.size)}, got {_shown(found.sha256, found.size)}",
            passing=False,
            spoilt=True,
            hint=CHANGED,
        )


CHANGED = "the file is not the one that was pinned; if that is right, correct its sha256 or lock again"


def _answer(ask: Ask) -> AbstractContextManager[Answer | None]:
    from pipeline.sources import ftp, http

    return ftp.answer(ask) if urlsplit(ask.url).scheme.lower() == "ftp" else http.answer(ask)


def _shown(sha256: str | None, size: int | None) -> str:
    parts = [f"sha256 {sha256}"] if sha256 else []
    return " and ".join([*parts, f"{size:,} bytes"] if size is not None else parts)
