"""The digest of the code that a stage's result depends on: when it changes, the stage runs again."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from pipeline.libraries import installed_version

PACKAGE = Path(__file__).parent.parent
IMPORT = re.compile(
    r"^\s*(?:from (pipeline[\w.]*) import ([\w, ]+|\()|import (pipeline[\w.]+))", re.MULTILINE
)
PARENTHESES = re.compile(r"^\s*from (pipeline[\w.]*) import \(([^)]*)\)", re.MULTILINE)
ALWAYS = ("pipeline.build.stage", "pipeline.store.commit")
"""What every stage's result goes through, beside the module of its type."""

LIBRARIES = {"jinja2": "Jinja2", "pycdlib": "pycdlib", "zstandard": "zstandard"}
"""Libraries that read what goes into an image: module → distribution. The others only serve this program."""

LIBRARY = re.compile(rf"^\s*(?:from|import) ({'|'.join(LIBRARIES)})\b", re.MULTILINE)


@cache
def code_digest(stage_type: str) -> str:
    """sha256 over the source of the stage type and of every module of this program that it imports.

    Lazy imports inside functions count too, and so do the versions of the libraries that read what goes into
    an image.
    """
    digest = hashlib.sha256()
    libraries: set[str] = set()
    for module, _ in modules(stage_type):
        digest.update(f"{module}\0".encode())
        digest.update(hashlib.sha256(_source(module)).digest())
        libraries.update(LIBRARY.findall(_source(module).decode()))
    for library in sorted(libraries):
        digest.update(f"{library} {installed_version(LIBRARIES[library])}\n".encode())
    return digest.hexdigest()


def modules(stage_type: str) -> tuple[tuple[str, Path], ...]:
    """The modules that ``code_digest`` covers, sorted, with their files."""
    wanted = [*ALWAYS, f"pipeline.stages.{stage_type}"]
    closure: set[str] = set()
    while wanted:
        module = wanted.pop()
        if module not in closure:
            closure.add(module)
            wanted += _imports(module)
    return tuple((module, path) for module in sorted(closure) if (path := _path(module)) is not None)


@cache
def _path(module: str) -> Path | None:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _source(module: str) -> bytes:
    path = _path(module)
    return path.read_bytes() if path else b""


@cache
def _imports(module: str) -> tuple[str, ...]:
    text = _source(module).decode()
    pairs = [(match[1] or match[3], match[2] or "") for match in IMPORT.finditer(text)]
    pairs += [(match[1], match[2]) for match in PARENTHESES.finditer(text)]
    found: set[str] = set()
    for package, names in pairs:
        found.add(package)
        for name in re.findall(r"\w+", names):
            found.add(f"{package}.{name}")
    return tuple(sorted(name for name in found if _path(name) is not None))
