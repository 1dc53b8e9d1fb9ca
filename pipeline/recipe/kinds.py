"""What is wrong with a value, in the words of TOML; asked only once msgspec has refused the value."""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

from msgspec import inspect

from pipeline.nearest import nearest
from pipeline.recipe.lines import KeyPath

Fault: TypeAlias = tuple[KeyPath, str]
"""Where inside the value, and what: ``((2,), "expects a string, got the integer 3")``."""

LONGEST_VALUE = 40

WORDS: Mapping[type[inspect.Type], tuple[str, str]] = {
    inspect.AnyType: ("a value", "values"),
    inspect.StrType: ("a string", "strings"),
    inspect.EnumType: ("a string", "strings"),
    inspect.IntType: ("an integer", "integers"),
    inspect.FloatType: ("a number", "numbers"),
    inspect.BoolType: ("true or false", "truth values"),
    inspect.StructType: ("a table", "tables"),
    inspect.DictType: ("a table", "tables"),
}

Array = (
    inspect.ListType
    | inspect.VarTupleType
    | inspect.TupleType
    | inspect.SetType
    | inspect.FrozenSetType
    | inspect.CollectionType
)


def faults(value: object, annotation: Any) -> list[Fault]:
    """Everything in ``value`` that is not as the type ``annotation`` wants it; empty when all is."""
    return list(_faults(value, inspect.type_info(annotation)))


def described(value: object) -> str:
    """``the string "x"``, ``the integer 3``, ``a list``: what somebody wrote."""
    if isinstance(value, str):
        short = value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 1] + "…"
        return 'the string "' + short.replace("\n", "\\n") + '"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the {'integer' if isinstance(value, int) else 'number'} {value}"
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list | tuple) else "a date or time"


def _faults(value: object, kind: inspect.Type) -> Iterator[Fault]:
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        yield from _union_faults(value, kind)
    elif not _fits(value, kind):
        yield (), f"expects {_wanted(kind)}, got {described(value)}"
    elif isinstance(value, list | tuple) and isinstance(kind, Array):
        items = kind.item_types if isinstance(kind, inspect.TupleType) else [kind.item_type] * len(value)
        for index, (item, item_kind) in enumerate(zip(value, items, strict=False)):
            yield from _inside(index, _faults(item, item_kind))
        yield from _length_faults(value, kind)
    elif isinstance(value, dict) and isinstance(kind, inspect.DictType):
        for key, item in value.items():
            yield from _inside(key, _faults(item, kind.value_type))
    elif isinstance(value, dict) and isinstance(kind, inspect.StructType):
        yield from _struct_faults(value, kind)
    else:
        yield from _limit_faults(value, kind)


def _inside(key: str | int, found: Iterator[Fault]) -> Iterator[Fault]:
    for path, message in found:
        yield (key, *path), message


def _union_faults(value: object, kind: inspect.UnionType) -> Iterator[Fault]:
    fitting = [part for part in kind.types if _fits(value, part)]
    if not fitting:
        yield (), f"expects {_wanted(kind)}, got {described(value)}"
        return
    attempts = [list(_faults(value, part)) for part in fitting]
    yield from min(attempts, key=len)


def _struct_faults(value: dict[str, object], kind: inspect.StructType) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in kind.fields}
    for key, item in value.items():
        if key in fields:
            yield from _inside(key, _faults(item, fields[key].type))
        elif kind.forbid_unknown_fields:
            yield (key,), f"is unknown{nearest(key, fields) or there_are(fields)}"
    for name, field in fields.items():
        if field.required and name not in value:
            yield (name,), "is missing"


def there_are(names: Collection[str]) -> str:
    """`` (there are: a, b)``, for when nothing is near enough."""
    return f" (there are: {', '.join(sorted(names))})" if names else ""


def _length_faults(value: list[object] | tuple[object, ...], kind: inspect.Type) -> Iterator[Fault]:
    if isinstance(kind, inspect.TupleType) and len(value) != len(kind.item_types):
        yield (), f"expects {len(kind.item_types)} elements, got {len(value)}"
    least, most = getattr(kind, "min_length", None), getattr(kind, "max_length", None)
    if least is not None and len(value) < least:
        yield (), f"expects at least {least} elements, got {len(value)}"
    if most is not None and len(value) > most:
        yield (), f"expects at most {most} elements, got {len(value)}"


def _limit_faults(value: Any, kind: inspect.Type) -> Iterator[Fault]:
    if isinstance(kind, inspect.LiteralType) and value not in kind.values:
        yield from _choice_fault(value, kind.values)
    elif isinstance(kind, inspect.EnumType) and value not in [member.value for member in kind.cls]:
        yield from _choice_fault(value, tuple(member.value for member in kind.cls))
    elif isinstance(kind, inspect.IntType | inspect.FloatType):
        broken = [
            f"{words} {limit:g}"
            for limit, words, holds in (
                (kind.ge, "at least", operator.ge),
                (kind.gt, "more than", operator.gt),
                (kind.le, "at most", operator.le),
                (kind.lt, "less than", operator.lt),
            )
            if limit is not None and not holds(value, limit)
        ]
        if broken:
            yield (), f"expects {_wanted(kind)}, {', '.join(broken)}, got {value}"
    elif isinstance(kind, inspect.StrType):
        if kind.min_length and len(value) < kind.min_length:
            yield (), "is empty" if not value else f"is shorter than {kind.min_length} characters"
        elif kind.pattern and not _matches(kind.pattern, value):
            yield (), f"has to match {kind.pattern}, got {described(value)}"


def _matches(pattern: str, value: str) -> bool:
    return re.search(pattern, value) is not None


def _choice_fault(value: object, choices: tuple[Any, ...]) -> Iterator[Fault]:
    near = nearest(str(value), [str(choice) for choice in choices])
    options = ", ".join(f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in choices)
    yield (), f"expects one of {options}, got {described(value)}{near}"


def _fits(value: object, kind: inspect.Type) -> bool:
    """Whether ``value`` is of the right sort, whatever is inside it."""
    if isinstance(kind, inspect.Metadata):
        return _fits(value, kind.type)
    if isinstance(kind, inspect.UnionType):
        return any(_fits(value, part) for part in kind.types)
    if isinstance(kind, inspect.AnyType):
        return True
    if isinstance(kind, inspect.LiteralType):
        return any(type(value) is type(choice) for choice in kind.values)
    if isinstance(value, bool):
        return isinstance(kind, inspect.BoolType)
    if isinstance(value, str):
        return isinstance(kind, inspect.StrType | inspect.EnumType)
    if isinstance(value, int):
        return isinstance(kind, inspect.IntType | inspect.FloatType)
    if isinstance(value, float):
        return isinstance(kind, inspect.FloatType)
    if isinstance(value, list | tuple):
        return isinstance(kind, Array)
    return isinstance(value, dict) and isinstance(kind, inspect.DictType | inspect.StructType)


def _wanted(kind: inspect.Type, *, several: bool = False) -> str:
    if isinstance(kind, inspect.Metadata):
        return _wanted(kind.type, several=several)
    if isinstance(kind, inspect.UnionType):
        parts = [part for part in kind.types if not isinstance(part, inspect.NoneType)]
        return " or ".join(dict.fromkeys(_wanted(part, several=several) for part in parts))
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(f'"{choice}"' for choice in kind.values)
    one, many = WORDS.get(type(kind), ("a list", "lists"))
    words = many if several else one
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return f"{words} of {_wanted(kind.item_type, several=True)}"
    if isinstance(kind, inspect.DictType):
        return f"{words} of {_wanted(kind.value_type, several=True)}"
    return words
