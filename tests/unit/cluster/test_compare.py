"""The smallest change, from what is wanted and what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cluster.added import Added, still_added, with_changes
from pipeline.cluster.compare import changes, sources
from pipeline.cluster.leaving import notes
from pipeline.cluster.model import Cluster
from pipeline.cluster.objects import HEAD, Assignment, Change, Properties, Ref, State, Wanted
from pipeline.cluster.record import Record, load, now_applied, save
from pipeline.errors import PipelineError

IMAGE = Ref("image", "new")
OLD = Ref("image", "old")
CATEGORY = Ref("category", "ib")
SERVICE = Ref("service", "opensm", str(HEAD))
THEIRS, OURS, CHANGED = (
    Ref("setting", f"/f[s]{key}", str(CATEGORY)) for key in ("theirs", "ours", "changed")
)
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
    added = Added({str(IMAGE): PARAMETERS})
    (change,) = changes([wanted], state, {}, {}, (), added)
    assert change == Change(IMAGE, "set", (Assignment("kernel_parameters", old, new),))
    (change,) = changes([Wanted(IMAGE)], state, {}, {}, (), added)
    assert change == Change(IMAGE, "set", (Assignment("kernel_parameters", old, ("first", "theirs")),))
    assert changes([wanted], State({IMAGE: {"kernel_parameters": new}}), {}, {}, (), added) == ()
    assert only(Wanted(IMAGE), state, **{str(IMAGE): PARAMETERS}) == (), "what others had set stays"
    (change,) = changes([], state, {str(IMAGE): PARAMETERS}, {}, (), added)
    assert change == Change(IMAGE, "set", (Assignment("kernel_parameters", old, ("first", "theirs")),))


def test_what_is_to_be_taken_out_is_kept_in_mind_until_it_is() -> None:
    before = {str(IMAGE): PARAMETERS}
    added = Added(before)
    wanted = Wanted(IMAGE, append={"kernel_parameters": ("quiet",)})
    failed = State({IMAGE: {"kernel_parameters": ("iommu=pt", "quiet")}})
    for items in ([wanted], [Wanted(IMAGE)]):
        assert still_added(added, items, failed, before) == added
    done = State({IMAGE: {"kernel_parameters": ("quiet",)}})
    left = {str(IMAGE): {"+kernel_parameters": ("quiet",)}}
    assert still_added(added, [wanted], done, before) == Added(left)
    assert now_applied([wanted], done, before, Added(left)) == left


def test_a_record_of_before_it_told_what_was_added_takes_nothing_back(tmp_path: Path) -> None:
    save(tmp_path, "c", Record())
    old = {"when": 1.0, "restarts": [], "applied": {str(OURS): {"value": "2"}, str(IMAGE): PARAMETERS}}
    (tmp_path / "clusters/c.json").write_text(json.dumps(old))
    last = load(tmp_path, "c")
    state = State({OURS: {"value": "2"}, IMAGE: {"kernel_parameters": ("iommu=pt",)}})
    assert changes([Wanted(IMAGE)], state, last.applied, {}, (), last.added) == ()


def test_a_setting_that_was_otherwise_gets_its_value_back() -> None:
    """Also when the apply died after it was written, and whatever an earlier one had set."""
    wanted, theirs = Wanted(OURS, {"value": "1"}), State({OURS: {"value": "theirs"}})
    added = with_changes(Added(), [wanted], theirs, changes([wanted], theirs, {}, {}))
    back = (Change(OURS, "set", (Assignment("value", "1", "theirs"),)),)
    assert changes([], State({OURS: {"value": "1"}}), {}, {}, (), added) == back
    assert changes([], theirs, {}, {}, (), added) == (), "it died before it was written"
    assert changes([], State({OURS: {"value": "2"}}), {}, {}, (), added) == (), "somebody else's"
    applied = {str(OURS): {"value": "1"}}
    here = State({OURS: {"value": "1"}})
    assert still_added(added, [wanted], here, {}) == added
    again = Wanted(OURS, {"value": "2"})
    second = with_changes(added, [again], here, changes([again], here, applied, {}))
    assert changes([], here, applied, {}, (), second) == back, "the second died before it was written"
    (done,) = changes([], State({OURS: {"value": "2"}}), applied, {}, (), second)
    assert done.assignments == (Assignment("value", "2", "theirs"),)
    assert still_added(second, [], theirs, applied) == Added()


def test_what_an_apply_that_died_did_not_write_is_not_taken_back() -> None:
    wanted, nothing = Wanted(OURS, {"value": "1"}), State({})
    added = with_changes(Added(), [wanted], nothing, changes([wanted], nothing, {}, {}))
    assert changes([], State({OURS: {"value": "1"}}), {}, {}, (), added) == (Change(OURS, "remove"),)
    theirs = State({OURS: {"value": "theirs"}})
    settled = still_added(added, [wanted], theirs, {})
    assert settled == Added()
    assert with_changes(settled, [wanted], theirs, changes([wanted], theirs, {}, {})).before == {
        str(OURS): {"value": "theirs"}
    }


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
        "category/gone": {"image": "new"},
        "os-network/gone": {"segment": 1},
        "os-network/unasked": {"segment": 2},
        **{str(ref): {"value": value} for ref, value in ((THEIRS, "1"), (OURS, "2"), (CHANGED, "3"))},
    }
    there: dict[Ref, Properties] = {
        Ref("node", f"node00{number}"): {"category": "ib"} for number in (2, 3, 5)
    }
    wanted = (
        Wanted(node, make=False),
        Wanted(Ref("node", "node005"), {"category": "ib"}),
        Wanted(SERVICE, {"monitored": False}),
        Wanted(FILE, append={"words": ("b TRUE",)}),
        Wanted(IMAGE),
    )
    cluster = Cluster("c", "", Path("c.toml"), {}, wanted, unasked=(Ref("os-network", "unasked"),))
    left = "no longer in the file, and left as it is"
    there |= {Ref("node", "node004"): {"category": "x"}, IMAGE: {"kernel_parameters": ("quiet", "iommu=pt")}}
    there |= {CATEGORY: {}, THEIRS: {"value": "1"}, OURS: {"value": "2"}, CHANGED: {"value": "4"}}
    added = Added({str(IMAGE): {"+kernel_parameters": ("quiet",)}, str(OURS): {"value": "2"}})
    assert notes(cluster, State(there), applied, added) == [
        f"{left}: category/ib, os-network/gone",
        f"{left}: {THEIRS}, {CHANGED}",
        "node[002-003]: no longer among the nodes of ib, and left in it; what it was in before is not known",
        f"{SERVICE}: autostart (yes) is {left}",
        f"{FILE}: mode (0644) is {left}",
        f"{FILE}: the line a TRUE is {left}",
        f"{IMAGE}: kernel_parameters (iommu=pt) is {left}",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"applied": {"garbage/setting/x": {"value": "y"}}},
        {"applied": {"setting/x": {}}},
        {"applied": {"": {}}},
        {"applied": {str(IMAGE): {"+kernel_parameters": "quiet"}}},
        {"restarts": ["opensm"]},
        {"added": {"put": {"setting/x": {}}}},
        {"added": {"put": {str(IMAGE): {"+kernel_parameters": "quiet"}}}},
        {"added": {"lists": ["node003"]}},
    ],
)
def test_a_record_that_no_apply_has_written_is_told(tmp_path: Path, wrong: dict[str, object]) -> None:
    added = Added({str(OURS): {"value": "2"}}, {str(OURS): {"value": "1"}}, ("node/node003",))
    applied = {str(IMAGE): PARAMETERS, str(FILE): {"mode": "0644"}}
    record = Record(1.0, (str(SERVICE),), ("node/node003",), applied, added)
    save(tmp_path, "c", record)
    assert load(tmp_path, "c") == record
    (tmp_path / "clusters/c.json").write_text(json.dumps(wrong))
    _refused_with_what_is_lost(tmp_path)


def test_a_record_that_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "clusters/c.json").mkdir(parents=True)
    assert "Is a directory" in _refused_with_what_is_lost(tmp_path)


def _refused_with_what_is_lost(store: Path) -> str:
    with pytest.raises(PipelineError, match="what was applied last cannot be read") as raised:
        load(store, "c")
    (problem,) = raised.value.problems
    assert (problem.command or "").startswith("mv ")
    for lost in ("what applies have added stays", "restarts and builds that are owed", "by hand"):
        assert lost in (problem.hint or "")
    return problem.message


A, B = Ref("category", "a"), Ref("category", "b")


def test_a_clone_of_what_is_changed_as_well_has_what_that_gets() -> None:
    last = Ref("image", "last")
    wanted = (
        Wanted(OLD, append={"kernel_parameters": ("x=1",)}),
        Wanted(IMAGE, append={"kernel_parameters": ("a=1",)}, source="old"),
        Wanted(last, append={"kernel_parameters": ("b=1",)}, source="new"),
    )
    found = changes(wanted, State({OLD: {"path": "/old", "kernel_parameters": ("q",)}}), {}, {})
    assert [(change.source, change.assignments[0].new) for change in found] == [
        ("", ("q", "x=1")),
        ("old", ("q", "x=1", "a=1")),
        ("new", ("q", "x=1", "a=1", "b=1")),
    ]


def test_clones_of_clones_are_made_of_what_is_there_with_what_the_file_gives_the_others() -> None:
    def of(owner: Ref, key: str, value: str) -> Wanted:
        return Wanted(Ref("setting", f"/f[s]{key}", str(owner)), {"value": value})

    wanted = (
        Wanted(A, {"image": "new"}, source="ib"),
        Wanted(B, source="a"),
        *(of(A, "both", "a"), of(A, "mine", "a"), of(B, "both", "b")),
        Wanted(Ref("service", "s", str(A)), {"autostart": True, "monitored": False}),
        Wanted(Ref("service", "s", str(B)), {"monitored": True}),
    )
    asked = {str(item.ref) for item in sources(wanted)}
    assert {"category/ib", "category/ib/setting//f[s]mine", "category/ib/setting//f[s]both"} <= asked
    there = State({CATEGORY: {"image": "old"}, of(CATEGORY, "both", "").ref: {"value": "b"}})
    assert [
        (str(change.ref), change.action, change.source, [(one.name, one.new) for one in change.assignments])
        for change in changes(wanted, there, {}, {})
    ] == [
        ("category/a", "clone", "ib", [("image", "new")]),
        ("category/b", "clone", "ib", [("image", "new")]),
        ("category/a/setting//f[s]both", "set", "", [("value", "a")]),
        ("category/a/setting//f[s]mine", "add", "", [("value", "a")]),
        ("category/a/service/s", "add", "", [("autostart", True), ("monitored", False)]),
        ("category/b/service/s", "add", "", [("autostart", True), ("monitored", True)]),
        ("category/b/setting//f[s]mine", "add", "", [("value", "a")]),
    ]
