"""The keys of the JSON documents of versions are those that docs/exit-codes.md names."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec
import pytest

from pipeline.cli.cluster_text import document
from pipeline.cluster.firmware import Chosen, run_firmware
from pipeline.cluster.model import Cluster, Firmware
from pipeline.cluster.objects import Assignment, Change, Ref
from pipeline.cluster.outcome import Result
from pipeline.cluster.plan import Plan
from pipeline.signing.signers import Signed
from tests.integration.small_project import SmallProject, make_small_project

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> SmallProject:
    project = make_small_project(tmp_path_factory.mktemp("keys") / "project")
    project.built()
    return project


SIGNED = Signed.__struct_fields__
"""What is said of each signature."""


def named(verb: str) -> list[str]:
    """What the row of ``verb`` has in code quotes."""
    page = (DOCS / "exit-codes.md").read_text()
    [row] = re.findall(rf"^\| `{verb}` \|(.*)$", page, re.MULTILINE)
    return re.findall(r"`([^`]*)`", row)


@pytest.mark.skipif(os.geteuid() != 0, reason="building takes root")
def test_every_key_of_versions_and_show_is_named(project: SmallProject) -> None:
    listed = project.run("versions", "--json").json()
    assert named("versions") == [*listed, *listed["versions"][0]]
    shown = project.run("show", "web", "--json").json()
    assert named("show")[: len(shown)] == list(shown)
    assert set(named("show")[len(shown) :]) == {"message", "where", "hint", "command", *SIGNED}


def test_every_key_of_a_clusters_plan_and_of_a_run_is_named(tmp_path: Path) -> None:
    change = Change(Ref("node", "n"), "set", (Assignment("category", None, "c"),))
    cluster = Cluster("x", "", tmp_path / "x.toml", {}, ())
    shown = document(cluster, Plan("x", (change,), {}))
    [entry] = shown["changes"]
    [entries] = entry["properties"]
    found = named("cluster plan`, `cluster apply`, `cluster status")
    assert {*shown, *entry, *entries} <= set(found)
    order = Firmware((), "", False, "/cm/shared/ofed")
    record = run_firmware(order, Chosen(()), tmp_path / "runs")
    found = named("cluster run firmware")
    assert {*msgspec.to_builtins(record), *msgspec.to_builtins(Result("busy"))} <= set(found)
