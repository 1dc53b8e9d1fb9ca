"""What is told of two contents of a file."""

from __future__ import annotations

import pytest

from pipeline.cluster.differing import differences, told, unlike


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("a\nb\nc\n", "a\nB\nc\n", ["-b", "+B"]),
        ("a\n", "a", ["-a", "+a (without an end of the line)"]),
        ("a\r\nb\n", "a\nb\n", [r"-a\r", "+a"]),
        ("", "a\n", ["+a"]),
        ("a\n", "", ["-a"]),
        ("a\n\x1b[2J\n", "a\n", [r"-\x1b[2J"]),
        ("\udce9\n", "x\n", [r"-\udce9", "+x"]),
    ],
)
def test_lines_that_differ_are_shown_however_they_differ(old: str, new: str, lines: list[str]) -> None:
    shown = "\n".join(f"  {line}" for line in lines)
    assert differences({"content": old}, {"content": new}) == [f"content was (-), and is (+):\n{shown}"]
    assert unlike("content", old, new) == f"content is (-), and wanted (+):\n{shown}"


def test_single_values_are_shown_in_one_line() -> None:
    assert differences({"a": True, "b": "x"}, {"a": False, "b": "x"}) == ["a was yes, and is no"]
    assert unlike("parameters", ("a", "b"), None) == "parameters is a b, wanted nothing"
    long = tuple(f"parameter={number}" for number in range(20))
    assert unlike("parameters", long, (*long, "b")) == "parameters is …, wanted … b"
    assert differences(None, {}) == ["was not there, and is now"]
    assert told("a\nb") == "2 lines"


def test_of_many_lines_the_first_are_shown() -> None:
    (said,) = differences({"content": ""}, {"content": "x\n" * 50})
    assert said.endswith("  ... 30 more lines")
