"""What a stage's own ``check`` says in spite of options that are wrong or missing.

Nobody knows what such an option was meant to be. So the stage is checked with several values in its place,
and what counts is what is wrong with all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import combinations
from typing import Any, TypeAlias

import msgspec
from msgspec import inspect

from pipeline.nearest import lookalike
from pipeline.recipe.tables import right_part, undotted
from pipeline.stages.base import Stage

Fault: TypeAlias = tuple[str, str]
"""(option, message), as ``Stage.check`` has it."""

AT_ONCE = 2
"""So many options in doubt are varied at the same time: they exclude or need each other in pairs."""


def faults_in_spite(
    written: Mapping[str, Any], stage_class: type[Stage], arguments: Mapping[str, Any]
) -> list[Fault]:
    """What is wrong with a stage whatever its options in doubt are.

    ``written`` are the options that the recipe has, ``arguments`` (by attribute) the right ones of them.
    In doubt is what is wrong or missing, and what an unknown option may have been meant for. About these
    themselves nothing is told but what is wrong with those elements of a list that are of the right type.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(stage_class)}
    doubtful = _doubtful(written, fields, arguments)
    known = {field.name: arguments[field.name] for field in fields.values() if field.name in arguments}
    parts = {key: part for key in doubtful if (part := _part(written, fields[key], arguments)) is not None}
    candidates = {}
    for key in sorted(doubtful):
        field = fields[key]
        samples = _samples(inspect.type_info(field.type))
        if key in parts:
            candidates[field.name] = [parts[key], *(_together(parts[key], sample) for sample in samples)]
            continue
        given = [known.pop(field.name)] if field.name in known else []
        default = [] if field.required else [_default(field)]
        candidates[field.name] = [*given, *default, *samples]
    if not all(candidates.values()):
        return []
    always: list[Fault] | None = None
    for guess in _guesses(candidates):
        found = stage_class(**known, **guess).check()
        always = [fault for fault in (found if always is None else always) if fault in found]
        if not always:
            return []
    unsure = doubtful - parts.keys()
    return [fault for fault in always or () if not unsure.intersection(undotted(fault[0])[:1])]


def _part(written: Mapping[str, Any], field: msgspec.structs.FieldInfo, arguments: Mapping[str, Any]) -> Any:
    """What is right in the value of an option that has wrong elements; None when that is not so."""
    if field.name in arguments or field.encode_name not in written:
        return None
    return right_part(written[field.encode_name], field.type)


def _together(part: Any, sample: Any) -> Any:
    """``part`` with what may have been meant by its wrong elements."""
    if isinstance(part, tuple) and isinstance(sample, tuple):
        return (*part, *sample)
    return {**sample, **part} if isinstance(part, dict) and isinstance(sample, dict) else part


def _doubtful(
    written: Collection[str], fields: Mapping[str, msgspec.structs.FieldInfo], arguments: Mapping[str, Any]
) -> set[str]:
    wrong = {
        key
        for key, field in fields.items()
        if field.name not in arguments and (field.required or key in written)
    }
    for unknown in set(written) - fields.keys() - {"type"}:
        meant = lookalike(unknown, fields)
        wrong |= {meant} if meant is not None else fields.keys() - set(written)
    return wrong


def _guesses(candidates: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """The first candidate of each, then some of them varied, then all."""
    first = {name: values[0] for name, values in candidates.items()}
    varied = [(name, value) for name, values in candidates.items() for value in values[1:]]
    for many in range(AT_ONCE + 1):
        for some in combinations(varied, many):
            yield {**first, **dict(some)}
    yield {name: values[-1] for name, values in candidates.items()}


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _samples(kind: inspect.Type) -> list[Any]:
    """Some values of a type, as unlike as they can be; empty when none comes to mind."""
    if isinstance(kind, inspect.Metadata):
        return _samples(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [sample for part in kind.types for sample in _samples(part)]
    if isinstance(kind, inspect.LiteralType):
        return list(kind.values)
    if isinstance(kind, inspect.BoolType):
        return [False, True]
    if isinstance(kind, inspect.StrType):
        return ["", "x", "/x"]
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return [0, 1]
    if isinstance(kind, inspect.VarTupleType):
        return [(), *((sample,) for sample in _samples(kind.item_type))]
    if isinstance(kind, inspect.DictType):
        return [{}, *({"x": sample} for sample in _samples(kind.value_type))]
    return []
