"""What a right ``[rollout]`` of a cluster file comes to."""

from __future__ import annotations

from pathlib import Path

import pytest
from recipes.tables import Case

from pipeline.cluster.load import load_cluster
from pipeline.cluster.model import Cluster
from pipeline.cluster.rolling import Rollout, Share
from pipeline.cluster.rolling_reading import OSD_HOSTS
from pipeline.cluster.rollout_written import HookTables, NovaTable
from pipeline.recipe.site import load_site
from pipeline.rollout import model

TABLE = """
[cluster]
name = "x"
[parameters]
at_once = 4
eth = "eth6"
[groups]
storage = "node[003-004]"
[[category]]
name = "compute"
image = "i"
nodes = "node[001-004]"
[[category]]
name = "network"
image = "i"
nodes = "node009"
[[category.file]]
path = "/etc/x.ini"
set.a.b = "{{ eth }}"
[[node]]
names = "node009"
parameters = { eth = "eth4" }
"""


def load(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, **files: str) -> Cluster:
    Case("", {"recipes/clusters/x.toml": TABLE + text, **files}, [], []).write(folder)
    monkeypatch.chdir(folder)
    return load_cluster("x", load_site(None))


def test_everything_that_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = load(
        tmp_path,
        monkeypatch,
        """
        [rollout]
        canary = 2
        max_unavailable = "{{ at_once }}"
        failure_budget = "10%"
        on_failure = "stop"
        install = "AUTO"
        skip_down = true
        hooks = ["nova", "ours"]
        tests = ["x/test_all.py"]
        tests_of.network = ["x/test_net.py"]
        ignore = ["/etc/motd"]
        [rollout.domains]
        rack = 1
        switch = "50%"
        [rollout.waits]
        install = "3h"
        begin = "2.5m"
        poll = 1
        [[rollout.label]]
        nodes = "@storage"
        switch = "s1"
        [[rollout.label]]
        nodes = "node001"
        switch = "s2"
        rack = "r9"
        [rollout.nova]
        guests = "wait"
        [[rollout.command]]
        name = "ours"
        before = ["/bin/true"]
        """,
        **{"recipes/clusters/x/test_all.py": "", "recipes/clusters/x/test_net.py": ""},
    )
    rollout, folder = cluster.rollout, tmp_path / "recipes/clusters/x"
    assert rollout == Rollout(
        canary=2,
        max_unavailable=Share(4),
        failure_budget=Share(10, is_percent=True),
        on_failure="stop",
        install="AUTO",
        skip_down=True,
        domains={"rack": Share(1), "switch": Share(50, is_percent=True)},
        labels={
            "node003": {"switch": "s1"},
            "node004": {"switch": "s1"},
            "node001": {"switch": "s2", "rack": "r9"},
        },
        waits={"install": 10800.0, "begin": 150.0, "poll": 1.0},
        tests=(folder / "test_all.py",),
        tests_of={"network": (folder / "test_net.py",)},
        ignore=("/etc/motd",),
        hooks=("nova", "ours"),
        tables=rollout.tables,
    )
    assert rollout.tables.nova == NovaTable(guests="wait")
    assert [command.name for command in rollout.tables.command] == ["ours"]
    assert rollout.tables.groups == cluster.groups == {"storage": "node[003-004]"}
    assert rollout.tests_for("compute") == rollout.tests
    assert rollout.tests_for("network") == (folder / "test_net.py",)
    model.Waits(**rollout.waits)
    assert cluster.parameters_for("node009")["eth"] == "eth4"
    assert cluster.parameters_for("node009")["at_once"] == cluster.parameters_for("node001")["at_once"] == 4
    assert cluster.parameters_for("node001")["eth"] == "eth6"


def test_without_a_table_everything_is_careful_and_tests_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"recipes/clusters/x/{name}": "" for name in ("test_b.py", "test_a.py", "help.py")}
    rollout = load(tmp_path, monkeypatch, USES, **files).rollout
    assert [file.name for file in rollout.tests] == ["test_a.py", "test_b.py"]
    assert (rollout.canary, str(rollout.max_unavailable), str(rollout.failure_budget)) == (1, "1", "0")
    assert (rollout.install, rollout.on_failure, rollout.tables) == ("FULL", "roll back failed", HookTables())


USES = """
[[category]]
name = "{{ at_once }}"
"""
"""Else nothing uses that parameter."""


@pytest.mark.parametrize(
    ("share", "nodes", "number"),
    [
        (Share(10, is_percent=True), 100, 10),
        (Share(10, is_percent=True), 99, 9),
        (Share(10, is_percent=True), 3, 1),
        (Share(100, is_percent=True), 3, 3),
        (Share(5), 3, 5),
    ],
)
def test_percent_are_rounded_down_and_at_least_one(share: Share, nodes: int, number: int) -> None:
    assert share.of(nodes) == number


def test_a_budget_in_percent_may_come_to_nothing() -> None:
    assert Share(10, is_percent=True).of(3, least=0) == 0


def test_the_label_of_hosts_with_osds_is_the_same_for_files_and_rollouts() -> None:
    assert model.OSD_HOSTS == OSD_HOSTS
