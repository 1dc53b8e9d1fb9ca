"""The smallest change, from what is wanted and what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cluster.compare import changes, sources
from pipeline.cluster.leaving import notes
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import HEAD, Assignment, Change, Ref, State, Wanted
from pipeline.cluster.record import Record, load, now_applied, save
from pipeline.errors import PipelineError

IMAGE = Ref("image", "new")
OLD = Ref("image", "old")
CATEGORY = Ref("category", "ib")
SERVICE = Ref("service", "opensm", str(HEAD))
FILE = Ref("file", "/etc/opensm/opensm.conf", str(HEAD))


def only(wanted: Wanted, state: State, **applied: dict[str, object]) -> tuple[Change, ...]:
    return changes([wanted], state, applied, {})  # type: ignore[arg-type]


def test_nothing_to_do() -> None:
    state = State({IMAGE: {"path": "/cm/images/new", "notes": "left alone"}})
    assert only(Wanted(IMAGE, {"path": "/cm/images/new"}), state) == ()


def test_only_what_differs_is_set() -> None:
    state = State({CATEGORY: {"image": "old", "notes": "x"}})
    assert only(Wanted(CATEGORY, {"image": "new", "notes": "x"}), state) == (
        Change(CATEGORY, "set", (Assignment("image", "old", "new"),)),
    )


def test_a_clone_starts_from_what_its_source_has() -> None:
    state = State({OLD: {"path": "/old", "kernel_parameters": ("a", "iommu=pt")}})
    wanted = Wanted(IMAGE, {"path": "/new"}, {"kernel_parameters": ("intel_iommu=on", "iommu=pt")}, "old")
    assert only(wanted, state) == (
        Change(
            IMAGE,
            "clone",
            (
                Assignment("path", None, "/new"),
                Assignment("kernel_parameters", ("a", "iommu=pt"), ("a", "iommu=pt", "intel_iommu=on")),
            ),
            "old",
        ),
    )


def test_what_belongs_to_a_clone_comes_with_it() -> None:
    setting = Ref("setting", "/f[s]k", str(CATEGORY))
    of_source = Ref("setting", "/f[s]k", "category/plain")
    wanted = (Wanted(CATEGORY, {"image": "new"}, source="plain"), Wanted(setting, {"value": "1"}))
    assert [item.ref for item in sources(wanted)] == [Ref("category", "plain"), of_source]
    there = {Ref("category", "plain"): {"image": "new"}, of_source: {"value": "1"}}
    assert changes(wanted, State(there), {}, {}) == (Change(CATEGORY, "clone", (), "plain"),)
    there[of_source] = {"value": "2"}
    assert changes(wanted, State(there), {}, {})[1] == Change(
        setting, "set", (Assignment("value", "2", "1"),)
    )
    del there[of_source]
    assert changes(wanted, State(there), {}, {})[1].action == "add"


def test_drift_is_what_was_applied_and_is_otherwise_now() -> None:
    wanted = Wanted(CATEGORY, {"image": "new"})
    by_hand = State({CATEGORY: {"image": "mine"}})
    assert [change.drift for change in only(wanted, by_hand, **{"category/ib": {"image": "new"}})] == [True]
    assert [change.drift for change in only(wanted, by_hand, **{"category/ib": {"image": "old"}})] == [False]
    assert [change.drift for change in only(wanted, by_hand)] == [False]


def test_services_restart_when_one_of_their_files_changes() -> None:
    wanted = (Wanted(SERVICE, {"running": True}), Wanted(FILE, append={"words": ("allow_both_pkeys TRUE",)}))
    restarts = {SERVICE: (FILE,)}
    running = {"running": True}
    changed = changes(wanted, State({SERVICE: running, FILE: {"content": "a b\n"}}), {}, restarts)
    assert [(change.ref, change.action) for change in changed] == [(FILE, "set"), (SERVICE, "restart")]
    right = {"content": "a b\nallow_both_pkeys TRUE\n"}
    assert changes(wanted, State({SERVICE: running, FILE: right}), {}, restarts) == ()
    stopped = changes(wanted, State({SERVICE: {"running": False}, FILE: {"content": ""}}), {}, restarts)
    assert [change.action for change in stopped] == ["set", "set"], "a start is a restart"
    owed = changes(wanted, State({SERVICE: running, FILE: right}), {}, restarts, [str(SERVICE)])
    assert owed == (Change(SERVICE, "restart"),)


PARAMETERS = {"+kernel_parameters": ("iommu=pt", "quiet")}


def test_what_was_appended_and_is_no_longer_wanted_is_taken_out() -> None:
    state = State({IMAGE: {"kernel_parameters": ("first", "iommu=pt", "quiet", "theirs")}})
    wanted = Wanted(IMAGE, append={"kernel_parameters": ("iommu=off", "quiet")})
    old, new = state.objects[IMAGE]["kernel_parameters"], ("first", "quiet", "theirs", "iommu=off")
    (change,) = only(wanted, state, **{str(IMAGE): PARAMETERS})
    assert change == Change(IMAGE, "set", (Assignment("kernel_parameters", old, new),))
    (change,) = only(Wanted(IMAGE), state, **{str(IMAGE): PARAMETERS})
    assert change == Change(IMAGE, "set", (Assignment("kernel_parameters", old, ("first", "theirs")),))
    assert only(wanted, State({IMAGE: {"kernel_parameters": new}}), **{str(IMAGE): PARAMETERS}) == ()


def test_what_is_to_be_taken_out_is_kept_in_mind_until_it_is() -> None:
    before = {str(IMAGE): PARAMETERS}
    wanted = Wanted(IMAGE, append={"kernel_parameters": ("quiet",)})
    failed = State({IMAGE: {"kernel_parameters": ("iommu=pt", "quiet")}})
    assert now_applied([wanted], failed, before) == before
    assert now_applied([Wanted(IMAGE)], failed, before) == before
    done = State({IMAGE: {"kernel_parameters": ("quiet",)}})
    assert now_applied([wanted], done, before) == {str(IMAGE): {"+kernel_parameters": ("quiet",)}}


def test_what_leaves_the_file_and_stays_as_it_is_is_noted() -> None:
    node = Ref("node", "node002")
    applied = {
        str(node): {"category": "ib"},
        "node/node003": {"category": "ib"},
        "node/node004": {"category": "ib"},
        "node/node005": {"category": "ib"},
        str(SERVICE): {"autostart": True, "monitored": True},
        str(FILE): {"+words": ("a TRUE", "b FALSE"), "mode": "0644"},
        str(IMAGE): PARAMETERS,
        str(CATEGORY): {"image": "new"},
    }
    there = {Ref("node", f"node00{number}"): {"category": "ib"} for number in (2, 3, 5)}
    wanted = (
        Wanted(node, make=False),
        Wanted(Ref("node", "node005"), {"category": "ib"}),
        Wanted(SERVICE, {"monitored": False}),
        Wanted(FILE, append={"words": ("b TRUE",)}),
        Wanted(IMAGE),
    )
    cluster = Cluster("c", "", Path("c.toml"), {}, wanted)
    left = "no longer in the file, and left as it is"
    assert notes(cluster, State({**there, Ref("node", "node004"): {"category": "x"}}), applied) == [
        f"{left}: category/ib",
        "node[002-003]: no longer among the nodes of ib, and left in it; what it was in before is not known",
        f"{SERVICE}: autostart (yes) is {left}",
        f"{FILE}: mode (0644) is {left}",
        f"{FILE}: the line a TRUE is {left}",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"applied": {"garbage/setting/x": {"value": "y"}}},
        {"applied": {"setting/x": {}}},
        {"applied": {"": {}}},
        {"applied": {str(IMAGE): {"+kernel_parameters": "quiet"}}},
        {"restarts": ["opensm"]},
    ],
)
def test_a_record_that_no_apply_has_written_is_told(tmp_path: Path, wrong: dict[str, object]) -> None:
    record = Record(1.0, (str(SERVICE),), {str(IMAGE): PARAMETERS, str(FILE): {"mode": "0644"}})
    save(tmp_path, "c", record)
    assert load(tmp_path, "c") == record
    (tmp_path / "clusters/c.json").write_text(json.dumps(wrong))
    with pytest.raises(PipelineError, match="what was applied last cannot be read") as raised:
        load(tmp_path, "c")
    assert (raised.value.problems[0].command or "").startswith("mv ")
