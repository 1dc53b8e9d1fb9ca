"""What a program prints, taken apart while it comes."""

from __future__ import annotations

import pytest

from pipeline.chroot.judging import MOST_QUOTED, Judge
from pipeline.chroot.printed import LONGEST_LINE, End, Lines
from pipeline.errors import Problem


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_are_the_same_whatever_pieces_they_come_in(size: int) -> None:
    text = "one\n\nzwei: ü€\nbad: ".encode() + b"\xff\xe2\x82\nlast \xe2"
    lines = Lines()
    got = [line for at in range(0, len(text), size) for line in lines.of(text[at : at + size])]
    assert [*got, *lines.rest()] == ["one", "", "zwei: ü€", "bad: ��", "last �"]


def test_a_line_that_never_ends_comes_in_pieces_that_part_no_word() -> None:
    lines = Lines()
    words = b"http://me:secret@host/x " * 20_000
    got = [line for at in range(0, len(words), 5_000) for line in lines.of(words[at : at + 5_000])]
    assert max(map(len, got)) <= LONGEST_LINE + 5_000
    assert all(line.startswith("http://") and line.endswith("x ") for line in got)
    assert "".join([*got, *lines.rest()]).encode() == words


@pytest.mark.parametrize(("most", "kept"), [(None, 5_000), (1_000, 1_000), (10_000, 5_000)])
def test_the_end_of_what_was_printed_is_kept(most: int | None, kept: int) -> None:
    whole = bytes(range(250)) * 20
    end = End(most)
    for at in range(0, len(whole), 7):
        end.add(whole[at : at + 7])
    assert end.bytes() == whole[-kept:]
    assert end.left_out == len(whole) - kept


def test_a_judge_quotes_the_first_lines_of_each_kind_and_counts_the_others() -> None:
    judge = Judge(["fine"], ["^Error", "worse$"])
    judge.hear(["a", "Error: fine", "progress\rError: 1"])
    for number in range(2, 1000):
        judge.hear([f"Error: {number}"])
    judge.hear(["Error: much worse", "x" * 5000 + " worse"])
    [expected] = judge.expected
    assert (expected.count, expected.first) == (1, [(2, "Error: fine")])
    told = list(judge.problems())
    begin = "line 4 of its output means failure ('^Error'): Error: 1"
    assert told[0] == Problem(begin)
    assert told[-1] == Problem("990 more lines of its output mean failure ('^Error')")
    assert len(told) == MOST_QUOTED + 2 + 1
    assert len(told[-2].message) < 1100
