"""``pipeline lab head`` makes the head node where a site looks for it, and makes it anew when told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.lab.head import state

from .conftest import Head


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "pipeline.toml"
    file.write_text('[site]\nstore = "store"\nimages = "images"\n[lab]\nhome = "lab"\n')
    return file


def test_it_is_made_kept_and_made_anew(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--site", str(site), "lab", "head", "--json"]) == 0
    directory = site.parent / "lab/head"
    assert json.loads(capsys.readouterr().out)["head"] == {"path": str(directory), "built": True}
    fresh = state.snapshot(str(directory))
    Head(directory).type("category use default; set datanode yes; commit")
    assert main(["--site", str(site), "lab", "head"]) == 0
    assert state.snapshot(str(directory)) != fresh
    assert main(["--site", str(site), "lab", "head", "--reset"]) == 0
    assert state.snapshot(str(directory)) == fresh


def test_reset_goes_with_head_only(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--site", str(site), "lab", "status", "--reset"]) == 2
    assert "--reset" in capsys.readouterr().err
