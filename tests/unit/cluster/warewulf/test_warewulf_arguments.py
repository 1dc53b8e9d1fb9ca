"""Arguments for wwctl: node sets and lists mean to Warewulf exactly what they were made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.cluster.drivers.warewulf import quote
from pipeline.cluster.drivers.warewulf.quote import calls, folded, members
from pipeline.lab.warewulf.flags import parse
from pipeline.lab.warewulf.setting import expanded

NODES = some.builds(
    lambda prefix, number, width, suffix: f"{prefix}{number:0{width}}{suffix}",
    some.sampled_from(["node", "vnode", "a1-b", "r7n"]),
    some.integers(0, 10_500),
    some.integers(1, 5),
    some.sampled_from(["", "-ib", ".cluster"]),
)


@given(some.lists(NODES))
def test_a_node_set_is_expanded_to_the_nodes_it_was_made_of(names: list[str]) -> None:
    found = expanded(folded(names))
    assert sorted(found) == sorted(set(names))


def test_ten_thousand_nodes_are_one_short_argument() -> None:
    assert folded(f"node{number:05}" for number in range(1, 10_001)) == ["node[00001-10000]"]
    assert folded(["node9", "node10", "node11", "head"]) == ["head", "node9", "node[10-11]"]


def test_nodes_with_nothing_in_common_are_several_calls_that_are_not_too_long() -> None:
    names = [f"node{number:05}" for number in range(0, 60_000, 2)]
    parts = calls(names)
    assert 2 <= len(parts) <= 8
    assert all(len(" ".join(part)) < 128 * 1024 for part in parts)
    assert [name for part in parts for name in expanded(part)] == names
    words = [f"{'x' * (number % 200)}-{number}-rack" for number in range(3_000)]
    assert sorted(name for part in calls(words) for name in expanded(part)) == sorted(words)


VALUES = some.text(some.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1)


@given(some.lists(VALUES, min_size=1))
def test_a_list_is_read_as_its_members(values: list[str]) -> None:
    values = [value for value in values if not quote.refusal(value)]
    options, rest = parse([f"--kernelargs={members(values)}", "--", "n"], {"kernelargs": "list"})
    assert (options.get("kernelargs"), rest) == (values, ["n"])


@pytest.mark.parametrize(
    "value", ["UNSET", "Undef", "delete", "nil", "--", "0.0.0.0", "~x", "", "a\n", "\x7f"]
)
def test_a_value_that_is_none_to_warewulf_is_refused(value: str) -> None:
    assert quote.refusal(value)
