"""A table of TOML as typed data, field by field, so that everything wrong in it is told at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

import msgspec

from pipeline.nearest import nearest
from pipeline.recipe.kinds import faults, there_are
from pipeline.recipe.lines import KeyPath

NOTHING: Mapping[str, tuple[Any, ...]] = MappingProxyType({})

Say: TypeAlias = Callable[[KeyPath, str], None]
"""Told of what is wrong: where inside the table, and what."""


def fields_of(
    table: Mapping[str, Any],
    struct: type[msgspec.Struct],
    say: Say,
    *,
    word: str = "key",
    skip: Collection[str] = (),
    forms: Mapping[str, tuple[Any, ...]] = NOTHING,
) -> dict[str, Any]:
    """The arguments for ``struct`` that are right in ``table``; ``say`` is told what is wrong or missing.

    ``word`` is what a key is called here. Keys in ``skip`` belong to somebody else. ``forms`` holds for some
    keys what their value comes to, the first that is right is taken; none: what is wrong has been told.
    """
    known = _fields(struct)
    arguments: dict[str, Any] = {}
    for key in [key for key in table if key not in skip]:
        if key not in known:
            say((key,), f'unknown {word} "{key}"{nearest(key, known) or there_are(known)}')
            continue
        attempts = [converted(form, known[key].type) for form in forms.get(key, (table[key],))]
        good = [value for found, value in attempts if not found]
        if good:
            arguments[known[key].name] = good[0]
        elif attempts:
            for path, message in attempts[0][0]:
                say((key, *path), f'{word} "{dotted((key, *path))}" {message}')
    for name, field in known.items():
        if field.required and name not in table and name not in skip:
            say((), f'{word} "{name}" is missing')
    return arguments


def converted(value: object, annotation: Any) -> tuple[list[tuple[KeyPath, str]], Any]:
    """``value`` as the type ``annotation`` holds it, or what is wrong with it."""
    try:
        return [], msgspec.convert(value, annotation, strict=True)
    except msgspec.ValidationError as error:
        return faults(value, annotation) or [((), f"is wrong: {error}")], None


def right_part(value: object, annotation: Any) -> Any:
    """The elements of a list, or the entries of a table, that are right; None when no such part is left."""
    found, _ = converted(value, annotation)
    wrong = {path[0] for path, _ in found if path}
    if not found or len(wrong) == 0 or any(not path for path, _ in found):
        return None
    part: object = None
    if isinstance(value, list | tuple):
        part = [element for index, element in enumerate(value) if index not in wrong]
    elif isinstance(value, dict):
        part = {key: entry for key, entry in value.items() if key not in wrong}
    faults_left, right = converted(part, annotation)
    return right if part and not faults_left else None


def dotted(path: KeyPath) -> str:
    """``("set", "DEFAULT", "x", 2)`` as ``set.DEFAULT.x[2]``: elements are counted from 0, as Python does."""
    words = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return words.removeprefix(".")


def undotted(words: str) -> KeyPath:
    """The reverse of ``dotted``."""
    return tuple(int(key[1:-1]) if key[0] == "[" else key for key in re.findall(r"\[\d+\]|[^.\[\]]+", words))


@lru_cache(maxsize=64)
def _fields(struct: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(struct)}
