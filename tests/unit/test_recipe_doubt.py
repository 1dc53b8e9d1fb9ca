"""What is told about a stage beside an option that is wrong: all that is certain, and nothing else."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline import stages
from pipeline.recipe.doubt import faults_in_spite
from pipeline.recipe.tables import fields_of

RECIPES = Path(__file__).parents[2] / "recipes"

GOOD: list[dict[str, Any]] = [
    stage
    for file in sorted(RECIPES.glob("*/*.toml"))
    for stage in tomllib.loads(file.read_text()).get("stage", [])
    if "type" in stage and "{{" not in str(stage)
] + [
    {"type": "edit", "file": "/etc/x", "replace": "a", "with": "b", "within": "c", "until": "d"},
    {"type": "edit", "file": "/etc/x", "insert": "a", "after": "b"},
    {"type": "edit", "file": "/etc/x", "delete": "a", "all": True},
    {"type": "command", "argv": ["a"], "cwd": "/opt", "exit_codes": [0, 3], "env": {"A": "1"}},
    {"type": "command", "shell": "true", "logs": ["/var/log/x"], "fail_on": ["x"]},
    {"type": "repository", "id": "x", "baseurl": "http://h/", "options": {"priority": "1"}, "gpgkey": ["k"]},
    {"type": "repository", "source": "http://h/x.repo", "sha256": "a" * 64, "gpgcheck": False},
    {"type": "repository", "source": "http://h/", "id": "x"},
    {"type": "file", "path": "/x", "link": "y"},
    {"type": "file", "path": "/x", "create": "y", "owner": "root:root", "mode": "0644"},
    {"type": "file", "path": "/x", "remove": True},
    {"type": "service", "enable": ["a"], "disable": ["b"], "levels": "35"},
    {"type": "settings", "file": "/x", "set": {"a": {"b": "c"}}, "remove": {"a": ["d"]}},
    {"type": "packages", "install": ["a"], "remove": ["b"], "upgrade": ["*"]},
    {"type": "archive", "source": "http://h/x.tgz", "destination": "/opt", "strip": 1, "owner": "0:0"},
    {"type": "kernel", "release": "2.6", "require_modules": ["a"], "append_parameters": ["b"]},
]


def told(stage: dict[str, Any]) -> list[tuple[str, str]]:
    written = {"name": "x", **stage}
    stage_class = stages.stage_type(stage["type"])
    arguments = fields_of(written, stage_class, lambda path, message: None, skip={"type"})
    return faults_in_spite(written, stage_class, arguments)


def with_wrong_element(value: Any) -> Any:
    wrong = datetime.date(2024, 1, 1)
    if isinstance(value, list):
        return [wrong, *value]
    return {**value, "wrong": wrong} if isinstance(value, dict) else wrong


@pytest.mark.parametrize("stage", GOOD, ids=lambda stage: f"{stage['type']}-{'-'.join(stage.keys())}")
def test_a_right_stage_with_one_wrong_option_has_no_other_fault(stage: dict[str, Any]) -> None:
    for option in stage.keys() - {"type"}:
        assert told({**stage, option: datetime.date(2024, 1, 1)}) == []
        without = {key: value for key, value in stage.items() if key != option}
        assert told({**stage, option: with_wrong_element(stage[option])}) == []
        assert told({**without, option + "s": stage[option]}) == []
        assert told({**without, "qqqqqqqqqqqqqq": stage[option]}) == []
        for other in without.keys() - {"type"}:
            assert told({**stage, option: {"a": 1}, other: datetime.date(2024, 1, 1)}) == []


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ({"type": "archive", "source": 1, "destination": "opt"}, ["destination"]),
        ({"type": "archive", "destination": "opt", "strip": -1}, ["destination", "strip"]),
        ({"type": "edit", "file": "etc/x", "delete": 1, "within": "("}, ["file", "within"]),
        ({"type": "edit", "file": 1, "insert": "a", "delete": "b", "after": "c"}, ["insert"]),
        ({"type": "command", "argv": "true", "cwd": "opt", "exit_codes": [300]}, ["cwd", "exit_codes"]),
        ({"type": "packages", "instal": ["a"], "remove": ["b", "b"]}, ["remove"]),
        ({"type": "packages", "install": ["a"], "remove": ["a"], "upgrade": "*"}, ["remove"]),
        ({"type": "service", "enable": ["a"], "disable": ["a"], "levels": 3}, ["disable"]),
        ({"type": "file", "path": 1, "link": "x", "mode": "0644"}, ["mode"]),
        ({"type": "repository", "id": 1, "source": "x.repo", "baseurl": "http://h/"}, ["baseurl"]),
        ({"type": "settings", "file": 1}, ["set"]),
        ({"type": "overlay", "tree": 1, "owner": "a b"}, ["owner"]),
        ({"type": "kernel", "append_parameters": ["a b", 3]}, ["append_parameters"]),
        ({"type": "kernel", "append_parameters": [3, "a", "b c", "d e"]}, ["append_parameters"] * 2),
        ({"type": "command", "shell": "true", "exit_codes": [300, "x"]}, ["exit_codes"]),
        ({"type": "service", "enable": ["a", 1], "disable": ["a", 1]}, ["disable"]),
        ({"type": "packages", "install": ["a", 1], "remove": [2], "upgrade": ["*", ""]}, ["upgrade"]),
        (
            {"type": "repository", "id": "x", "baseurl": "http://h", "options": {"name": "x", "p": 1}},
            ["options"],
        ),
        ({"type": "kernel", "release": 2.6, "append_parameters": ["a b"]}, ["append_parameters"]),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else None,
)
def test_what_is_wrong_whatever_the_wrong_option_was_meant_to_be_is_told(
    stage: dict[str, Any], expected: list[str]
) -> None:
    assert [option for option, _ in told(stage)] == expected


def test_the_examples_are_right() -> None:
    for stage in GOOD:
        assert msgspec.convert({"name": "x", **stage}, stages.stage_type(stage["type"])).check() == ()
