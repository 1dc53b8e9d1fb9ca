"""What the result of a version's tests depends on, beside the version: the tests, and what runs them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.libraries import installed_version

CODE = Path(__file__).parent
LIBRARIES = ("pytest", "pytest-testinfra")


def tests_digest(tests: Sequence[Path]) -> str:
    """sha256 (hex) of the test files, in order, and of the code and libraries that run them.

    Raises ``OSError`` when a file of this program can't be read; a missing test counts as an empty one.
    """
    digest = hashlib.sha256()
    for name in LIBRARIES:
        digest.update(f"{name} {installed_version(name)}\n".encode())
    for path in (*sorted(CODE.glob("*.py")), *tests):
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()
