"""``pipeline lab fault``, ``up`` and ``down`` as they are typed, and what is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.lab.head import start
from pipeline.lab.head.switches import read_faults
from pipeline.lab.nodes import faults, installer


@pytest.fixture
def site(tmp_path: Path) -> Path:
    start.make(tmp_path / "lab/head")
    file = tmp_path / "pipeline.toml"
    file.write_text('[site]\nstore = "store"\nimages = "images"\n[lab]\nhome = "lab"\n')
    return file


def lab(site: Path, *words: str) -> int:
    return main(["--site", str(site), "lab", *words])


def test_a_nodes_fault_is_kept_until_it_is_healed(site: Path) -> None:
    assert lab(site, "fault", "node002", "never-returns") == 0
    assert lab(site, "fault", "node001", "no-sriov") == 0
    assert faults.read(site.parent / "lab/nodes") == {"node001": "no-sriov", "node002": "never-returns"}
    assert lab(site, "fault", "node002", "none") == 0
    assert faults.read(site.parent / "lab/nodes") == {"node001": "no-sriov"}


def test_a_dead_head_node_answers_nobody(site: Path) -> None:
    head = site.parent / "lab/head"
    assert lab(site, "fault", "head", "dead") == 0
    assert read_faults(str(head)).unreachable
    assert subprocess.run(
        [head / "bin/cmsh", "-c", "device; list"], capture_output=True, check=False
    ).returncode
    assert lab(site, "fault", "head", "none") == 0
    assert not read_faults(str(head)).unreachable


def test_ceph_is_unhealthy_until_it_is_healed(site: Path) -> None:
    ceph = [str(site.parent / "lab/head/bin/ceph"), "health", "-f", "json"]

    def status() -> str:
        return str(json.loads(subprocess.run(ceph, capture_output=True, check=True).stdout)["status"])

    assert status() == "HEALTH_OK"
    assert lab(site, "fault", "ceph", "unhealthy") == 0
    assert status() == "HEALTH_WARN"
    assert lab(site, "fault", "ceph", "none") == 0
    assert status() == "HEALTH_OK"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fault", "node009", "never-returns"), "there is no node 'node009'"),
        (("fault", "node002", "never-return"), "did you mean never-returns?"),
        (("fault", "head", "no-sriov"), "there is no fault 'no-sriov'"),
        (("fault", "node002"), "takes two words, got 1"),
        (("status", "node002"), "takes no more words"),
        (("down", "--nodes", "2"), "--nodes and --virtual go with up only"),
    ],
)
def test_what_is_unknown_is_refused_with_what_is_known(
    words: tuple[str, ...], said: str, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lab(site, *words) == 2
    assert said in capsys.readouterr().err


def test_down_without_nodes_says_so(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lab(site, "down") == 0
    assert "no nodes are up" in capsys.readouterr().err


def test_lines_of_an_exclude_list_become_rsyncs_filters() -> None:
    text = "# a comment\n- /srv/*\n+ /srv/kept\n\n/data\nno-new-files: - /var/spool/mail/*\n"
    said = installer.arguments(Path("/image"), Path("/disk"), "AUTO", text)
    assert [word for word in said if "srv" in word or "data" in word or "mail" in word] == [
        "--filter=- /srv/*",
        "--filter=+ /srv/kept",
        "--exclude=/data",
        "--filter=P /var/spool/mail/*",
    ]
    assert "--delete" in said
    assert "--delete" not in installer.arguments(Path("/image"), Path("/disk"), "FULL", "")
