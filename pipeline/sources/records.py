"""Small notes that spare work the next time: one JSON file for each name, replaced by a rename."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class Records(Generic[T]):
    """The notes of one kind in ``directory``. They may be lost: a damaged one counts as absent."""

    def __init__(self, directory: Path, kind: type[T]) -> None:
        self._directory = directory
        self._kind = kind

    def get(self, name: str) -> T | None:
        """What was noted for ``name``."""
        try:
            return msgspec.json.decode(self._file(name).read_bytes(), type=self._kind)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def put(self, name: str, value: T) -> None:
        """Note ``value`` for ``name``, where that can be written: a note that is missing only costs work.

        For the same reason it is not synced.
        """
        with suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True)
            new = self._directory / f".new-{os.urandom(8).hex()}"
            try:
                new.write_bytes(msgspec.json.encode(value))
                new.replace(self._file(name))
            except BaseException:
                new.unlink(missing_ok=True)
                raise

    def remove(self, name: str) -> None:
        """Forget ``name``."""
        self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._directory / f"{sha256(os.fsencode(name)).hexdigest()}.json"
