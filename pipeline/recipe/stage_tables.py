"""``[[stage]]`` tables of recipes and fragments, made into stages with their parameters put in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from pipeline.nearest import nearest
from pipeline.recipe.documents import Document, read_document
from pipeline.recipe.doubt import faults_in_spite
from pipeline.recipe.findings import Findings, where
from pipeline.recipe.kinds import described, there_are
from pipeline.recipe.lines import KeyPath
from pipeline.recipe.model import Place, PlacedStage
from pipeline.recipe.named_files import file_faults
from pipeline.recipe.names import file_name_fault
from pipeline.recipe.overlays import parameters_of, tree_fault
from pipeline.recipe.scopes import Scope, declare
from pipeline.recipe.tables import Say, fields_of, undotted
from pipeline.recipe.top import STAGES, tables_of
from pipeline.recipe.written import FragmentFile, FragmentTable, UseStage
from pipeline.stages.base import Stage

FRAGMENTS = "fragments"


class StageTypes(Protocol):
    """Which stage types there are; ``pipeline.stages`` is one."""

    def names(self) -> tuple[str, ...]:
        """Their names, sorted."""

    def stage_type(self, name: str) -> type[Stage]:
        """The class of one. Raises ``KeyError`` when there is none of that name."""


class Expansion(msgspec.Struct):
    """The stages of one recipe as they are met, those of its fragments in their places.

    ``taken`` are the names of stages so far. ``fragments`` are those read so far, for whichever recipe;
    ``used`` are the files of those that this recipe uses.
    """

    project: Path
    findings: Findings
    types: StageTypes
    stages: list[PlacedStage] = msgspec.field(default_factory=list)
    taken: dict[str, tuple[Place, Scope]] = msgspec.field(default_factory=dict)
    fragments: dict[Path, Document | None] = msgspec.field(default_factory=dict)
    used: set[Path] = msgspec.field(default_factory=set)

    def expand(self, tables: list[dict[str, Any]], scope: Scope, chain: tuple[str, ...] = ()) -> None:
        """Take up the stages of one file. ``chain`` holds the fragments that it is used through."""
        for number, table in enumerate(tables, start=1):
            place = Place(scope.file, number, len(tables))
            if "use" in table:
                self._use(table, place, scope, chain)
            else:
                self._stage(table, place, scope)

    def _stage(self, table: dict[str, Any], place: Place, scope: Scope) -> None:
        name = table.get("name")
        label = f'stage {place.number} "{name}": ' if isinstance(name, str) else f"stage {place.number}: "
        at: KeyPath = (STAGES, place.number - 1)

        def say(path: KeyPath, message: str) -> None:
            scope.findings.add(scope.file, (*at, *path), label + message, scope.hint)

        forms = {option: scope.filled(value, (*at, option), label) for option, value in table.items()}
        name = next((form for form in forms.get("name", ()) if isinstance(form, str)), None)
        if name is not None:
            self._take_name(name, place, scope, say)
        stage_class = self._class(table, say)
        if stage_class is None:
            scope.blind = True
            return
        told = scope.findings.told
        arguments = fields_of(table, stage_class, say, word="option", skip={"type"}, forms=forms)
        complete = all(forms.values()) and scope.findings.told == told
        if complete:
            own: Sequence[tuple[str, str]] = stage_class(**arguments).check()
        else:
            written = {option: forms[option][0] if forms[option] else None for option in table}
            own = faults_in_spite(written, stage_class, arguments)
        for option, message in own:
            say(undotted(option), f'option "{option}": {message}' if option else message)
        try:
            stage = stage_class(**arguments)
        except TypeError:  # an option that it needs is wrong
            scope.blind |= stage_class.trees is not Stage.trees
            return
        for location, message in file_faults(stage, self.project):
            named = next((option for option, form in forms.items() if _holds(form, location)), None)
            say((named,) if named else (), message)
        used = self._trees(stage, table, place, scope, say)
        values = {key: scope.parameters[key] for key in used if key in scope.parameters}
        self.stages.append(PlacedStage(stage, place, values))

    def _class(self, table: Mapping[str, Any], say: Say) -> type[Stage] | None:
        name = table.get("type")
        if name is None:
            say((), 'option "type" is missing (or "use", for the stages of a fragment)')
        elif not isinstance(name, str):
            say(("type",), f'option "type" expects a string, got {described(name)}')
        else:
            try:
                return self.types.stage_type(name)
            except KeyError:
                known = self.types.names()
                say(("type",), f'unknown stage type "{name}"{nearest(name, known) or there_are(known)}')
        if "name" not in table:
            say((), 'option "name" is missing')
        elif not isinstance(table["name"], str):
            say(("name",), f'option "name" expects a string, got {described(table["name"])}')
        return None

    def _take_name(self, name: str, place: Place, scope: Scope, say: Say) -> None:
        fault = file_name_fault(name)
        if fault:
            say(("name",), f'the name "{name}" {fault}')
        elif name in self.taken:
            first, used_in = self.taken[name]
            use = f", of the fragment used at {used_in.use}" if used_in.use else ""
            say(("name",), f'the name "{name}" is taken by the stage at {where(first)}{use}')
        else:
            self.taken[name] = (place, scope)

    def _trees(
        self, stage: Stage, table: Mapping[str, Any], place: Place, scope: Scope, say: Say
    ) -> list[str]:
        overlays = self.project / "overlays"
        used: set[str] = set()
        for name in stage.trees():
            fault = tree_fault(name, overlays)
            if fault is None:
                used.update(parameters_of(overlays / name, stage.lays_at(), scope, place))
                continue
            option = next((option for option, value in table.items() if value == name), None)
            say((option,) if option else (), fault)
            scope.blind = True
        return sorted(used)

    def _use(self, table: dict[str, Any], place: Place, scope: Scope, chain: tuple[str, ...]) -> None:
        name = table["use"]
        at: KeyPath = (STAGES, place.number - 1)
        label = f'stage {place.number} (use "{name}"): '

        def say(path: KeyPath, message: str) -> None:
            scope.findings.add(scope.file, (*at, *path), label + message)

        if "type" in table:
            say(("type",), 'either "type" or "use", not both')
        fields_of(table, UseStage, say, word="option", skip={"with", "type"})
        values = table.get("with", {})
        if not isinstance(values, dict):
            say(("with",), f'option "with" expects a table, got {described(values)}')
            values = {}
        given, broken = scope.values_for(values, (*at, "with"), label)
        fragment = self._fragment(name, chain, say) if isinstance(name, str) else None
        if fragment is None:
            scope.blind = True
            return
        tables = self._tables_of(fragment)
        parameters = tables.get("parameters", {})
        for extra in sorted(values.keys() - parameters.keys()):
            near = nearest(extra, parameters) or there_are(parameters)
            say(("with", extra), f'the fragment has no parameter "{extra}"{near}')
        inner = Scope(
            fragment.file, self.findings, outer=scope, used_at=place, broken=broken & parameters.keys()
        )
        for missing in inner.inherit(parameters, given):
            message = f'{label}the parameter "{missing}" of the fragment has to be given'
            scope.findings.add(scope.file, at, message, f"with = {{ {missing} = … }}")
        declare(inner, parameters, given)
        self.expand(tables.get(STAGES, []), inner, (*chain, name))
        inner.tell_unused()
        scope.blind |= inner.blind

    def _tables_of(self, fragment: Document) -> dict[str, Any]:
        def say(path: KeyPath, message: str) -> None:
            self.findings.add(fragment.file, ("fragment", *path), f"[fragment]: {message}")

        self.used.add(fragment.file)
        tables = tables_of(fragment, FragmentFile, self.findings)
        fields_of(tables.get("fragment", {}), FragmentTable, say)
        return tables

    def _fragment(self, name: str, chain: tuple[str, ...], say: Say) -> Document | None:
        folder = self.project / "recipes" / FRAGMENTS
        file = folder / f"{name}.toml"
        fault = file_name_fault(name)
        if fault:
            say(("use",), f'the name "{name}" {fault}')
            return None
        if name in chain:
            circle = " -> ".join((*chain[chain.index(name) :], name))
            say(("use",), f"the fragments go in a circle: {circle}")
            return None
        if file not in self.fragments:
            if not file.exists():
                known = [path.stem for path in folder.glob("*.toml")]
                say(("use",), f'no fragment "{name}"{nearest(name, known) or there_are(known)}')
                return None
            self.fragments[file] = read_document(file, self.findings)
        return self.fragments[file]


def _holds(value: Any, wanted: str) -> bool:
    """Whether ``wanted`` is ``value`` or stands somewhere in its lists."""
    if isinstance(value, list | tuple):
        return any(_holds(each, wanted) for each in value)
    return bool(value == wanted)
