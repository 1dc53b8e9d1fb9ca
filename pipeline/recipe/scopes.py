"""The parameters that hold in a recipe, or in one use of a fragment, and which of them something uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from pipeline.nearest import nearest
from pipeline.recipe.findings import Findings, where
from pipeline.recipe.kinds import described, there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.model import Parameter, Place
from pipeline.recipe.names import parameter_name_fault
from pipeline.templates import WHOLE, Mark, marks, put_in, spelled

ONLY_NAMES = "only {{ name }} here; templates (*.j2 in overlays) know more"
LITERAL = """for the characters themselves write {{ '{{' }}"""

SCALARS = (str, int, float, bool)
A_SCALAR = "a string, a number, true or false"

Given: TypeAlias = Mapping[str, Parameter]


class Scope(msgspec.Struct):
    """Where names of parameters are looked up: one file, used in one place.

    ``broken`` are parameters that are there but whose value is wrong, which has been told already.
    ``blind`` is set when something that may use parameters could not be read, ``partial`` when something that
    may declare them could not.
    """

    file: Path
    findings: Findings
    outer: Scope | None = None
    used_at: Place | None = None
    parameters: dict[str, Parameter] = msgspec.field(default_factory=dict)
    declared: set[str] = msgspec.field(default_factory=set)
    broken: set[str] = msgspec.field(default_factory=set)
    used: set[str] = msgspec.field(default_factory=set)
    blind: bool = False
    partial: bool = False

    @property
    def hint(self) -> str | None:
        """For what is wrong only because of how a fragment is used."""
        return f"the fragment is used at {self.use}" if self.use else None

    @property
    def use(self) -> str | None:
        """Where the fragment is used, up to the recipe; None in a recipe."""
        if self.used_at is None:
            return None
        above = self.outer.use if self.outer else None
        return where(self.used_at) + (f", and that at {above}" if above else "")

    def known(self) -> set[str]:
        """All parameters, those with a wrong value included."""
        return self.declared | self.broken

    def around(self, name: str) -> Scope | None:
        """The nearest scope around this one that has the parameter ``name``."""
        scope = self.outer
        while scope is not None and name not in scope.known():
            scope = scope.outer
        return scope

    def filled(self, value: Any, at: KeyPath, label: str) -> tuple[Any, ...]:
        """``value`` with parameters put in: with their types kept, and also with all of them as text.

        Empty when that cannot be done, which has been told, at ``at`` in the file.
        """
        sound = True
        for path, text in texts(value):
            for mark in marks(text):
                sound &= self._resolvable(mark, text, (*at, *path), label)
        for path in marked_keys(value):
            what = f'{label}a parameter can stand in a value only, not in the key "{path[-1]}"'
            self.findings.add(self.file, (*at, *path), what)
            sound = False
        if not sound:
            return ()
        return fill(value, self.parameters, kept=True), fill(value, self.parameters, kept=False)

    def _resolvable(self, mark: Mark, text: str, at: KeyPath, label: str) -> bool:
        name = mark.name
        if name is None:
            self.findings.add(self.file, at, f"{label}cannot read {mark.text}: {ONLY_NAMES}", LITERAL)
            return False
        self.used.add(name)
        if name in self.broken:
            return False
        if name not in self.parameters and self.partial:
            return False
        if name not in self.parameters:
            near = nearest(name, self.known()) or there_are(self.known())
            self.findings.add(self.file, at, f'{label}undefined parameter "{name}"{near}')
            return False
        if isinstance(self.parameters[name], tuple) and not WHOLE.fullmatch(text):
            what = f'{label}the parameter "{name}" is a list and cannot stand inside a text'
            self.findings.add(self.file, at, what, self.hint)
            return False
        return True

    def values_for(
        self, written: Mapping[str, Any], at: KeyPath, label: str
    ) -> tuple[dict[str, Parameter], set[str]]:
        """What a fragment is given, and the names of those that are wrong, which has been told."""
        given: dict[str, Parameter] = {}
        for name, value in written.items():
            wrong = value_fault(value)
            if wrong:
                message = f'{label}parameter "{name}" {wrong[1]}'
                self.findings.add(self.file, (*at, name, *wrong[0]), message)
                continue
            filled = self.filled(value, (*at, name), label)
            if filled:
                given[name] = frozen(filled[0])
        return given, written.keys() - given.keys()

    def inherit(self, written: Mapping[str, Any], given: dict[str, Parameter]) -> list[str]:
        """Add to ``given`` what the scopes around have for the parameters of a fragment.

        Returns those that are required and that nobody gives; they count as broken.
        """
        missing = []
        for name, value in written.items():
            if name in given or name in self.broken:
                continue
            scope = self.around(name)
            if scope is not None:
                scope.used.add(name)
                if name in scope.broken:
                    self.broken.add(name)
                else:
                    given[name] = scope.parameters[name]
            elif is_requirement(value):
                missing.append(name)
        self.broken.update(missing)
        return missing

    def tell_unused(self) -> None:
        """Say which parameters nothing has used, unless something could not be looked into."""
        if self.blind:
            return
        for name in sorted(self.parameters.keys() - self.used):
            self.findings.add(self.file, ("parameters", name), f'parameter "{name}" is not used by anything')


def declare(scope: Scope, written: Mapping[str, Any], given: Given) -> None:
    """Give ``scope`` the parameters of its file's ``[parameters]``: ``given`` values, or else those written.

    Values may refer to other parameters of the file, in any order. Parameters that are in ``broken`` already
    stay there.
    """
    scope.declared.update(written)
    values: dict[str, Any] = {}
    for name, value in written.items():
        at = ("parameters", name)
        fault = parameter_name_fault(name)
        if fault:
            scope.findings.add(scope.file, at, f'the name "{name}" {fault}')
        wrong = None if scope.used_at and is_requirement(value) else value_fault(value)
        if wrong:
            scope.findings.add(scope.file, (*at, *wrong[0]), f'parameter "{name}" {wrong[1]}')
        if name in scope.broken:
            continue
        if name in given:
            scope.parameters[name] = given[name]
        elif fault or wrong:
            scope.broken.add(name)
        else:
            values[name] = value
    for name in values:
        _resolve(scope, name, values, ())


def is_requirement(value: object) -> bool:
    """Whether a fragment writes ``name = { required = true }``: that it has to be given."""
    return value == {"required": True}


def value_fault(value: object) -> tuple[KeyPath, str] | None:
    """Why ``value`` can be no parameter, and where in it; None when it can be one."""
    if isinstance(value, SCALARS):
        return None
    if not isinstance(value, list):
        return (), f"expects {A_SCALAR}, or a list of these, got {described(value)}"
    for index, item in enumerate(value):
        if not isinstance(item, SCALARS):
            return (index,), f"expects {A_SCALAR} in its list, got {described(item)}"
    return None


def _resolve(scope: Scope, name: str, values: Mapping[str, Any], chain: tuple[str, ...]) -> None:
    if name in scope.parameters or name in scope.broken:
        return
    at = ("parameters", name)
    if name in chain:
        circle = " -> ".join((*chain[chain.index(name) :], name))
        scope.findings.add(scope.file, at, f"the values of parameters go in a circle: {circle}")
        scope.broken |= set(chain[chain.index(name) :])
        return
    value = values[name]
    for other in names_in(value):
        if other in values:
            _resolve(scope, other, values, (*chain, name))
    if name in scope.broken:
        scope.used |= set(names_in(value))
        return
    # What this value refers to is resolved by now, or broken, or undefined.
    filled = scope.filled(value, at, f'parameter "{name}": ')
    if filled:
        scope.parameters[name] = frozen(filled[0])
    else:
        scope.broken.add(name)


def frozen(value: Any) -> Parameter:
    """A parameter as the model holds it: a list as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def names_in(value: Any) -> list[str]:
    """The parameters that ``value`` refers to, at any depth."""
    return [mark.name for _, text in texts(value) for mark in marks(text) if mark.name]


def texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every string in ``value`` that holds ``{{``, and where."""
    if isinstance(value, str):
        if "{{" in value:
            yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from texts(item, (*path, index))


def marked_keys(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Where a key of a table holds ``{{``."""
    if isinstance(value, dict):
        for key, item in value.items():
            if "{{" in key:
                yield (*path, key)
            yield from marked_keys(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from marked_keys(item, (*path, index))


def fill(value: Any, parameters: Given, *, kept: bool) -> Any:
    """``value`` with parameters put in. A string that is one parameter keeps its type, if ``kept``.

    A list in the place of an element of a list becomes elements.
    """
    if isinstance(value, str):
        whole = WHOLE.fullmatch(value)
        if not whole:
            return put_in(value, parameters)
        known = parameters[whole[1]]
        if isinstance(known, tuple):
            return [item if kept else spelled(item) for item in known]
        return known if kept else spelled(known)
    if isinstance(value, dict):
        return {key: fill(item, parameters, kept=kept) for key, item in value.items()}
    if not isinstance(value, list | tuple):
        return value
    filled: list[Any] = []
    for item in value:
        new = fill(item, parameters, kept=kept)
        if isinstance(item, str) and isinstance(new, list):
            filled.extend(new)
        else:
            filled.append(new)
    return tuple(filled) if isinstance(value, tuple) else filled
