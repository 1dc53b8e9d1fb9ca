"""The parameters of a cluster file: its own, those of image recipes, and what single nodes have instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.cluster.reading import OPEN, Reading
from pipeline.recipe.findings import position
from pipeline.recipe.kinds import described
from pipeline.recipe.model import Parameter, Recipe
from pipeline.recipe.scopes import Scope, declare, is_requirement


def fill_scope(reading: Reading, recipes: Iterable[Recipe]) -> None:
    """Give the file's scope all its parameters; those of ``recipes`` are known by the same names.

    A parameter that the file and a recipe, or two recipes, give other values to is told with both places.
    """
    written = _written(reading)
    scope, recipes = reading.scope, tuple(recipes)
    for recipe in recipes:
        for name, value in recipe.parameters.items():
            if name not in written:
                scope.parameters.setdefault(name, value)
                scope.declared.add(name)
    _declare(scope, written, {})
    for recipe in recipes:
        for name in written.keys() & recipe.parameters.keys() & scope.parameters.keys():
            own, other = scope.parameters[name], recipe.parameters[name]
            if not _same(own, other):
                what = "has a value for single nodes only" if is_requirement(written[name]) else _is(own)
                where = position(recipe.file, ("parameters", name))
                reading.say(
                    ("parameters", name),
                    f'parameter "{name}" {what}, but {_is(other)} in the recipe "{recipe.name}" ({where})',
                    "leave it out here: the recipe's holds for both",
                )


def finish_scope(reading: Reading, recipes: Iterable[Recipe]) -> None:
    """Tell which parameters nothing uses, and which of the used ones mean two things."""
    scope, recipes = reading.scope, tuple(recipes)
    first: dict[str, Recipe] = {}
    for recipe in recipes:
        for name in sorted(recipe.parameters.keys() - _written(reading).keys()):
            known = first.setdefault(name, recipe)
            if name in scope.used and not _same(known.parameters[name], recipe.parameters[name]):
                places = [position(each.file, ("parameters", name)) for each in (known, recipe)]
                reading.say(
                    ("cluster", "parameters_of"),
                    f'[cluster]: parameter "{name}" {_is(known.parameters[name])} at {places[0]}, '
                    f"but {_is(recipe.parameters[name])} at {places[1]}",
                )
    scope.used |= first.keys()
    scope.tell_unused()


def overridden(reading: Reading, given: Mapping[str, Parameter]) -> Scope:
    """The file's parameters with ``given`` values for some, and whatever follows from these."""
    written, base = _written(reading), reading.scope
    inner = Scope(base.file, base.findings, declared=set(base.declared), used=base.used)
    inner.parameters = {name: value for name, value in base.parameters.items() if name not in written} | dict(
        given
    )
    inner.partial = base.partial
    inner.broken = base.broken - given.keys()
    _declare(inner, written, given)
    return inner


def missing_in(text: str) -> str | None:
    """The parameter without a value in ``text``, if there is one."""
    return text.split(OPEN)[1] if OPEN in text else None


def _written(reading: Reading) -> Mapping[str, Any]:
    found: Mapping[str, Any] = reading.tables.get("parameters", {})
    return found


def _declare(scope: Scope, written: Mapping[str, Any], given: Mapping[str, Parameter]) -> None:
    for name, value in written.items():
        if is_requirement(value):
            scope.declared.add(name)
            scope.parameters[name] = given.get(name, f"{OPEN}{name}{OPEN}")
    declare(scope, {name: value for name, value in written.items() if not is_requirement(value)}, given)


def _same(one: Parameter, other: Parameter) -> bool:
    return one == other and type(one) is type(other)


def _is(value: Parameter) -> str:
    return f"is {described(value)}" if not isinstance(value, tuple) else f"is {list(value)}"
