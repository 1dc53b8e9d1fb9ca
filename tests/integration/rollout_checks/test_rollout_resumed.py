"""Nobody goes on with a rollout whose nodes would fail for what hooks or tests lack since it was begun."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from test_rollout_back_findings import NAMES, Rolled

from pipeline.cli import main
from pipeline.lab.services import state, switches
from pipeline.lab.services.switches import Services
from pipeline.rollout import folder as folders
from pipeline.rollout import running
from pipeline.rollout.states import Event
from tests.integration.cluster_site import NAME, Cluster

OSDS = {"node002": (0, 1), "node003": (2, 3)}


class WentOn(BaseException):
    """Nodes are touched now."""


@pytest.fixture
def rolled(site: Cluster, monkeypatch: pytest.MonkeyPatch) -> Rolled:
    def run(*whatever: object, **more: object) -> None:
        raise WentOn

    monkeypatch.setattr(running, "run", run)
    for name in ("OS_AUTH_URL", "OS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    rolled = Rolled(site, monkeypatch)
    rolled.hooks = ("nova",)
    return rolled


def begun(rolled: Rolled, *events: Event) -> list[str]:
    """A rollout with these events; the command that goes on with it."""
    order = rolled.rollout(*NAMES).order
    nodes = tuple(msgspec.structs.replace(node, osds=OSDS.get(node.name, ())) for node in order.nodes)
    folder = folders.begin(rolled.site.store, msgspec.structs.replace(order, nodes=nodes))
    with folders.held(folder) as journal:
        journal.write([Event(2.0, word="begun"), *events])
    return ["rollout", "resume", NAME, "--number", str(folders.number_of(folder))]


ON_ITS_WAY = (Event(2.0, node="node002", state="preparing"), Event(2.0, node="node002", state="installing"))


@pytest.mark.parametrize("events", [(), ON_ITS_WAY], ids=["none is away", "one is installed"])
def test_without_credentials_it_does_not_go_on(
    rolled: Rolled,
    events: tuple[Event, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resume = begun(rolled, *events)
    switches.write(str(rolled.project.head / state.FOLDER), Services(credentials=True))
    assert main(resume) == 2
    said = capsys.readouterr().err
    assert "Nova can't be asked" in said and "Missing value auth-url" in said
    assert "does not go on: nodes would fail for that" in said
    monkeypatch.setenv("OS_AUTH_URL", "http://masterdoop:5000")
    monkeypatch.setenv("OS_PASSWORD", "secret")
    with pytest.raises(WentOn):
        main(resume)


def test_tests_that_can_not_be_read_by_now_let_no_node_fail(
    rolled: Rolled, capsys: pytest.CaptureFixture[str]
) -> None:
    file: Path = rolled.project.path / "recipes/clusters" / NAME / "test_compute_nodes.py"
    text = file.read_text()
    resume = begun(rolled, *ON_ITS_WAY)
    file.write_text(f"{text}\ndef test_more(:\n")
    assert main(resume) == 2
    assert "invalid syntax" in capsys.readouterr().err
    file.write_text(text)
    with pytest.raises(WentOn):
        main(resume)


def test_what_a_node_on_its_way_brings_about_keeps_nobody(rolled: Rolled) -> None:
    """Ceph is not well while a host with OSDs is away: that is waited for."""
    rolled.hooks = ("ceph",)
    resume = begun(rolled, *ON_ITS_WAY)
    switches.write(str(rolled.project.head / state.FOLDER), Services(unclean=3))
    with pytest.raises(WentOn):
        main(resume)
