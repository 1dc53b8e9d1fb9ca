"""Changes as commands, and what the output says of each."""

from __future__ import annotations

import pytest

from pipeline.cluster.drivers.bright.script import groups, text, told
from pipeline.cluster.drivers.bright.state import Owner
from pipeline.cluster.drivers.bright.steps import steps
from pipeline.cluster.drivers.bright.words import Names
from pipeline.cluster.objects import HEAD, Assignment, Change, Ref, Value
from pipeline.errors import PipelineError

ML2 = "/etc/neutron/plugins/ml2/ml2_conf.ini"


def change(ref: Ref, action: str = "set", source: str = "", **new: Value) -> Change:
    assignments = tuple(Assignment(name, None, value) for name, value in new.items())
    return Change(ref, action, assignments, source)  # type: ignore[arg-type]


def typed(*changes: Change, entries: dict[Owner, list[str]] | None = None) -> list[str]:
    return text(groups(steps(changes, entries or {}, Names()))).splitlines()


def test_a_cloned_image_waits_for_its_tree_and_only_then_has_a_path_of_its_own() -> None:
    ref = Ref("image", "b")
    assert typed(change(ref, "clone", "a", path="/srv/published/b-1", kernel_parameters=("x=1", "y"))) == [
        "home",
        "softwareimage",
        "clone a b",
        "get name",
        'set kernelparameters "x=1 y"',
        "commit -w",
        "set path /srv/published/b-1",
        "commit",
        "createramdisk",
        "get name",
    ]


def test_nodes_with_the_same_change_are_one_foreach() -> None:
    moved = [change(Ref("node", f"node{number:03d}"), category="c") for number in (3, 2, 5)]
    other = change(Ref("node", "node004"), category="d")
    assert typed(*moved, other) == [
        "home",
        "device",
        "foreach -n node002..node003,node005 (get hostname; set category c; commit; get hostname)",
        "home",
        "device",
        "foreach -n node004 (get hostname; set category d; commit; get hostname)",
    ]


def test_interfaces_of_nodes_as_the_seed_adds_them() -> None:
    added = [
        change(
            Ref("interface", "ib0", f"node/vnode{number:03d}"), "add", type="physical", dhcp=True, network="n"
        )
        for number in range(1, 13)
    ]
    assert typed(*added)[2] == (
        "foreach -n vnode001..vnode012 (get hostname; interfaces; add physical ib0; set dhcp yes; "
        "set network n; commit; get networkdevicename)"
    )


def test_a_service_is_stopped_on_its_node_and_started_on_the_head() -> None:
    lines = typed(
        change(Ref("service", "opensm", "node/node001"), running=False),
        change(Ref("service", "opensm", str(HEAD)), running=True),
        change(Ref("service", "opensm", str(HEAD)), "restart"),
    )
    assert "foreach -n node001 (get hostname; services; stop opensm; status opensm)" in lines
    start = lines.index("start opensm")
    assert lines[start - 3 : start + 2] == [
        "device",
        "use master",
        "services",
        "start opensm",
        "status opensm",
    ]
    assert "restart opensm" in lines


def test_a_list_of_modifications_keeps_what_others_put_there() -> None:
    of = "category/c"
    entries = {Owner("category", "c"): ["+/etc/a[b]c=1", "-/etc/x[s]k", "+/etc/x[s]k=old"]}
    lines = typed(
        change(Ref("setting", "/etc/x[s]k", of), value="new", replaces=True),
        change(Ref("setting", f"{ML2}[e]v", of), "add", value="h", replaces=False),
        entries=entries,
    )
    assert lines[4:7] == [
        "roles",
        "use openstacknode",
        f'set configfilemodifications "+/etc/a[b]c=1" "-/etc/x[s]k" "+/etc/x[s]k=new" "+{ML2}[e]v=h"',
    ]


def test_a_role_that_is_missing_is_assigned() -> None:
    lines = typed(change(Ref("setting", "/etc/x[s]k", str(HEAD)), "add", value="v", replaces=True))
    assert lines[2:6] == [
        "use master",
        "roles",
        "assign openstacknode",
        'set configfilemodifications "-/etc/x[s]k" "+/etc/x[s]k=v"',
    ]


def test_all_values_that_could_be_commands_are_told_at_once() -> None:
    with pytest.raises(PipelineError) as caught:
        typed(
            change(Ref("image", "a"), path="/x\ny"),
            change(Ref("network", "n"), domain='x"; reboot'),
            change(Ref("node", "a;b"), category="c"),
            change(Ref("setting", "/etc/x[s]k", "node/n"), "add", value="a\0", replaces=True),
        )
    assert [problem.where for problem in caught.value.problems] == [
        "image/a",
        "network/n",
        "node/a;b",
        "node/n/setting//etc/x[s]k",
    ]
    assert "path" in caught.value.problems[0].message


def _two_nodes() -> list[Change]:
    return [change(Ref("node", name), category="c") for name in ("node001", "node002", "node003")]


def test_the_output_says_which_nodes_are_done() -> None:
    parts = groups(steps(_two_nodes(), {}, Names()))
    output = "node001\nSuccessfully committed 1 Device\nnode001\nnode002\nwhatever it is\n"
    assert [(one.step.name, one.begun, one.ended, one.lines) for one in told(parts, output)] == [
        ("node001", True, True, ("Successfully committed 1 Device",)),
        ("node002", True, False, ("whatever it is",)),
        ("node003", False, False, ()),
    ]


def test_output_that_goes_on_after_an_error_is_told_apart() -> None:
    parts = groups(steps([*_two_nodes(), change(Ref("category", "d"), image="i")], {}, Names()))
    output = "node001\nerror\nnode002\nnode002\nnode003\nnode003\nd\nd\n"
    assert [one.ended for one in told(parts, output)] == [False, True, True, True]
