"""What a server answers to the request for a file, however it is spoken to."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

CHUNK = 1 << 18


class TransferError(Exception):
    """A try failed. ``passing``: another one may well succeed. ``spoilt``: what is here so far is no use."""

    def __init__(self, reason: str, *, passing: bool, spoilt: bool = False, hint: str | None = None) -> None:
        super().__init__(reason)
        self.passing = passing
        self.spoilt = spoilt
        self.hint = hint


class Ask(msgspec.Struct, frozen=True):
    """What is asked for: the file at ``url``, from byte ``offset`` on.

    ``validator`` names the content that the first ``offset`` bytes are from (None: any content will do);
    when the server has another one now, it sends all of it. ``unless`` names the content that is here
    already; when the server has that one still, it sends nothing. ``timeout`` is how many seconds may pass
    without a byte.
    """

    url: str
    timeout: float
    offset: int = 0
    validator: str | None = None
    unless: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """Content that begins at byte ``offset`` of a file of ``total`` bytes (None: not said).

    ``source`` is the URL that answered in the end. ``validator`` names the content: a file that changes
    gets another one.
    """

    source: str
    offset: int
    total: int | None
    validator: str | None
    chunks: Iterator[bytes]
