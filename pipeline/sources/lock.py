"""``recipe.lock``: the exact base, sources and packages of an image, as a TOML file beside its recipe."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from pipeline.errors import PipelineError, Problem, UsageError
from pipeline.packaging.nevra import parse
from pipeline.regular import content_of
from pipeline.sources.disk import writing
from pipeline.stages.base import PackageAnswer, PackageRequest
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
Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**34)]
"""Since 1970; the end is in 2514, later than any filesystem can say."""


SHA256 = re.compile("[0-9a-f]{64}")
NEVER_IN_NEVRA = re.compile(r"^-|[/\s\0-\x1f\x7f]")


def digest_of_packages(installed: Iterable[str]) -> str:
    """The sha256 of a list of NEVRAs, in whatever order."""
    return hashlib.sha256("\n".join(sorted(installed)).encode()).hexdigest()


class LockedBase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the image starts from. ``digest`` is the base's (for another recipe's image: its version's).

    The digest is empty for another recipe's image. ``epoch`` is the time that files made by stages get.
    """

    name: str
    digest: str
    epoch: Seconds


class LockedSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file from outside: a URL as the recipe has it, or a path below the project; ``size`` in bytes."""

    location: str
    sha256: Sha256
    size: Bytes


class LockedStage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the image's package manager was asked for by a stage, and what that comes to.

    That rests on the packages that were installed ``before`` (``digest_of_packages``) and on the image's
    ``repositories`` (``Wanted``): 64 hex digits each, empty in a lock that does not say.
    """

    name: str
    request: PackageRequest
    answer: PackageAnswer
    before: str = ""
    repositories: str = ""


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A lock. ``stages`` are those that change packages, in the order in which they run."""

    version: int = VERSION
    base: LockedBase
    sources: tuple[LockedSource, ...] = ()
    stages: tuple[LockedStage, ...] = ()


def read(path: Path) -> Lock | None:
    """The lock at ``path``, None when there is none. Raises ``UsageError`` with file and line."""
    found = content(path)
    return parsed(found, path) if found is not None else None


def content(path: Path) -> bytes | None:
    """The text of the lock at ``path``, None when there is none. Raises ``UsageError``."""
    try:
        return content_of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read the lock: {error.strerror}", where=str(path)) from None


def readable(path: Path) -> bytes | None:
    """The text at ``path``, whatever it says; None when there is none that can be read."""
    try:
        return content(path)
    except UsageError:
        return None


def parsed(found: bytes, path: Path) -> Lock:
    """The lock whose text, at ``path``, is ``found``. Raises ``UsageError`` with file and line."""
    try:
        text = found.decode()
    except UnicodeDecodeError as error:
        raise _damaged(path, [Problem(f"not a lock: {error}", where=str(path))]) from None
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
    problems = sorted(
        (_line(text, place), f"{place.removeprefix('$.')} {message}") for place, message in _wrong(raw)
    )
    if problems:
        raise _damaged(path, [Problem(message, where=f"{path}:{line}") for line, message in problems])
    return msgspec.convert(raw, Lock)


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


def is_same(one: Lock, other: Lock) -> bool:
    """Whether two locks say the same; the order of sources says nothing."""
    return (one.base, set(one.sources), one.stages) == (other.base, set(other.sources), other.stages)


def write(path: Path, lock: Lock) -> bytes:
    """Make ``path`` hold ``lock``, or leave it as it is; returns its text. Raises ``PipelineError``."""
    text = text_of(lock).encode()
    with writing(path):
        write_whole(path, text)
    return text


def _basic_string(value: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's, which forbids DEL too (TOML 1.0, "String")."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _wrong(raw: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(place, what is wrong there) of all that no lock says. Places are written ``$.sources[0].size``."""
    yield from _wrong_types(raw)
    version, base = raw.get("version"), raw.get("base")
    if isinstance(version, int) and version < 1:
        yield "$.version", f"is {version}, and there is no such version of locks"
    digest = base.get("digest") if isinstance(base, dict) else None
    if isinstance(digest, str) and digest and not SHA256.fullmatch(digest):
        yield "$.base.digest", f"is {digest!r}, and no sha256 of 64 lower-case hex digits"
    yield from _twice(raw, "sources", "location")
    yield from _twice(raw, "stages", "name")
    for place, stage in _tables(raw, "stages", "$"):
        answer = stage.get("answer")
        if not isinstance(answer, dict):
            continue
        for where, package in _tables(answer, "install", f"{place}.answer"):
            yield from ((f"{where}.{key}", message) for key, message in _wrong_package(package))
        removed = answer.get("remove")
        for number, nevra in enumerate(removed if isinstance(removed, list) else ()):
            if isinstance(nevra, str) and (fault := _nevra_fault(nevra)):
                yield f"{place}.answer.remove[{number}]", fault


def _wrong_types(raw: dict[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        msgspec.convert(raw, Lock)
    except msgspec.ValidationError as error:
        from pipeline.recipe.kinds import faults  # only for a lock that is wrong

        for path, message in faults(raw, Lock) or [((), f"is wrong: {error}")]:
            yield "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path), message


def _tables(raw: dict[str, Any], key: str, around: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables of a list, each with its place; whatever is of another type has been told."""
    found = raw.get(key)
    for number, table in enumerate(found if isinstance(found, list) else ()):
        if isinstance(table, dict):
            yield f"{around}.{key}[{number}]", table


def _twice(raw: dict[str, Any], tables: str, key: str) -> Iterator[tuple[str, str]]:
    seen = set[str]()
    for place, table in _tables(raw, tables, "$"):
        name = table.get(key)
        if isinstance(name, str):
            if name in seen:
                yield f"{place}.{key}", f"is {name!r}, which is locked twice"
            seen.add(name)


def _wrong_package(package: dict[str, Any]) -> Iterator[tuple[str, str]]:
    nevra, sha256, size = package.get("nevra"), package.get("sha256"), package.get("size")
    if isinstance(nevra, str) and (fault := _nevra_fault(nevra)):
        yield "nevra", fault
    if isinstance(sha256, str) and not SHA256.fullmatch(sha256):
        yield "sha256", f"is {sha256!r}, and no sha256 of 64 lower-case hex digits"
    if isinstance(size, int) and size < 0:
        yield "size", f"is {size}, and no size in bytes"
    if package.get("location") == "":
        yield "location", "is empty"


def _nevra_fault(text: str) -> str | None:
    try:
        parse(text)
    except ValueError as error:
        return f"is wrong: {error}"
    # It becomes a word of rpm's command line, and a part of a file's name.
    return f"is {text!r}, and no package is called so" if NEVER_IN_NEVRA.search(text) else None


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
        inside = True
        for number in range(found, len(lines)):
            line = lines[number].strip()
            inside &= number == found or not line.startswith("[")
            if line == wanted:
                if skip == 0:
                    found, header = number, table
                    break
                skip -= 1
            elif inside and re.match(rf"{key}\s*=", line):
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
