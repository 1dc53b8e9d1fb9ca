"""What a program prints: its lines as they come, and as much of the end as is wanted. Memory is bounded."""

from __future__ import annotations

import codecs

LONGEST_LINE = 1 << 16
"""Characters; a longer line comes in pieces."""

_BETWEEN_WORDS = " \t'\"<>"
"""No URL goes on over these: one with a password is not cut, or nobody would know it for one."""


class Lines:
    """Text from bytes, line by line."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun: list[str] = []
        self._length = 0

    def of(self, chunk: bytes) -> list[str]:
        """The lines that are whole with ``chunk``, without their ends."""
        return self._split(self._decoder.decode(chunk))

    def rest(self) -> list[str]:
        """Those that are left when nothing more comes: one, or none."""
        lines = self._split(self._decoder.decode(b"", final=True))
        return [*lines, "".join(self._begun)] if self._begun else lines

    def _split(self, text: str) -> list[str]:
        *lines, rest = text.split("\n")
        if lines:
            lines[0] = "".join([*self._begun, lines[0]])
            self._begun, self._length = [], 0
        if rest:
            self._begun.append(rest)
            self._length += len(rest)
        if self._length > LONGEST_LINE:
            lines.append(self._cut())
        return lines

    def _cut(self) -> str:
        whole = "".join(self._begun)
        at = max(whole.rfind(mark) for mark in _BETWEEN_WORDS) + 1 or len(whole)
        self._begun, self._length = [whole[at:]], len(whole) - at
        return whole[:at]


class End:
    """The last ``most`` bytes of what is added; all of it with None."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._kept = bytearray()
        self._added = 0

    def add(self, chunk: bytes) -> None:
        """Add what comes next."""
        self._added += len(chunk)
        self._kept += chunk
        if self._most is not None and len(self._kept) > 2 * self._most:
            del self._kept[: -self._most]

    def bytes(self) -> bytes:
        """What is kept."""
        return bytes(self._kept if self._most is None else self._kept[-self._most :])

    @property
    def left_out(self) -> int:
        """How many bytes came before those."""
        return self._added - (len(self._kept) if self._most is None else min(len(self._kept), self._most))
