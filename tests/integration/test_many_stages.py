"""Images of many stages: as many layers as overlayfs can stack, and one more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.chroot.enter import enter
from pipeline.chroot.root import MOST_LAYERS, RootSpec
from tests.integration.small_project import make_small_project

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a chroot needs root")


def test_a_root_of_as_many_layers_as_there_may_be_is_entered(tmp_path: Path) -> None:
    layers = [tmp_path / f"{number}" for number in range(MOST_LAYERS)]
    for layer in layers:
        (layer / "etc").mkdir(parents=True)
    (layers[0] / "etc/lowest").touch()
    (layers[-1] / "etc/uppermost").touch()
    with enter(RootSpec(tuple(layers))) as root:
        assert root.call(os.listdir, "/etc") == ["lowest", "uppermost"]


def test_more_stages_than_can_be_stacked_are_refused_before_anything_runs(tmp_path: Path) -> None:
    project = make_small_project(tmp_path / "project")
    stage = '[[stage]]\nname = "s{0}"\ntype = "file"\npath = "/etc/{0}"\ntouch = true\n'
    project.recipe("".join(map(stage.format, range(MOST_LAYERS))))
    result = project.run("build", "web")
    assert result.exit_code == 2
    last = 6 + 5 * (MOST_LAYERS - 1)
    assert f"recipes/web/recipe.toml:{last}: the image would have {MOST_LAYERS + 1} layers" in result.err
    assert len(project.store.layers()) == 1
