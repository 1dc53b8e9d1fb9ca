"""Every mistake in the syntax of a file is told at once, and no line that is right is ever blamed."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path

import pytest

from pipeline.recipe.syntax import MOST, mistakes

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))

Q = '"""'


def told(text: str) -> list[int]:
    return [mistake.line for mistake in mistakes(text)]


def lines(*each: str) -> str:
    return "\n".join(each) + "\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (lines("a = 1", 'b = "x" c = 2', "d = 3", "e = = 4", "f = 5", "g"), [2, 4, 6]),
        (lines('a = "x', "b = 2", "c = 'y", "d = 4"), [1, 3]),
        (lines("[[stage]]", "name = a", "[[stage]]", 'name = "b"', "type = c"), [2, 5]),
        (lines("[[stage]", 'name = "a"', "[[stage]]", 'name = "b"', 'type = "c" x'), [1, 5]),
        (lines("x = [1, 2", "[a]", "b = 1", "c = "), [2, 4]),
        (lines("x = [", '  "a"', '  "b",', "]", "y = 1", "z = [1 2]"), [3, 6]),
        (lines("y = 1", "y = 2", "z = [", "  1", "  2", "]"), [2, 3]),
        (lines(f"s = {Q}", r"a \d b", "x = 1 2", Q, "y = 1 2"), [2, 5]),
        (lines("a = 1 2", f"s = {Q}", "x = 1 2", "[[", Q, "b = 1 2"), [1, 6]),
        (lines("<<<<<<< HEAD", "a = 1", "=======", "b = 2", ">>>>>>> b"), [1, 3, 5]),
        (lines("a = 01", "b = 2024-13-01", "c = 0x", "d = yes", "e = 1"), [1, 2, 3, 4]),
        ("a = 1 2\r\nb = 1\r\nc = 1 2\r\n", [1, 3]),
        (lines("a = 1", "a = 2", "b = 1", "b = 2"), [2]),
        (lines("a = 1 2", "b = ["), [1, 2]),
    ],
)
def test_every_mistake_has_its_line(text: str, expected: list[int]) -> None:
    assert told(text) == expected


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (lines("tolerate = [", '  { a = "x",', '    b = "y" },', '  { a = "x",', '    b = "y" },', "]"), 2),
        (lines("env = {", '  A = "1",', '  B = "2"', "}", "x = 1"), 1),
        (lines(f"s = {Q}a", "x = 1 2"), 2),
        (lines(f"# s = {Q}", "x 1", "y = 1", "done", Q), 2),
        (lines('s = "', "x = 1 2", Q, "y = 1"), 1),
        (lines("stage]]", 'name = "a"', "[[stage]]", 'name = "b"'), 1),
        (lines("[[stage]]", 'name = "a"', "[[stage", 'name = "b"', "[stage.set]", "a = 1"), 3),
        (lines("[[stage]]", 'name = "a"', "[stage.set", "a = 1", "[stage.modes]", "a = 1"), 3),
        (lines("[[a]]", "x = 1", "y = 1", "# [[a]]", "x = 1", "y = 1"), 5),
        (lines("[a]", "x = 1", "[a]", "x = 1", "y = 2"), 3),
        (lines("x = [", "  [1],", "  2 3,", "[true]", "]", "y = 1"), 3),
        (lines("x = [1, 2", "y = 1", "z = 2"), 2),
    ],
)
def test_lines_that_are_right_or_cannot_be_judged_are_not_blamed(text: str, first: int) -> None:
    assert told(text) == [first]


def test_the_first_is_told_in_the_words_of_tomllib_and_the_others_by_their_statement() -> None:
    found = mistakes(lines("a = 1 2", "b = [", "  1", "  2", "]"))
    assert [mistake.message for mistake in found] == [
        "not valid TOML: Expected newline or end of document after a statement (column 7)",
        "not valid TOML: Unclosed array (line 4, column 3)",
    ]


def test_not_more_than_ten_are_told() -> None:
    assert told("a = 1 2\n" * 30) == list(range(1, MOST + 1))


def test_what_tomllib_gives_up_upon_ends_it() -> None:
    assert told("a = 1 2\nb = " + "9" * 5000 + "\nc = 1 2\n") == [1]
    assert told("a = 1 2\nb = " + "[" * 5000 + "\nc = 1 2\n") == [1]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_no_other_line_is_blamed_for_a_character_too_many_or_too_few(file: Path) -> None:
    whole = file.read_text()
    assert mistakes(whole) == []
    chance = random.Random(3)
    for _ in range(150):
        place = chance.randrange(len(whole))
        broken = (
            whole[:place] + chance.choice(['"', "'", "[", "]", "{", "=", "x ", "\n", ""]) + whole[place + 1 :]
        )
        try:
            tomllib.loads(broken)
        except tomllib.TOMLDecodeError as error:
            first = re.search(r"at line (\d+)", str(error))
            found = mistakes(broken)
            assert len(found) == 1, (broken[place - 60 : place + 60], found)
            assert first is None or found[0].line == int(first[1])
