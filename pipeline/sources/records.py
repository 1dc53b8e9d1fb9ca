"""Small notes that spare work the next time: one JSON file for each name, replaced by a rename."""

from __future__ import annotations

import os
import tempfile
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
        """Note ``value`` for ``name``. Not synced: a note lost with the power only costs work."""
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(msgspec.json.encode(value))
            Path(temporary).replace(self._file(name))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _file(self, name: str) -> Path:
        return self._directory / f"{sha256(os.fsencode(name)).hexdigest()}.json"
