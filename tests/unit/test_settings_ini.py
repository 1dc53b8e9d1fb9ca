"""Setting and removing keys of INI texts."""

from __future__ import annotations

import configparser
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.fileops.ini import parse
from pipeline.fileops.settings import change
from pipeline.fileops.text import split

NOVA = """\
[DEFAULT]
# Where state is kept (string value)
#state_path=/var/lib/nova
verbose=True

# Options of libvirt

[libvirt]
#
# The VIF driver (string value)
#
#vif_driver=nova.virt.libvirt.vif.LibvirtGenericVIFDriver

#
# disk
#
disk_prefix=vd

# The database
[database]
connection = mysql://a
"""


def set_one(text: str, section: str, key: str, *values: str) -> str:
    return change(text, {section: {key: values}}, {})


def test_a_key_in_a_comment_is_set_right_below_it() -> None:
    after = set_one(NOVA, "libvirt", "vif_driver", "mlnxvif.vif.MlxEthVIFDriver")
    comment = "#vif_driver=nova.virt.libvirt.vif.LibvirtGenericVIFDriver\n"
    assert after == NOVA.replace(comment, comment + "vif_driver=mlnxvif.vif.MlxEthVIFDriver\n")


def test_a_key_that_is_there_gets_its_value_in_its_place() -> None:
    assert set_one(NOVA, "DEFAULT", "verbose", "False") == NOVA.replace("verbose=True", "verbose=False")


@pytest.mark.parametrize(
    ("before", "section", "after"),
    [
        ("\ufeff[a]\nk=1\n", "a", "\ufeff[a]\nk=2\n"),
        ("\ufeff[a]\r\nx=1\r\n", "a", "\ufeff[a]\r\nx=1\r\nk=2\r\n"),
        ("\ufeffk=1\n", "", "\ufeffk=2\n"),
        ("\ufeff[a]\nx=1\n", "", "\ufeffk=2\n[a]\nx=1\n"),
        ("\ufeff", "a", "\ufeff[a]\nk = 2\n"),
    ],
)
def test_a_byte_order_mark_stays_in_front_and_hides_no_header(before: str, section: str, after: str) -> None:
    assert set_one(before, section, "k", "2") == after
    assert set_one(after, section, "k", "2") == after


def test_a_key_behind_a_byte_order_mark_is_removed() -> None:
    assert change("\ufeff[a]\nk=1\n", {}, {"a": ["k"]}) == "\ufeff[a]\n"


def test_a_new_key_goes_to_the_end_of_its_section_before_the_next_ones_comment() -> None:
    after = set_one(NOVA, "libvirt", "cpu_mode", "none")
    assert "disk_prefix=vd\ncpu_mode=none\n\n# The database\n[database]" in after


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[s]\na=1\n", "[s]\na=2\n"),
        ("[s]\na = 1\n", "[s]\na = 2\n"),
        ("[s]\na : 1\n", "[s]\na : 2\n"),
        ("[s]\na     = 1\n", "[s]\na     = 2\n"),
        ("[s]\n\ta = 1\n", "[s]\n\ta = 2\n"),
        ("[s]\na =\n", "[s]\na = 2\n"),
        ("[s]\na=\n", "[s]\na=2\n"),
        ("[s]\na\n", "[s]\na = 2\n"),
        ("[s]\nb=1\n", "[s]\nb=1\na=2\n"),
        ("[s]\nb  = 1\n", "[s]\nb  = 1\na = 2\n"),
        ("[s]\n# a = 1\n", "[s]\n# a = 1\na = 2\n"),
        ("[s]\n", "[s]\na = 2\n"),
        ("[s]", "[s]\na = 2"),
        ("[s]\r\na=1\r\n", "[s]\r\na=2\r\n"),
        ("[t]\nx=1\n", "[t]\nx=1\n\n[s]\na=2\n"),
        ("", "[s]\na = 2\n"),
        ("[s]\nx=1\n[t]\n[s]\na=1\n", "[s]\nx=1\n[t]\n[s]\na=2\n"),
    ],
)
def test_the_files_own_style_is_kept(text: str, expected: str) -> None:
    assert set_one(text, "s", "a", "2") == expected


def test_several_values_stand_one_below_the_other() -> None:
    text = "[s]\na = 1\nb = 2\n"
    assert set_one(text, "s", "a", "x", "y") == "[s]\na = x\na = y\nb = 2\n"


def test_values_that_are_there_stay_and_those_too_many_go() -> None:
    text = "[s]\na = 1\n# about two\na = 2\na = 3\n"
    assert set_one(text, "s", "a", "1", "9") == "[s]\na = 1\n# about two\na = 9\n"
    assert set_one(text, "s", "a", "1", "2", "3") == text


def test_a_value_over_several_lines_is_replaced_as_a_whole() -> None:
    text = "[s]\na = 1\n   2\n   # no part of it\nb = 3\n"
    assert set_one(text, "s", "a", "9") == "[s]\na = 9\n   # no part of it\nb = 3\n"


def test_removing_takes_every_value_with_all_its_lines() -> None:
    text = "[s]\na = 1\n   2\nb = 3\na = 4\n[t]\na = 5\n"
    assert change(text, {}, {"s": ["a"]}) == "[s]\nb = 3\n[t]\na = 5\n"


def test_removing_what_is_not_there_changes_nothing() -> None:
    assert change(NOVA, {}, {"libvirt": ["x"], "nowhere": ["y"]}) == NOVA


def test_a_file_of_shell_variables_has_the_section_without_a_name() -> None:
    text = "# Load UMAD module\nUMAD_LOAD=yes\n\n# IPoIB\n#IPOIB_LOAD=no\n"
    after = change(text, {"": {"UMAD_LOAD": ["no"], "IPOIB_LOAD": ["yes"], "NEW": ["1"]}}, {})
    assert after == "# Load UMAD module\nUMAD_LOAD=no\n\n# IPoIB\n#IPOIB_LOAD=no\nIPOIB_LOAD=yes\nNEW=1\n"


def test_what_looks_like_a_section_in_a_continuation_is_none() -> None:
    text = "[s]\na =\n  [x]\nb = 1\n"
    assert [part.section for part in parse(split(text))] == ["", "s"]


def test_an_indented_line_below_does_not_become_part_of_a_new_value() -> None:
    once = set_one("  [s]\n", "", "a", "1")
    assert once == "a=1\n\n  [s]\n"
    assert set_one(once, "", "a", "1") == once


def test_keys_are_told_apart_by_case() -> None:
    assert set_one("[s]\nA=1\n", "s", "a", "2") == "[s]\nA=1\na=2\n"


KEYS = st.sampled_from(["a", "b", "key", "long_key"])
VALUES = st.sampled_from(["", "1", "x y", "a:b", "k=v", "#not", "[x]"])
SECTIONS = st.sampled_from(["", "s", "t", "a b"])
LINES = st.one_of(
    st.builds("{}{}{}".format, KEYS, st.sampled_from(["=", " = ", ":", "   = "]), VALUES),
    st.sampled_from(
        ["", "# comment", "#a=1", "; key = x", "  continued", "[s]", "[t]", "  [s]", "[a b] # c", "alone"]
    ),
)
TEXTS = st.builds(
    lambda lines, end, last: end.join(lines) + (end if last else ""),
    st.lists(LINES),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
WANTED = st.dictionaries(
    SECTIONS, st.dictionaries(KEYS, st.lists(VALUES, min_size=1, max_size=3), min_size=1), min_size=1
)


@given(TEXTS, WANTED)
def test_after_setting_the_keys_have_exactly_these_values(
    text: str, wanted: Mapping[str, Mapping[str, Sequence[str]]]
) -> None:
    once = change(text, wanted, {})
    parts = parse(split(once))
    for section, keyed in wanted.items():
        for key, values in keyed.items():
            found = [o.value for p in parts if p.section == section for o in p.options if o.key == key]
            assert found == list(values)


@given(TEXTS, WANTED)
def test_setting_again_changes_nothing(text: str, wanted: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    once = change(text, wanted, {})
    assert change(once, wanted, {}) == once


@given(TEXTS, WANTED)
def test_every_other_option_and_every_comment_stays(
    text: str, wanted: Mapping[str, Mapping[str, Sequence[str]]]
) -> None:
    def others(of: str) -> list[tuple[str, str, str]]:
        parts = parse(split(of))
        return sorted(
            (p.section, o.key, o.value)
            for p in parts
            for o in p.options
            if o.key not in wanted.get(p.section, {})
        )

    once = change(text, wanted, {})
    assert others(once) == others(text)
    comments = [line.strip() for line in split(text) if line.startswith(("#", ";"))]
    assert [line.strip() for line in split(once) if line.startswith(("#", ";"))] == comments


@given(WANTED)
def test_what_was_set_in_a_new_file_is_read_by_configparser(
    wanted: Mapping[str, Mapping[str, Sequence[str]]],
) -> None:
    one_each = {s: {k: v[-1:] for k, v in keyed.items()} for s, keyed in wanted.items() if s}
    parser = configparser.RawConfigParser(default_section="no such section", strict=True)
    parser.read_string(change("", one_each, {}))
    assert {s: dict(parser[s]) for s in parser.sections()} == {
        s: {k: v[0] for k, v in keyed.items()} for s, keyed in one_each.items()
    }
