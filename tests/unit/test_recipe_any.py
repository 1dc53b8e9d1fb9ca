"""Whatever stands in a recipe: it is loaded, or refused with places that exist; never a traceback."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recipes.tables import cases

from pipeline import stages
from pipeline.errors import UsageError
from pipeline.recipe.load import load_recipes, recipe_names
from pipeline.recipe.site import load_site
from pipeline.recipe.stage_tables import StageTypes
from recipes import types

FILES = [
    case.files
    for table in ("good", "bad_stages", "bad_parameters", "bad_fragments", "bad_files")
    for case in cases(table)
    if len(case.files) > 1 or table == "good"
]

VALUES = st.sampled_from(
    [
        *(
            '""',
            '"x"',
            '"{{ vfs }}"',
            '"{{ }}"',
            '"{{"',
            '"/etc/x"',
            '"^a"',
            "0",
            "-1",
            "1e999",
            "nan",
            "true",
        ),
        *("[]", "[[]]", '["a"]', "[1]", "{}", '{ a = "b" }', "{ required = true }", "1979-05-27", "07:32:00"),
        *('"\\u0000"', '"é/../"', '"""a\nb"""', "{ a = { b = [{ c = 1 }] } }", '"' + "x" * 300 + '"'),
    ]
)

TYPES = [f'type = "{name}"' for name in stages.names()]

LINES = st.sampled_from(
    ["[[stage]]", "[image]", "[stage.x]", "[parameters]", 'use = "f"', "name = 1", *TYPES]
)


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, str]:
    """The files of some case with a few lines changed."""
    files = dict(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 5))):
        name = draw(st.sampled_from(sorted(files)))
        lines = files[name].splitlines() or [""]
        at = draw(st.integers(0, len(lines) - 1))
        key, equals, _ = lines[at].partition("=")
        how = draw(st.sampled_from(["value", "value", "line", "drop", "twice"]))
        if how == "value" and equals:
            lines[at] = f"{key}= {draw(VALUES)}"
        elif how == "line":
            lines.insert(at, draw(LINES))
        else:
            lines[at : at + 1] = [] if how == "drop" else [lines[at]] * 2
        files[name] = "\n".join(lines)
    return files


@pytest.mark.parametrize("kinds", [types, stages], ids=["types of the tests", "all types"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=mutated())
def test_any_recipe_is_loaded_or_refused_with_places_that_exist(
    kinds: StageTypes, files: dict[str, str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for name, text in files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
        (project / "pipeline.toml").write_text(
            '[site]\nstore = "s"\nimages = "i"\n[bases]\nopenstack-image = "b"\n'
        )
        site = load_site(project / "pipeline.toml")
        try:
            load_recipes(recipe_names(site), site, types=kinds)
        except UsageError as error:
            for problem in error.problems:
                file, _, line = str(problem.where).partition(":")
                assert Path(file).exists()
                assert not line or 0 < int(line) <= max(1, len(Path(file).read_text().split("\n")))
