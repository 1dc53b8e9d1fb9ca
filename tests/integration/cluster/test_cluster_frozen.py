"""An older CMDaemon, restarted for the files that it is to leave alone: also when that failed at first."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.lab.head import start, state
from pipeline.lab.head.switches import Switches
from tests.integration.cluster_site import NAME, Cluster

ML2 = "etc/neutron/plugins/ml2/ml2_conf.ini"
OWED = "head/master/service/CMDaemon"
FAILS = "#!/bin/sh\necho 'Job for cmd.service failed' >&2\nexit 1\n"
KILLS = "#!/bin/sh\nkill -9 $PPID\n"
WAYS = pytest.mark.parametrize("program", [FAILS, KILLS], ids=["failed", "killed"])


@pytest.fixture
def old(site: Cluster) -> Cluster:
    start.make(site.head, switches=Switches(release="old"))
    return site


def _without_ml2(site: Cluster) -> None:
    recipe = site.path / "recipes/clusters" / f"{NAME}.toml"
    tables = recipe.read_text().split("\n\n")
    kept = [table for table in tables if not ("[[head.file]]" in table and "ml2_conf.ini" in table)]
    assert len(kept) == len(tables) - 1
    recipe.write_text("\n\n".join(kept))


def _interrupted(site: Cluster, program: str) -> None:
    """An apply whose restart of CMDaemon runs ``program``."""
    service = site.head / "bin/service"
    real = service.read_text()
    service.write_text(program)
    ended = site.cluster("apply")
    service.write_text(real)
    assert ended.exit_code in (1, -9), ended
    if program == FAILS:
        assert "CMDaemon could not be restarted: Job for cmd.service failed" in ended.err
        assert f"{OWED} (not part of the plan): not restarted" in ended.err
        assert "all the same" not in ended.err


def _restarts(site: Cluster) -> int:
    entries = state.records(str(site.head))
    return sum((one.get("service"), one.get("action")) == ("cmd", "restart") for one in entries)


def _made_up(site: Cluster) -> None:
    assert f"! {OWED} (restart)" in site.cluster("plan").out
    done = site.cluster("apply")
    assert done.exit_code == 0, done.err
    assert _restarts(site) > 0
    assert site.left() == []


@WAYS
def test_a_restart_for_a_thawed_file_is_made_up(old: Cluster, program: str) -> None:
    file = old.head / "root" / ML2
    before = file.read_text()
    assert old.cluster("apply").exit_code == 0
    assert file.read_text() != before
    _without_ml2(old)
    done = _restarts(old)
    _interrupted(old, program)
    assert file.read_text() != before
    assert _restarts(old) == done
    _made_up(old)
    assert file.read_text() == before


@WAYS
def test_a_restart_for_a_frozen_file_is_made_up(old: Cluster, program: str) -> None:
    _interrupted(old, program)
    assert _restarts(old) == 0
    _made_up(old)
    once: Path = old.head / "root" / ML2
    assert "mlnx" in once.read_text()
    assert _restarts(old) == 1, "what it was restarted for had been written before"
