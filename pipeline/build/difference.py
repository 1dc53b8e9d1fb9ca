"""What differs between two versions: packages, kernel, parameters, and files by their manifests."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from pipeline.build.reasons import paired
from pipeline.errors import PipelineError
from pipeline.printable import on_one_line
from pipeline.store.base_changes import changed_paths
from pipeline.store.compare import FileChange, changed_files
from pipeline.store.content import changed
from pipeline.store.overlay import find
from pipeline.store.records import Version
from pipeline.store.store import Store
from pipeline.store.tree import raw_path

ESCAPE = re.compile(rb"\\(?:([\\nrt])|x([0-9a-f]{2})|u([0-9a-f]{4}))")
"""What stands for a character in a path as it is told (``told_path``)."""

PLAIN = {b"\\": b"\\", b"n": b"\n", b"r": b"\r", b"t": b"\t"}

LONGEST_TEXT = 1 << 20
"""Bytes of a file whose lines are compared."""


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Something that differs: None on the side that lacks it."""

    name: str
    old: Any
    new: Any


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """How ``new`` differs from ``old`` (labels). ``packages`` are (old, new) NEVRAs, one of them None when a
    package is in one version only; ``facts`` are base, kernel and the like, ``files`` sorted by path.
    ``base_changes`` are the first paths that differ in the base, or whose times do when nothing else does."""

    old: str
    new: str
    facts: tuple[Value, ...]
    base_changes: str | None
    kernel_parameters: tuple[Value, ...]
    parameters: tuple[Value, ...]
    packages: tuple[tuple[str | None, str | None], ...]
    files: tuple[FileChange, ...]


def difference(store: Store, old: Version, new: Version) -> Difference:
    """All that differs. Raises ``PipelineError`` when a manifest is damaged, or a version not what it was."""
    _require_content(store, old, new)
    facts = ("base", "base_digest", "kernel")
    return Difference(
        old=old.label,
        new=new.label,
        facts=_values(
            {name: getattr(old, name) for name in facts}, {name: getattr(new, name) for name in facts}
        ),
        base_changes=_of_base(store, old, new),
        kernel_parameters=_words(old.kernel_parameters, new.kernel_parameters),
        parameters=_values(old.parameters, new.parameters),
        packages=paired(old.packages, new.packages),
        files=changed_files(store, old.layers, new.layers) if old.layers != new.layers else (),
    )


def _of_base(store: Store, old: Version, new: Version) -> str | None:
    """What differs in the base that both stand on."""
    one, other = old.base_digest, new.base_digest
    if old.base != new.base or one == other or not (one and other):
        return None
    return changed_paths(store, one, other)


def _require_content(store: Store, *versions: Version) -> None:
    problems = [problem for version in versions if (problem := changed(store, version))]
    if problems:
        raise PipelineError(dict.fromkeys(problems))


def _values(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Value, ...]:
    return tuple(
        Value(name=name, old=old.get(name), new=new.get(name))
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    )


def _words(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[Value, ...]:
    """Kernel parameters by name; one that stands more than once is compared with all its values."""
    return _values(_by_name(old), _by_name(new))


def _by_name(words: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name = word.partition("=")[0]
        found[name] = f"{found[name]} {word}" if name in found else word
    return found


def told_path(file: FileChange) -> str:
    """The path of ``file`` as it is told: on one line, with escapes for what cannot be shown."""
    return on_one_line(file.path)


def is_called(file: FileChange, pattern: str) -> bool:
    """Whether ``pattern`` (``*`` matches ``/`` as well) matches the path, as it is or as it is told."""
    names = {told_path(file), os.fsdecode(raw_path(file.path))}
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def _untold(path: str) -> bytes:
    """The path that is told as ``path``."""

    def meant(found: re.Match[bytes]) -> bytes:
        if found[1]:
            return PLAIN[found[1]]
        return bytes.fromhex(found[2].decode()) if found[2] else chr(int(found[3], 16)).encode()

    return ESCAPE.sub(meant, os.fsencode(path))


def text_difference(store: Store, old: Version, new: Version, path: str) -> tuple[str, ...]:
    """The lines of the text file ``path`` that differ, as ``diff -u`` tells them; none when it is the same.

    ``path`` may also be written as it is told.

    A version that lacks the file counts as one where it is empty. Raises ``PipelineError`` when neither has
    it, or when it is no text file of at most ``LONGEST_TEXT`` bytes.
    """
    from difflib import unified_diff

    _require_content(store, old, new)
    for raw in (os.fsencode(path), _untold(path)):
        texts = [_text(store, version, path, raw) for version in (old, new)]
        if texts != [None, None]:
            break
    else:
        raise PipelineError(
            f"neither {old.label} nor {new.label} has a file {path}",
            hint="links are not followed: name the file itself",
            command=f"pipeline diff {old.label} {new.label}",
        )
    before, after = ((text or "").splitlines() for text in texts)
    told = on_one_line(path)
    return tuple(unified_diff(before, after, f"{old.label}:{told}", f"{new.label}:{told}", lineterm=""))


def _text(store: Store, version: Version, path: str, raw: bytes) -> str | None:
    found = find([store.layer_tree(name) for name in version.layers], raw.strip(b"/"))
    if found is None:
        return None
    if not stat.S_ISREG(found.status.st_mode) or found.status.st_size > LONGEST_TEXT:
        raise PipelineError(f"{version.label}: {path} is no file of at most {LONGEST_TEXT:,} bytes")
    try:
        return Path(os.fsdecode(found.file)).read_bytes().decode()
    except UnicodeDecodeError:
        raise PipelineError(f"{version.label}: {path} is no text in UTF-8") from None
