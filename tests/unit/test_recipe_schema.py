"""The JSON Schemas agree with what loading accepts."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from recipes.tables import SITE, cases

from pipeline import stages
from pipeline.recipe.schema import Kind, schema
from recipes import types

GOOD = [
    ("fragment" if "fragments" in name else "recipe", name, text)
    for case in cases("good")
    for name, text in case.files.items()
    if name.endswith(".toml")
]


def valid(kind: Kind, text: str) -> bool:
    return Draft202012Validator(schema(kind, types=types)).is_valid(tomllib.loads(text))


@pytest.mark.parametrize(("kind", "name", "text"), GOOD)
def test_the_schema_accepts_what_loading_accepts(kind: Kind, name: str, text: str) -> None:
    errors = Draft202012Validator(schema(kind, types=types)).iter_errors(tomllib.loads(text))
    assert [(list(error.path), error.message) for error in errors] == []


@pytest.mark.parametrize("kind", ["recipe", "fragment", "site"])
def test_the_schema_of_all_real_stage_types_is_a_schema(kind: Kind) -> None:
    made = schema(kind)
    Draft202012Validator.check_schema(made)
    assert json.loads(json.dumps(made)) == made
    assert "null" not in json.dumps(made)
    if kind != "site":
        known = {
            definition["properties"]["type"]["enum"][0]
            for definition in made["$defs"].values()
            if "type" in definition.get("properties", {})
        }
        assert known == set(stages.names())


HEAD = '[image]\nname = "x"\nbase = "y"\n'


@pytest.mark.parametrize(
    "text",
    [
        '[image]\nname = "x"\n',
        HEAD + "nmae = 1",
        HEAD + "[[stages]]",
        HEAD + "[parameters]\na = { b = 1 }",
        HEAD + '[parameters]\n"a-b" = 1',
        HEAD + '[[stage]]\nname = "x"',
        HEAD + '[[stage]]\nname = "x"\ntype = "package"',
        HEAD + '[[stage]]\nname = "x"\ntype = "packages"\ninstal = ["a"]',
        HEAD + '[[stage]]\nname = "x"\ntype = "packages"\ninstall = "a"',
        HEAD + '[[stage]]\nname = "x"\ntype = "packages"\ngpg = "x{{ a }}"',
        HEAD + '[[stage]]\nuse = "x"\nwiht = { a = 1 }',
        HEAD + '[[stage]]\nname = "x"\ntype = "command"\nargv = []\njobs = 0',
    ],
)
def test_the_schema_refuses_what_loading_refuses(text: str) -> None:
    assert not valid("recipe", text)


def test_the_schema_of_the_site_file_knows_its_tables() -> None:
    assert valid("site", SITE + '[mirrors]\n"http://a/" = "b"\n[downloads]\nattempts = 3\n[lab]\n')
    assert not valid("site", SITE + "[downloads]\nattempts = 0")
    assert valid("site", SITE + '[head]\naddress = "root@head"')
    assert not valid("site", SITE + '[head]\nmanager = "xcat"')
    assert not valid("site", SITE + "[haed]")


def test_options_are_described_by_the_manual_of_their_stage_type() -> None:
    packages: dict[str, Any] = schema("recipe")["$defs"]["Packages"]
    assert packages["description"].startswith("Install")
    assert packages["properties"]["install"]["description"]


def test_an_option_of_another_type_can_be_a_parameter() -> None:
    text = (
        HEAD
        + '[[stage]]\nname = "x"\ntype = "command"\nargv = "{{ a }}"\njobs = "{{ b }}"\nlevel = "{{ c }}"'
    )
    assert valid("recipe", text)
