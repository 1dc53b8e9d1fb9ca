"""``recipe.lock``: the exact base, sources and packages of an image, as a TOML file beside its recipe."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pipeline.errors import PipelineError, Problem, UsageError
from pipeline.sources.disk import writing
from pipeline.stages.base import LockedPackage, PackageAnswer, PackageRequest
from pipeline.store.filesystem import write_whole

VERSION = 1

HEADER = """\
# Made by `pipeline lock`: what the image is built from, exactly. Keep it in version control, beside the
# recipe; change the recipe and lock again rather than this file.
"""

LAYOUT = (("version", "base"), ("sources",), ("stages",))
"""The order of the file's parts; toml alone would put the base last."""

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Bytes = Annotated[int, msgspec.Meta(ge=0)]


class LockedBase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the image starts from. ``digest`` is the base's (for another recipe's image: its version's).

    ``epoch`` is the time, in seconds since 1970, that files made by stages get.
    """

    name: str
    digest: str
    epoch: int


class LockedSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file from outside: a URL as the recipe has it, or a path below the project; ``size`` in bytes."""

    location: str
    sha256: Sha256
    size: Bytes


class LockedStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the image's package manager was asked for by a stage, and what that comes to."""

    name: str
    request: PackageRequest
    answer: PackageAnswer


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A lock. ``stages`` are those that change packages, in the order in which they run."""

    version: int = VERSION
    base: LockedBase
    sources: tuple[LockedSource, ...] = ()
    stages: tuple[LockedStage, ...] = ()


def read(path: Path) -> Lock | None:
    """The lock at ``path``, None when there is none. Raises ``UsageError`` with file and line."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise _damaged(path, [Problem(f"not a lock: {error}", where=str(path))]) from None
    except OSError as error:
        raise UsageError(f"cannot read the lock: {error.strerror}", where=str(path)) from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        last = text.count("\n") + 1
        where = f"{path}:{line[1] if line else last}"
        raise _damaged(path, [Problem(f"not a lock: {error}", where=where)]) from None
    version = raw.get("version")
    if isinstance(version, int) and version > VERSION:
        raise UsageError(
            f"this lock is of version {version}, made by a newer pipeline; this one knows {VERSION}",
            where=f"{path}:{_line(text, '$.version')}",
            hint="install the newer pipeline, or lock again with this one",
            command=f"pipeline lock {path.absolute().parent.name}",
        )
    try:
        lock = msgspec.convert(raw, Lock)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        unknown = re.search(r"unknown field `(\w+)`", message)
        if unknown:
            place = f"{place.rstrip('`') or '$'}.{unknown[1]}"
        where = f"{path}:{_line(text, place.rstrip('`'))}"
        raise _damaged(path, [Problem(message, where=where)]) from None
    problems = [Problem(message, where=f"{path}:{_line(text, place)}") for place, message in _wrong(lock)]
    if problems:
        raise _damaged(path, problems)
    return lock


def text_of(lock: Lock) -> str:
    """The lock as TOML, always the same. Raises ``PipelineError`` when TOML cannot hold it."""
    import toml  # only where a lock is really written

    encoder: toml.TomlEncoder[dict[str, Any]] = toml.TomlEncoder()
    encoder.dump_funcs[str] = _basic_string  # toml's own breaks backslashes and control characters
    try:
        whole = msgspec.json.decode(msgspec.json.encode(lock))  # lists for tuples, which toml does not know
        parts = ({name: whole[name] for name in names if whole[name]} for names in LAYOUT)
        text = "\n".join([HEADER, *(toml.dumps(part, encoder=encoder) for part in parts if part)])
        text = text.rstrip("\n") + "\n"
        is_same = msgspec.convert(tomllib.loads(text), Lock) == lock
    except (UnicodeEncodeError, tomllib.TOMLDecodeError, msgspec.ValidationError):
        is_same = False
    if not is_same:
        raise PipelineError("a name or location is not valid text, and no lock can hold it")
    return text


def write(path: Path, lock: Lock) -> None:
    """Make ``path`` hold ``lock``, or leave it as it is. Raises ``PipelineError``."""
    text = text_of(lock)
    with writing(path):
        write_whole(path, text.encode())


def _basic_string(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, which forbids DEL too (TOML 1.0, "String")."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _wrong(lock: Lock) -> Iterator[tuple[str, str]]:
    """(place, what is wrong there) beyond types."""
    if lock.version < 1:
        yield "$.version", f"there is no lock version {lock.version}"
    seen: set[str] = set()
    for number, source in enumerate(lock.sources):
        if source.location in seen:
            yield f"$.sources[{number}].location", f"the source {source.location!r} is locked twice"
        seen.add(source.location)
    stages: set[str] = set()
    for number, stage in enumerate(lock.stages):
        if stage.name in stages:
            yield f"$.stages[{number}].name", f"the stage {stage.name!r} is locked twice"
        stages.add(stage.name)
        for place, package in enumerate(stage.answer.install):
            for key, message in _wrong_package(package):
                yield f"$.stages[{number}].answer.install[{place}].{key}", message


def _wrong_package(package: LockedPackage) -> Iterator[tuple[str, str]]:
    if not re.fullmatch("[0-9a-f]{64}", package.sha256):
        yield "sha256", f"{package.sha256!r} is no sha256 of 64 lower-case hex digits"
    if package.size < 0:
        yield "size", f"{package.size} is no size in bytes"
    if not package.location:
        yield "location", f"the package {package.nevra!r} has no location"


def _line(text: str, place: str) -> int:
    """The line of ``place`` (msgspec's ``$.stages[0].request.install``) in a lock as this module lays it out.

    The first line of the closest table when the key itself is not there.
    """
    lines = text.splitlines()
    found, header = 0, ""
    for key, index in re.findall(r"\.(\w+)(?:\[(\d+)\])?", place):
        table = f"{header}.{key}" if header else key
        wanted = f"[[{table}]]" if index else f"[{table}]"
        skip = int(index or 0)
        for number in range(found, len(lines)):
            line = lines[number].strip()
            if line == wanted:
                if skip == 0:
                    found, header = number, table
                    break
                skip -= 1
            elif not index and re.match(rf"{key}\s*=", line):
                return number + 1
    return found + 1


def _damaged(path: Path, problems: list[Problem]) -> UsageError:
    last = problems[-1]
    return UsageError(
        [
            *problems[:-1],
            Problem(
                last.message,
                last.where,
                hint="the lock was damaged or changed by hand: restore it, or lock again",
                command=f"pipeline lock {path.absolute().parent.name}",
            ),
        ]
    )
