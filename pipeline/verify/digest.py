"""What the result of a version's tests depends on, beside the version: the tests, and what runs them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.libraries import installed_version

CODE = Path(__file__).parent
LIBRARIES = ("pytest", "pytest-testinfra")

NOT_OF_TESTS = frozenset({"recipe.toml", "recipe.lock"})
"""Beside the tests; what the version is made of says all of them that counts."""

LEFTOVER = re.compile(
    r"__pycache__|\.(pytest|mypy|ruff)_cache|\.git|.*\.py[co]|\.recipe\.lock\..*"
    r"|.*~|\.#.*|#.*#|\..*\.sw[a-z]|\.nfs.*|\.DS_Store"
)
"""Names of caches, and of what editors leave behind."""

MOST_FILES = 10_000
MOST_BYTES = 16 << 20
"""Content that is read; of files beyond, size and times count instead."""


def tests_digest(tests: Sequence[Path]) -> str:
    """sha256 (hex) of the test files, in order, of all that lies in their folders, which they may read, and
    of the code and libraries that run them.

    Links are not followed. A missing test counts as an empty one. Raises ``OSError`` when a file of this
    program can't be read, ``PipelineError`` when one beside the tests can't.
    """
    digest = hashlib.sha256()
    for name in LIBRARIES:
        digest.update(f"{name} {installed_version(name)}\n".encode())
    for path in (*sorted(CODE.glob("*.py")), *tests):
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.name} {hashlib.sha256(content).hexdigest()}\n".encode())
    for folder in dict.fromkeys(path.parent for path in tests):
        try:
            for part in _Folder(folder).parts():
                # Length first, so that no name can be mistaken for what follows it.
                digest.update(b"%d:" % len(part) + part)
        except OSError as error:
            where = os.fsdecode(error.filename or folder)
            raise PipelineError(f"cannot read {where}, which tests may read: {error.strerror}") from None
    return digest.hexdigest()


class _Folder:
    """A recipe's folder; what the digest of its tests covers of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = 0
        self._bytes = 0

    def parts(self) -> Iterator[bytes]:
        if self._folder.is_dir():
            yield from self._below(os.fsencode(self._folder), b"")

    def _below(self, directory: bytes, prefix: bytes) -> Iterator[bytes]:
        with os.scandir(directory) as opened:
            entries = sorted(opened, key=lambda entry: entry.name)
        for entry in entries:
            name = os.fsdecode(entry.name)
            if LEFTOVER.fullmatch(name) or (not prefix and name in NOT_OF_TESTS):
                continue
            self._files += 1
            if self._files > MOST_FILES:
                raise PipelineError(
                    f"{self._folder} holds more than {MOST_FILES:,} files; all of them belong to its tests",
                    hint="keep there what the tests read, and the rest elsewhere",
                )
            path = prefix + b"/" + entry.name
            yield path
            yield from self._entry(entry, path)

    def _entry(self, entry: os.DirEntry[bytes], path: bytes) -> Iterator[bytes]:
        found = entry.stat(follow_symlinks=False)
        yield b"%o" % (stat.S_IFMT(found.st_mode) | found.st_mode & 0o111)
        if stat.S_ISDIR(found.st_mode):
            yield from self._below(entry.path, path)
        elif stat.S_ISLNK(found.st_mode):
            yield os.readlink(entry.path)
        elif stat.S_ISREG(found.st_mode):
            self._bytes += found.st_size
            if self._bytes <= MOST_BYTES:
                yield hashlib.sha256(Path(os.fsdecode(entry.path)).read_bytes()).digest()
            else:
                yield b"%d %d %d" % (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
