"""Nodes are taken only to versions that are signed as the site asks; back they come whatever is signed."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from test_rollout_back_findings import NAMES, Rolled
from test_rollout_back_findings import told as told_back
from test_rollout_findings import IMAGE, Rollouts, errors

from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.recipe.model import Signing
from pipeline.rollout import folder as folders
from pipeline.rollout.checks_signed import withheld
from pipeline.rollout.folder import Kept
from pipeline.rollout.model import Policy
from pipeline.rollout.states import Event
from pipeline.signing.making import sign
from pipeline.store.store import Store
from tests.integration.cluster_site import NAME, Cluster
from tests.signing_keys import new_key, public


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return new_key(tmp_path / "alice")


def asking(tmp_path: Path, key: Path, required: int = 1) -> Signing:
    """What a site asks for: of alice, and of as many as are required."""
    signers = tmp_path / "signers"
    signers.write_text(f"alice@site {public(key)}\n")
    return Signing(signers, required)


def test_versions_that_are_not_signed_are_told_with_all_else(
    site: Cluster, monkeypatch: pytest.MonkeyPatch, key: Path, tmp_path: Path
) -> None:
    rollouts = Rollouts(site, monkeypatch)
    rollouts.site = msgspec.structs.replace(rollouts.site, signing=asking(tmp_path, key))
    rollouts.site.signing.signers.write_text(f"junk\nalice@site {public(key)}\n")  # type: ignore[union-attr]
    found = rollouts.find(f"{IMAGE}@2", unverified=True)
    (it,) = [each for each in found if "not signed" in each.what]
    assert (it.severity, it.what) == ("error", f"{IMAGE}@2: it is not signed")
    assert it.where.endswith("/versions/2.signed") and it.command == f"pipeline verify {IMAGE}@2"
    assert any(each.what.startswith("it is not verified") for each in found)
    assert [each.severity for each in found if each.what.startswith("this line names no signer")] == [
        "warning"
    ]

    (it,) = [each for each in rollouts.find(f"{IMAGE}@1") if "not signed" in each.what]
    assert it.command == f"pipeline sign {IMAGE}@1 --key ~/.ssh/id_ed25519"
    made = rollouts.store.versions.resolve(f"{IMAGE}@1")
    sign(rollouts.store, made, key)
    assert errors(rollouts.find(f"{IMAGE}@1")) == []
    rollouts.site = msgspec.structs.replace(rollouts.site, signing=asking(tmp_path, key, required=2))
    assert errors(rollouts.find(f"{IMAGE}@1")) == [
        f"{IMAGE}@1: it is signed by alice@site only: 2 different signers are asked for"
    ]


def test_a_way_back_is_not_stopped_by_a_missing_signature_and_one_out_is_not_gone_on_with(
    site: Cluster, monkeypatch: pytest.MonkeyPatch, key: Path, tmp_path: Path
) -> None:
    text = f'\n[signing]\nsigners = "{asking(tmp_path, key).signers}"\n'
    site.write("pipeline.toml", (site.path / "pipeline.toml").read_text() + text)
    rolled = Rolled(site, monkeypatch)
    kept = rolled.rollout(*NAMES)
    planned = rolled.plan(kept)
    assert planned.errors == ()
    assert any(
        how == "warning" and what.endswith("@1: it is not signed")
        for how, what in told_back(planned.findings)
    )

    store = Store.open(rolled.site.store)
    kept = with_nodes(kept, state="waiting")
    with pytest.raises(PipelineError, match="@2: it is not signed") as caught:
        withheld(rolled.site, store, kept)
    last = caught.value.problems[-1]
    assert last.message.startswith("rollout 1 of") and "rollback" in str(last.command)
    assert withheld(rolled.site, store, with_nodes(kept, state="installing")) == ()
    failed = with_nodes(kept, state="failed")
    assert withheld(rolled.site, store, failed) == ()
    with pytest.raises(PipelineError) as caught:
        withheld(rolled.site, store, failed, retry=True)
    last = caught.value.problems[-1]
    assert "without --retry" in str(last.hint) and "resume" in str(last.command)
    back = msgspec.structs.replace(kept, progress=msgspec.structs.replace(kept.progress, is_going_back=True))
    assert withheld(rolled.site, store, back) == ()
    assert withheld(rolled.site, store, with_nodes(kept, way="back")) == ()
    assert withheld(rolled.site, store, msgspec.structs.replace(kept, order=planned.order)) == ()
    sign(store, store.versions.resolve(f"{IMAGE}@2"), key)
    assert withheld(rolled.site, store, kept) == ()


@pytest.fixture
def signing(site: Cluster, monkeypatch: pytest.MonkeyPatch, key: Path, tmp_path: Path) -> Rolled:
    """Of a site that asks for signatures, by its site file."""
    text = f'\n[signing]\nsigners = "{asking(tmp_path, key).signers}"\n'
    site.write("pipeline.toml", (site.path / "pipeline.toml").read_text() + text)
    return Rolled(site, monkeypatch)


def test_resume_and_a_dry_run_say_what_is_not_signed_and_begin_nothing(
    signing: Rolled, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rollout", "start", NAME, "--image", f"{IMAGE}@2", "--dry-run", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)["findings"]
    (it,) = [each for each in told if "not signed" in each["what"]]
    assert it["severity"] == "error" and it["command"].startswith(f"pipeline sign {IMAGE}@2 --key ")
    folder = folders.begin(signing.site.store, signing.rollout(*NAMES).order)
    number = folders.number_of(folder)
    assert main(["rollout", "resume", NAME, "--number", str(number)]) == 1
    said = capsys.readouterr().err
    assert f"{IMAGE}@2: it is not signed" in said and f"rollout {number} of {NAME} does not go on" in said
    assert folders.read(folder.parent, number).progress.began == 0


def test_resume_brings_to_their_end_those_that_were_begun_and_begins_no_others(
    signing: Rolled, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = Policy(canary=0, failure_budget=1)
    order = signing.rollout(*NAMES).order
    targets = {name: msgspec.structs.replace(it, source=IMAGE) for name, it in order.targets.items()}
    order = msgspec.structs.replace(order, policy=policy, targets=targets)
    folder = folders.begin(signing.site.store, order)
    number = folders.number_of(folder)
    with folders.held(folder) as journal:
        states = ("preparing", "prepared", "switched", "rebooting", "failed")
        journal.write([Event(2.0, word="begun"), *(Event(2.0, node=NAMES[0], state=each) for each in states)])
    assert main(["rollout", "resume", NAME, "--number", str(number)]) == 1
    said = capsys.readouterr()
    assert f"rollout {number} of {NAME} does not go on" in said.err
    assert f"{IMAGE}@2: it is not signed" in said.err
    told = folders.read(folder.parent, number).progress
    assert (told.outcome, told.why) == (
        "stopped",
        f"its version is not signed by now: {IMAGE}@2: it is not signed",
    )
    assert told.why in said.out
    assert told.named("waiting") == NAMES[1:]


def with_nodes(kept: Kept, **how: str) -> Kept:
    """The same rollout, with all of its nodes so."""
    nodes = {name: msgspec.structs.replace(node, **how) for name, node in kept.progress.nodes.items()}
    going = how.get("way") == "back"
    progress = msgspec.structs.replace(kept.progress, nodes=nodes, is_going_back=going)
    return msgspec.structs.replace(kept, progress=progress)
