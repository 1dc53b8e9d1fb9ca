"""What commands print for programs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pipeline.cli import VERBS, main
from pipeline.store.store import Store

PROSE_ONLY = {"shell", "schema"}
"""The output of the one is that of what runs in it; the other's is JSON as it is."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "pipeline.toml"
    file.write_text('[site]\nstore = "store"\nimages = "images"\n[lab]\nhome = "lab"\n')
    return file


@pytest.mark.parametrize("verb", sorted(VERBS.keys() - PROSE_ONLY))
def test_every_command_can_print_one_document(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert re.search(r"--json\b", capsys.readouterr().out)


def test_the_lab_tells_where_its_parts_are_and_which_are_built(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site.parent / "lab/images/openstack-image").mkdir(parents=True)
    assert main(["--site", str(site), "lab", "status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    lab = site.parent / "lab"
    assert told["bases"]["openstack-image"] == {"path": str(lab / "images/openstack-image"), "built": True}
    assert told["bases"]["virtual-node-image"]["built"] is False
    assert told["vendor"] == {"path": str(lab / "mirror"), "built": False}


def test_the_keys_of_lists_are_those_that_the_page_names(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(site.parent / "store")
    (site.parent / "recipes").mkdir()
    page = (Path(__file__).parents[2] / "docs/exit-codes.md").read_text()
    for words in (["doctor"], ["gc", "--dry-run"], ["lab", "status"]):
        main(["--site", str(site), *words, "--json"])
        told = json.loads(capsys.readouterr().out)
        row = re.search(rf"(?m)^\| `{words[0]}\b.*$", page)
        assert row is not None
        assert told.keys() <= set(re.findall(r"`([a-z_]+)`", row[0])), words
