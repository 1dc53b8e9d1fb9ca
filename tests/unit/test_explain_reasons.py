"""Why a key differs: bases compared by name, without a store."""

from __future__ import annotations

from typing import Any

from pipeline.build.reasons import Reason, differing, order_of, paired, plain


def basis(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "format": 1,
        "parent": "p",
        "type": "file",
        "options": {"path": "/etc/x", "mode": None},
        "code": "c",
        "sources": {},
        "trees": {},
        "packages": None,
        "parameters": {},
        "epoch": 5,
    }
    return plain({**whole, **changes})


def reasons(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str]]:
    return [(reason.kind, reason.message) for reason in differing(old, new)]


def only(old: dict[str, Any], new: dict[str, Any]) -> Reason:
    (reason,) = differing(old, new)
    return reason


def test_equal_bases_have_no_reason() -> None:
    assert reasons(basis(), basis()) == []
    assert list(order_of(basis(), basis())) == []


def test_an_option_is_told_with_its_old_and_new_value() -> None:
    new = basis(options={"path": "/etc/y", "mode": "0600"})
    assert reasons(basis(), new) == [
        ("option", 'option path: "/etc/x" → "/etc/y"'),
        ("option", 'option mode: not given → "0600"'),
    ]


def test_of_a_list_only_what_came_and_went_is_told() -> None:
    reason = only(basis(options={"install": ["a", "b"]}), basis(options={"install": ["b", "c"]}))
    assert (reason.message, reason.details) == ("option install: changed", ('- "a"', '+ "c"'))
    reason = only(basis(options={"install": ["a", "b"]}), basis(options={"install": ["b", "a"]}))
    assert reason.message == "option install: in another order"


def test_of_a_text_of_several_lines_the_lines_that_differ_are_told() -> None:
    reason = only(basis(options={"shell": "a\nb\n"}), basis(options={"shell": "a\nc\n"}))
    assert reason.details[-2:] == ("-b", "+c")


def test_a_value_that_is_very_long_is_cut() -> None:
    reason = only(basis(options={"path": "x"}), basis(options={"path": "y" * 10_000}))
    assert len(reason.message) < 300


def test_a_source_with_another_digest_is_told_with_both() -> None:
    old, new = basis(sources={"http://a/b": "1"}), basis(sources={"http://a/b": "2", "http://a/c": "3"})
    assert reasons(old, new) == [
        ("source", "source http://a/b: sha256 1 → 2"),
        ("source", "source http://a/c: new"),
    ]
    assert reasons(new, basis()) == [
        ("source", "source http://a/b: no longer asked for"),
        ("source", "source http://a/c: no longer asked for"),
    ]


def test_packages_are_told_as_come_gone_changed_and_rebuilt() -> None:
    old = {"install": [["a-1-1.noarch", "x"], ["b-1-1.noarch", "x"], ["c-1-1.noarch", "x"]], "remove": []}
    new = {
        "install": [["a-2-1.noarch", "x"], ["c-1-1.noarch", "y"], ["d-1-1.noarch", "x"]],
        "remove": ["e-1-1.noarch"],
    }
    assert only(basis(packages=old), basis(packages=new)).details == (
        "~ a-1-1.noarch → a-2-1.noarch",
        "- b-1-1.noarch",
        "+ d-1-1.noarch",
        "~ c-1-1.noarch: the same name, other content (sha256 x… → y…)",
        "e-1-1.noarch: removed now, was not",
    )


def test_the_order_of_packages_counts_and_is_told() -> None:
    old = {"install": [["a-1-1.noarch", "x"], ["b-1-1.noarch", "x"]], "remove": []}
    new = {"install": old["install"][::-1], "remove": []}
    reason = only(basis(packages=old), basis(packages=new))
    assert reason.message == "the locked packages are installed in another order"


def test_a_parameter_of_a_template_is_told() -> None:
    assert reasons(basis(parameters={"vfs": 16}), basis(parameters={"vfs": 8})) == [
        ("parameter", "parameter vfs: 16 → 8")
    ]


def test_another_type_is_told_alone() -> None:
    new = basis(type="edit", options={"file": "/etc/x"})
    assert reasons(basis(), new) == [("type", "the type is edit, it was file")]


def test_another_order_is_told_when_that_is_all() -> None:
    old, new = basis(parameters={"a": 1, "b": 2}), basis(parameters={"b": 2, "a": 1})
    assert reasons(old, new) == []
    assert [reason.message for reason in order_of(old, new)] == [
        "the parameters are the same, in another order"
    ]


def test_several_kernels_of_one_name_are_not_paired() -> None:
    old = ("kernel-1-1.x86_64", "kernel-2-1.x86_64")
    new = ("kernel-2-1.x86_64", "kernel-3-1.x86_64", "kernel-4-1.x86_64")
    assert paired(old, new) == (
        ("kernel-1-1.x86_64", None),
        (None, "kernel-3-1.x86_64"),
        (None, "kernel-4-1.x86_64"),
    )
