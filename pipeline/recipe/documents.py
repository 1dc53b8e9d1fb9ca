"""TOML files as they are on disk, with a reason for each that cannot be read."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from pipeline.recipe.findings import Findings
from pipeline.regular import content_of


class Document(msgspec.Struct, frozen=True):
    """A TOML file that could be read, and its text."""

    file: Path
    data: dict[str, Any]
    text: str


def read_document(file: Path, findings: Findings) -> Document | None:
    """Read ``file``; when that fails say why in ``findings`` and return None."""
    text = read_text(file, findings)
    if text is None:
        return None
    try:
        return Document(file, tomllib.loads(text), text)
    except tomllib.TOMLDecodeError:
        from pipeline.recipe.syntax import mistakes  # only where there are any

        for mistake in mistakes(text):
            findings.add(file, mistake.line, mistake.message)
    except (ValueError, RecursionError) as error:  # a number with thousands of digits, arrays in arrays in …
        findings.add(file, None, f"not TOML that can be read: {error}")
    return None


def read_text(file: Path, findings: Findings) -> str | None:
    """The UTF-8 text of ``file``; when there is none say why in ``findings`` and return None."""
    try:
        content = content_of(file)
    except IsADirectoryError:
        findings.add(file, None, "is a directory, not a file")
        return None
    except OSError as error:
        findings.add(file, None, f"cannot be read: {error.strerror}")
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        findings.add(file, line, f"is not UTF-8 text: byte 0x{content[error.start]:02x}")
        return None
