"""Which names can stand in a recipe: safe as names of files, or usable as names of parameters."""

from __future__ import annotations

import keyword
import re

from pipeline.templates import LITERALS

LONGEST = 64
LONGEST_FILE_NAME = 255
"""Bytes, on every file system of Linux (NAME_MAX)."""

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")

PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def file_name_fault(name: str) -> str | None:
    """Why ``name`` of an image, a stage or a fragment is no safe file name; None when it is one."""
    if not name:
        return "is empty"
    if len(name) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if not FILE_NAME.fullmatch(name):
        return "is no safe file name: letters, digits and . _ + - only, a letter or digit first"
    if ".." in name:
        return 'is no safe file name: ".." is not allowed in it'
    return None


def parameter_name_fault(name: str) -> str | None:
    """Why ``name`` cannot be the name of a parameter; None when it can."""
    if len(name) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if not PARAMETER_NAME.fullmatch(name):
        return "is no name for a parameter: letters, digits and _ only, no digit first"
    if keyword.iskeyword(name) or name in LITERALS:
        return "is no name for a parameter: it is a word of the template language"
    return None


def tree_name_fault(name: str) -> str | None:
    """Why ``name`` cannot be a directory below ``overlays/``; None when it can."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        return "leads out of overlays/"
    fitting = all(0 < len(part.encode()) <= LONGEST_FILE_NAME for part in parts)
    if not fitting or len(parts) > LONGEST or "." in parts or "\0" in name:
        return "is no name of a directory below overlays/"
    return None
