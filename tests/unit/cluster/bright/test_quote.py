"""Values as arguments of cmsh: literally, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cluster.drivers.bright.quote import argument, unsafe, unsafe_name

LITERAL = [
    ("openstack-image", "openstack-image"),
    ("1:10", "1:10"),
    ("", '""'),
    ("a b", '"a b"'),
    ("x; device; remove node001; commit", '"x; device; remove node001; commit"'),
    ("$(reboot) `reboot`", '"$(reboot) `reboot`"'),
    ("it's", '"it\'s"'),
    ("[ml2]", '"[ml2]"'),
    ("| rm -rf x > y", '"| rm -rf x > y"'),
    ("-d", '"-d"'),
    ("..", '".."'),
    ("/", '"/"'),
    ("node001..node003", '"node001..node003"'),
    ('say "hi"', '"say \\"hi\\""'),
    ("a\\b", '"a\\\\b"'),
]


@pytest.mark.parametrize(("value", "quoted"), LITERAL, ids=[quoted for _, quoted in LITERAL])
def test_a_value_becomes_one_argument(value: str, quoted: str) -> None:
    assert not unsafe(value)
    assert argument(value) == quoted


@pytest.mark.parametrize(
    "value", ["a\nb", "a\rb", "a\0b", "\x1b[1m", "a\tb", "\udcff", 'a"; reboot; "', "\\;", '"(']
)
def test_what_could_be_read_otherwise_is_refused(value: str) -> None:
    assert unsafe(value)


@given(st.text(alphabet="ab \"'\\;()|<>!&$`{}[]-./"))
def test_where_backslashes_mean_nothing_no_command_ends_either(value: str) -> None:
    if unsafe(value):
        return
    outside, quoted = "", False
    for character in argument(value):
        if character == '"':
            quoted = not quoted
        elif not quoted:
            outside += character
    assert not set(";()|<>!&`").intersection(outside)


@pytest.mark.parametrize("name", ["node001", "default-image", "x.y_z", "9"])
def test_names_of_objects(name: str) -> None:
    assert not unsafe_name(name)


@pytest.mark.parametrize(
    "name", ["", "-n", "*", "a b", "a;b", "node[1-3]", "a..b", "^/etc/passwd", "a,b", "a\n"]
)
def test_names_that_mean_more_than_one_object_are_refused(name: str) -> None:
    assert unsafe_name(name)
