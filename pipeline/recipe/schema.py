"""JSON Schemas of the files that users write, derived from the types that read them; for editors and such."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from pipeline import stages
from pipeline.recipe.names import FILE_NAME, LONGEST, PARAMETER_NAME
from pipeline.recipe.stage_tables import StageTypes
from pipeline.recipe.written import FragmentFile, ImageTable, KernelTable, RecipeFile, SiteFile, UseStage
from pipeline.templates import WHOLE

DIALECT = "https://json-schema.org/draft/2020-12/schema"

REFS = "#/$defs/{name}"

Kind: TypeAlias = Literal["recipe", "fragment", "site"]

Schema: TypeAlias = dict[str, Any]

FILES: Mapping[Kind, tuple[type[msgspec.Struct], str]] = {
    "recipe": (RecipeFile, "recipes/NAME/recipe.toml"),
    "fragment": (FragmentFile, "recipes/fragments/NAME.toml"),
    "site": (SiteFile, "pipeline.toml"),
}

REFERENCE = "reference"
"""The definition of a string that is one ``{{ name }}``, which stands for a value of any type."""

ABOUT = ("title", "description", "default")
"""What is said about a value, whichever form it has."""


def schema(kind: Kind = "recipe", *, types: StageTypes = stages) -> Schema:
    """The JSON Schema (draft 2020-12) of a recipe, a fragment or the site file.

    What no schema can say (that parameters, fragments and trees are there) is left to loading.
    """
    struct, title = FILES[kind]
    (name,), definitions = _components([struct])
    whole = definitions.pop(name)
    if kind != "site":
        names, stage_definitions = _stages(types)
        definitions |= stage_definitions
        whole["properties"]["stage"]["items"] = {
            "anyOf": [{"$ref": REFS.format(name=name)} for name in names]
        }
        whole["properties"]["parameters"]["propertyNames"] = {"pattern": f"^{PARAMETER_NAME.pattern}$"}
    if kind == "recipe":
        image, kernel = (definitions[table.__name__]["properties"] for table in (ImageTable, KernelTable))
        image["name"] |= {"pattern": f"^{FILE_NAME.pattern}$", "maxLength": LONGEST}
        kernel["append_parameters"] = _or_reference(kernel["append_parameters"])
    return {"$schema": DIALECT, **whole, "title": title, "$defs": definitions}


def schema_of(struct: type[msgspec.Struct], title: str) -> Schema:
    """The JSON Schema of a file all of whose values may be parameters."""
    (name,), definitions = _components([struct])
    whole = definitions.pop(name)
    for definition in definitions.values():
        properties = definition["properties"]
        definition["properties"] = {key: _or_reference(form) for key, form in properties.items()}
    definitions[REFERENCE] = _reference()
    whole["properties"]["parameters"]["propertyNames"] = {"pattern": f"^{PARAMETER_NAME.pattern}$"}
    return {"$schema": DIALECT, **whole, "title": title, "$defs": definitions}


def _components(structs: Collection[type[msgspec.Struct]]) -> tuple[list[str], dict[str, Schema]]:
    """What structs are called in the schema, and the schemas of all structs in them, as plain JSON."""
    references, components = msgspec.json.schema_components(structs, ref_template=REFS)
    names = [reference["$ref"].removeprefix(REFS.format(name="")) for reference in references]
    return names, {name: _without_null(value) for name, value in json.loads(json.dumps(components)).items()}


def _stages(types: StageTypes) -> tuple[list[str], dict[str, Schema]]:
    """The names of what ``[[stage]]`` can be, and the definitions: any value may be a parameter."""
    classes: list[type[msgspec.Struct]] = [UseStage, *(types.stage_type(name) for name in types.names())]
    names, definitions = _components(classes)
    for definition in definitions.values():
        for option, form in definition.get("properties", {}).items():
            if option not in ("type", "use"):
                definition["properties"][option] = _or_reference(form)
    for name, known in zip(names, classes, strict=True):
        definition = definitions[name]
        manual = definition["description"] = inspect.getdoc(known) or ""
        for option, text in _options_of(manual, definition["properties"]).items():
            definition["properties"][option].setdefault("description", text)
    definitions[REFERENCE] = _reference()
    return names, definitions


def _reference() -> Schema:
    return {
        "type": "string",
        "pattern": f"^{WHOLE.pattern}$",
        "description": "The value of a parameter, with its type.",
    }


def _options_of(manual: str, names: Collection[str]) -> dict[str, str]:
    """What a stage type's manual says about its options: ``name   text``, continued further to the right."""
    found: dict[str, str] = {}
    option, column = None, 0
    for line in manual.splitlines():
        begin = re.match(r"( *)(\w+) {2,}(\S.*)", line)
        indent = len(line) - len(line.lstrip())
        if begin and begin[2] in names:
            option, column = begin[2], indent + len(begin[2])
            found[option] = begin[3]
        elif option and line.strip() and indent > column:
            found[option] += " " + line.strip()
        else:
            option = None
    return found


def _or_reference(form: Schema) -> Schema:
    """``form``, or a string with a parameter in it wherever ``form`` wants something else."""
    about = {key: form[key] for key in ABOUT if key in form}
    inner = {key: value for key, value in form.items() if key not in ABOUT}
    if inner == {"type": "string"} or not inner:
        return form
    for key in ("items", "additionalProperties"):
        if isinstance(inner.get(key), dict):
            inner[key] = _or_reference(inner[key])
    forms = [_or_reference(part) for part in inner["anyOf"]] if "anyOf" in inner else [inner]
    reference = {"$ref": REFS.format(name=REFERENCE)}
    flat = [part for outer in forms for part in outer.get("anyOf", [outer]) if part != reference]
    # No parameter is a table; and what any string will do for needs nothing more.
    if {"type": "string"} not in flat and not all(_is_table(part) for part in flat):
        flat.append(reference)
    return {**about, "anyOf": flat} if len(flat) > 1 else {**about, **flat[0]}


def _is_table(form: Schema) -> bool:
    return form.get("type") == "object" or "$ref" in form


def _without_null(value: Any) -> Any:
    """``value`` without what TOML cannot say: null."""
    if isinstance(value, list):
        return [_without_null(item) for item in value if item != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_null(item) for key, item in value.items() if key != "default" or item is not None}
    if len(kept.get("anyOf", [])) == 1:
        kept |= kept.pop("anyOf")[0]
    return kept
