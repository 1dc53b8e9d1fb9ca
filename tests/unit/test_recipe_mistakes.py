"""Every mistake in a recipe is told at once, with file, line and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipes.tables import Case, cases

from pipeline.errors import UsageError
from pipeline.recipe.load import load_recipes, recipe_names
from pipeline.recipe.site import load_site
from recipes import types

BAD = [*cases("bad_stages"), *cases("bad_parameters"), *cases("bad_fragments"), *cases("bad_files")]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.about)
def test_a_wrong_recipe_is_refused_with_every_mistake(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    site = load_site(None)

    with pytest.raises(UsageError) as caught:
        load_recipes(recipe_names(site), site, types=types)

    problems = caught.value.problems
    assert [f"{problem.where}: {problem.message}" for problem in problems] == case.says
    assert set(case.hints) <= {problem.hint for problem in problems}
