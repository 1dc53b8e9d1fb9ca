"""Every mistake in a cluster file is told at once, with file, line and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipes.tables import Case, cases

from pipeline.cluster.load import cluster_names, load_cluster, only_cluster
from pipeline.errors import UsageError
from pipeline.recipe.site import load_site


@pytest.mark.parametrize("case", cases("bad_clusters"), ids=lambda case: case.about)
def test_a_wrong_cluster_file_is_refused_with_every_mistake(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.write(tmp_path)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError) as caught:
        load_cluster("x", load_site(None))

    problems = caught.value.problems
    assert [f"{problem.where}: {problem.message}" for problem in problems] == case.says
    assert set(case.hints) <= {problem.hint for problem in problems}


def test_an_unknown_cluster_is_told_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Case("", {"recipes/clusters/mellanox.toml": '[cluster]\nname = "mellanox"\n'}, [], []).write(tmp_path)
    monkeypatch.chdir(tmp_path)
    site = load_site(None)
    assert cluster_names(site) == (only_cluster(site),) == ("mellanox",)
    with pytest.raises(UsageError, match=r'no cluster "melanox" \(did you mean "mellanox"\?\)'):
        load_cluster("melanox", site)
    with pytest.raises(UsageError, match="is no safe file name"):
        load_cluster("../../etc/passwd", site)


@pytest.mark.parametrize(("names", "says"), [((), "no file in"), (("a", "b"), "which cluster.*a, b")])
def test_without_a_name_there_has_to_be_one_file(
    names: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"recipes/clusters/{name}.toml": f'[cluster]\nname = "{name}"\n' for name in names}
    Case("", files, [], []).write(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=says):
        only_cluster(load_site(None))
