from __future__ import annotations

import pytest

from pipeline.errors import PipelineError, Problem
from pipeline.printable import masked, on_one_line, plain


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://me:se@cr/et@host/a", "http://***@cr/et@host/a"),
        ("get https://me:secret@host:8000/a, 2 tries", "get https://***@host:8000/a, 2 tries"),
        ("'ftp://me@host' and HTTP://a:p%40b@h/", "'ftp://***@host' and HTTP://***@h/"),
        ("http://me:a@b@host/x", "http://***@host/x"),
        ("http://host/a@b mail me@host", "http://host/a@b mail me@host"),
        ("http://host?mail=me@host#a@b", "http://host?mail=me@host#a@b"),
    ],
)
def test_what_stands_before_the_host_of_a_url_is_not_told(text: str, told: str) -> None:
    assert masked(text) == told


def test_no_error_tells_a_password() -> None:
    problem = Problem("no http://a:secret@h/", "http://a:secret@h/", "see http://a:secret@h/")
    assert "secret" not in str(problem) + str(PipelineError([problem]))
    assert "secret" not in str(PipelineError("no http://a:secret@h/"))


def test_what_a_program_printed_does_not_drive_the_terminal() -> None:
    assert plain("a\x1b]0;title\x07\tb\r\nc\x9b2J\x7f") == "a\\x1b]0;title\\x07\tb\nc\\x9b2J\\x7f"
    assert plain("10 %\r20 %") == "10 %\\r20 %"
    assert plain("ein Gruß, 日本\udcff") == "ein Gruß, 日本\udcff"
    assert str(Problem("said \x1b[31mred", hint="\x1b[2J")) == "said \\x1b[31mred\n  hint: \\x1b[2J"


def test_a_name_stays_on_its_line_and_can_be_written() -> None:
    assert on_one_line("/etc/\udcff\nx\t\x9b\u2028") == r"/etc/\xff\nx\t\x9b\u2028"
    assert on_one_line("/Gruß/日本 1/a\\b") == "/Gruß/日本 1/a\\b"
    assert str(Problem("no q\udcff", hint="q\udcff\nx")) == "no q\\xff\n  hint: q\\xff\nx"
    assert str(Problem("gone", "/etc/a\nb")) == r"/etc/a\nb: gone"
