"""Inserting, replacing and deleting lines of texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import PipelineError
from pipeline.fileops.done import group_texts
from pipeline.fileops.lines import Block, Change, Delete, Insert, Replace, edit
from pipeline.fileops.text import decode, encode, split

AGENT = """\
prog=neutron-mlnx-agent

start() {
    [ -x $exec ] || exit 5
    for config in ${configs[@]}; do
        [ -f $config ] || exit 6
    done
    echo -n "Starting $prog: "
}

stop() {
    for pid in $pids; do
        kill $pid
    done
}
"""

SLEEP = Insert("after", r"^\s*done$", "    sleep 3")
START = Block(r"^start\(\)")


def changed(text: str, change: Change, block: Block | None = None) -> str:
    return edit(text, "/etc/x", change, block).text


def error_of(text: str, change: Change, block: Block | None = None) -> str:
    with pytest.raises(PipelineError) as caught:
        edit(text, "/etc/x", change, block)
    return str(caught.value)


def test_the_sleep_is_put_after_the_loop_of_start_and_not_of_stop() -> None:
    expected = AGENT.replace("    done\n    echo", "    done\n    sleep 3\n    echo")
    assert changed(AGENT, SLEEP, START) == expected


def test_inserting_again_changes_nothing() -> None:
    once = changed(AGENT, SLEEP, START)
    assert changed(once, SLEEP, START) == once


def test_an_anchor_that_matches_twice_is_an_error_with_both_lines() -> None:
    message = error_of(AGENT, SLEEP)
    assert message.startswith("/etc/x:7: ")
    assert "7:     done" in message and "14:     done" in message


def test_a_missing_anchor_is_an_error_with_pattern_and_nearest_line() -> None:
    message = error_of(AGENT, Insert("after", r"^\s*for conf in", "x"), START)
    assert "/etc/x:3" in message and repr(r"^\s*for conf in") in message
    assert "line 5 '    for config in ${configs[@]}; do'" in message


@pytest.mark.parametrize(
    ("block", "lines"),
    [
        (Block(r"^start\(\)"), "3-9"),
        (Block(r"^stop\(\)", r"^\s*done"), "11-14"),
        (Block("^prog", "^start"), "1-3"),
    ],
)
def test_a_block_ends_with_its_brace_or_where_until_says(block: Block, lines: str) -> None:
    assert f"the block of lines {lines} " in error_of(
        AGENT, Insert("after", "^nothing like this", "x"), block
    )


def test_a_block_of_an_ini_file_ends_before_the_next_section() -> None:
    text = "[a]\nx=1\n[b]\nx=1\n"
    assert changed(text, Replace("^x=1", "x=2"), Block(r"^\[a\]")) == "[a]\nx=2\n[b]\nx=1\n"
    assert changed(text, Replace("^x=1", "x=2"), Block(r"^\[b\]")) == "[a]\nx=1\n[b]\nx=2\n"


def test_a_nested_block_ends_where_its_own_brace_stands() -> None:
    text = "a {\n  b {\n    x\n  }\n  x\n}\n"
    assert changed(text, Delete("^ *x$"), Block("^  b")) == "a {\n  b {\n  }\n  x\n}\n"


def test_a_block_without_end_is_an_error() -> None:
    assert "/etc/x:1: the block that starts with 'f() {' does not end" in error_of(
        "f() {\n x\n", Delete("x"), Block("^f")
    )


def test_text_can_be_put_before_the_brace_that_ends_a_block() -> None:
    once = changed(AGENT, Insert("before", "^}", "    return 0"), START)
    assert '    echo -n "Starting $prog: "\n    return 0\n}\n' in once


def test_an_anchor_that_also_matches_the_inserted_text_stays_one_anchor() -> None:
    insert = Insert("after", "sleep", "sleep 3\nsleep 4")
    once = changed("a\nsleep 1\nb\n", insert)
    assert once == "a\nsleep 1\nsleep 3\nsleep 4\nb\n"
    assert changed(once, insert) == once


def test_a_missing_last_newline_stays_missing() -> None:
    assert changed("a", Insert("after", "a", "b")) == "a\nb"
    assert changed("a\nb", Delete("b")) == "a"
    assert changed("a\nb", Replace("b", "c")) == "a\nc"


def test_carriage_returns_are_kept_and_used() -> None:
    assert changed("a\r\nb\r\n", Insert("after", "^a$", "x\ny")) == "a\r\nx\r\ny\r\nb\r\n"
    assert changed("a\r\nb\r\n", Replace("^b$", "c")) == "a\r\nc\r\n"


def test_bytes_that_are_no_utf_8_come_back_as_they_were() -> None:
    content = b"caf\xe9\n\xff\x0c\xe2\x80\xa8x\n"
    assert encode(changed(decode(content), Insert("before", "^caf", "top"))) == b"top\n" + content


@pytest.mark.parametrize(
    ("text", "change", "expected"),
    [
        ("a=1\nb=1\n", Replace("^a=.*", "a=2"), "a=2\nb=1\n"),
        ("#a=1\n", Replace(r"^#\s*(a=.*)", r"\1"), "a=1\n"),
        ("#a=1\n", Replace(r"^#\s*(?P<it>a=.*)", r"\g<it>"), "a=1\n"),
        ("#A=1\n", Replace(r"^#(?=A)(A=.*)$", r"\1"), "A=1\n"),
        ("PermitRootLogin yes\n", Replace("(PermitRootLogin) yes", r"\1 no"), "PermitRootLogin no\n"),
        ("x\nx\n", Replace("^x$", "y", all=True), "y\ny\n"),
        ("a\n", Replace("^a$", "b\nc"), "b\nc\n"),
        ("linux quiet\n", Replace(" quiet", ""), "linux\n"),
        ("path=/a\n", Replace("^path=/a$", r"path=\\b"), "path=\\b\n"),
    ],
)
def test_a_replacement_is_made_once_and_found_made_the_next_time(
    text: str, change: Replace, expected: str
) -> None:
    once = changed(text, change)
    assert once == expected
    assert changed(once, change) == once


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("PermitRootLogin yes\n# no\n", Replace("PermitRootLogn yes", "no")),
        ("PermitRootLogin yes\nno\n", Replace("PermitRootLogn yes", "no")),
        ("PermitRootLogin yes\n# PermitRootLogin no\n", Replace("PermitRootLogn yes", "PermitRootLogin no")),
        ("debug=1\nfoo=0\n", Replace(r"^(\w+)=l$", r"\1=0")),
        ("a=1\nFoo=0\n", Replace(r"^([A-Z][a-z]+)=l$", r"\1=0")),
        ("x\n", Replace("^#(.*)$", r"\1")),
        ("on=1\non=1\n", Replace("^on=0$", "on=1")),
        ("b\nb", Replace("a", "b", all=True)),
        ("no thing\nb\n", Replace("^a|c$", "b")),
    ],
)
def test_a_missing_anchor_is_not_taken_for_done_because_the_text_stands_somewhere(
    text: str, change: Replace
) -> None:
    message = error_of(text, change)
    assert f"no line matches replace = {change.pattern!r}" in message
    assert "let the pattern cover the whole line" in message


def test_a_replacement_that_is_there_already_is_noted_with_its_line() -> None:
    edited = edit("x\nPort 22\n", "/etc/x", Replace("^#(Port .*)", r"\1"))
    assert edited.text == "x\nPort 22\n"
    assert edited.note and "nothing to replace" in edited.note and "line 2 is 'Port 22'" in edited.note


def test_a_replacement_that_is_made_gives_no_note() -> None:
    assert edit("a b\n", "/etc/x", Replace("b", "c")).note is None


def test_nothing_to_replace_is_an_error_with_the_nearest_line() -> None:
    assert "line 2 'num_vfs=8'" in error_of("x\nnum_vfs=8\n", Replace("^num_vf=8", "num_vfs=16"))


def test_a_replacement_that_would_change_its_own_result_is_refused() -> None:
    assert "cannot be made twice" in error_of("foo\n", Replace("foo", "foo foo"))


def test_two_lines_to_delete_need_all() -> None:
    assert "give all = true" in error_of("x\nx\ny\n", Delete("x"))
    assert changed("x\nx\ny\n", Delete("x", all=True)) == "y\n"


def test_nothing_to_delete_is_noted_with_the_nearest_line() -> None:
    edited = edit("nameserver 10.1\n", "/etc/x", Delete("^nameservers"))
    assert edited.text == "nameserver 10.1\n"
    assert edited.note and "nothing to delete" in edited.note and "line 1" in edited.note


def test_groups_are_found_whatever_stands_in_classes_and_escapes() -> None:
    assert group_texts(r"(a\(b)[(](?:x(c[)]d))(?P<n>e)(?=f)") == [r"a\(b", "c[)]d", "e"]


WORDS = st.sampled_from(["a", "b", "ab", "", "  a", "}", "a {", "[s]", "a=b"])
TEXTS = st.lists(WORDS).flatmap(
    lambda words: st.sampled_from(["\n", "\r\n"]).flatmap(
        lambda end: st.sampled_from([end, ""]).map(lambda last: end.join(words) + last)
    )
)
PATTERNS = st.sampled_from(["^a$", "a", "b", "^ab", "=", r"^\[s", "^(a)b", "^$"])
CHANGES = st.one_of(
    st.builds(
        Insert, st.sampled_from(["after", "before"]), PATTERNS, st.sampled_from(["a", "x", "b\na", "}"])
    ),
    st.builds(Replace, PATTERNS, st.sampled_from(["a", "x", "", "b\na", "}"]), st.booleans()),
    st.builds(Delete, PATTERNS, st.booleans()),
)
BLOCKS = st.none() | st.builds(Block, st.sampled_from(["^a {", r"^\[s"]), st.none() | st.just("^b"))

OFTEN_REFUSED = settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
"""What matches nothing, or more than one line, is refused: those examples are of no use, and take time."""


@OFTEN_REFUSED
@given(TEXTS, CHANGES, BLOCKS)
def test_every_change_that_is_made_changes_nothing_when_made_again(
    text: str, change: Change, block: Block | None
) -> None:
    try:
        once = edit(text, "f", change, block).text
    except PipelineError:
        assume(False)
    try:
        assert edit(once, "f", change, block).text == once
    except PipelineError as error:
        assert isinstance(change, Replace) and "no line" in str(error)


@OFTEN_REFUSED
@given(TEXTS, CHANGES, BLOCKS)
def test_lines_that_do_not_match_stay_as_they_are(text: str, change: Change, block: Block | None) -> None:
    pattern = change.anchor if isinstance(change, Insert) else change.pattern
    try:
        once = edit(text, "f", change, block).text
    except PipelineError:
        assume(False)
    kept = [line.rstrip("\r\n") for line in split(text) if not re.search(pattern, line.rstrip("\r\n"))]
    rest = iter(line.rstrip("\r\n") for line in split(once))
    assert all(line in rest for line in kept)


@given(st.binary())
def test_any_bytes_can_be_split_and_joined(content: bytes) -> None:
    assert encode("".join(split(decode(content)))) == content
