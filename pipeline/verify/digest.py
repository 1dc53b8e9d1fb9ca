"""What the result of a version's tests depends on, beside the version: the tests, and what runs them."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

CODE = Path(__file__).parent
LIBRARIES = ("pytest", "pytest-testinfra")


def tests_digest(tests: Sequence[Path]) -> str:
    """sha256 (hex) of the test files, in order, and of the code and libraries that run them.

    Raises ``OSError`` when a file of this program can't be read; a missing test counts as an empty one.
    """
    digest = hashlib.sha256()
    for name in LIBRARIES:
        digest.update(f"{name} {_version(name)}\n".encode())
    for path in (*sorted(CODE.glob("*.py")), *tests):
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def _version(name: str) -> str:
    """The version of an installed library: that in the name of its ``.dist-info``, where there is one.

    importlib.metadata, which knows all the other ways, takes longer to import than a build with nothing to do
    may take for all its tests.
    """
    begin, end = f"{name.replace('-', '_')}-", ".dist-info"
    for folder in filter(os.path.isdir, sys.path):
        found = [each for each in os.listdir(folder) if each.startswith(begin) and each.endswith(end)]
        if len(found) == 1:
            return found[0][len(begin) : -len(end)]
    from importlib.metadata import version

    return version(name)
