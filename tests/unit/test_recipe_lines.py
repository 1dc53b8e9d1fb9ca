"""In which line something stands, whichever of TOML's ways it is written in."""

from __future__ import annotations

import tomllib

import pytest

from pipeline.recipe.lines import KeyPath, line_of, lines_of, stage_lines

SOURCE = b'''# a comment
top.dotted."a key" = 1
[image]
name = "x" # comment
[image.kernel]
append_parameters = [
  "a", # comment
  # comment
  "b", { inline = 1,
         other.one = [2] },
]

[[stage]]
text = """
[[stage]]
"""
with = { a = 1 }
[stage.env]
X = 'x'
[[stage.tolerate]]
pattern = "a"
[[stage.tolerate]]
pattern = "b"

[[stage]]
"quoted" = true
[[stage.tolerate]]
pattern = "c"
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("top", "dotted", "a key"), 2),
        (("image",), 3),
        (("image", "name"), 4),
        (("image", "kernel"), 5),
        (("image", "kernel", "append_parameters", 0), 7),
        (("image", "kernel", "append_parameters", 1), 9),
        (("image", "kernel", "append_parameters", 2, "inline"), 9),
        (("image", "kernel", "append_parameters", 2, "other", "one", 0), 10),
        (("stage",), 13),
        (("stage", 0), 13),
        (("stage", 0, "text"), 14),
        (("stage", 0, "with", "a"), 17),
        (("stage", 0, "env"), 18),
        (("stage", 0, "env", "X"), 19),
        (("stage", 0, "tolerate", 0), 20),
        (("stage", 0, "tolerate", 1, "pattern"), 23),
        (("stage", 1), 25),
        (("stage", 1, "quoted"), 26),
        (("stage", 1, "tolerate", 0, "pattern"), 28),
        (("stage", 1, "tolerate", 0, "missing"), 27),
        (("nowhere",), None),
    ],
    ids=str,
)
def test_a_key_has_its_line(path: KeyPath, line: int | None) -> None:
    assert line_of(lines_of(SOURCE), path) == line


def test_lines_are_found_around_a_mistake() -> None:
    lines = lines_of(b"[image]\nname = = 3\n[[stage]]\n[[stage]]\nname = 1\n")
    assert lines["stage", 1] == 4
    assert lines["stage", 1, "name"] == 5


def test_the_headers_of_stages_are_found_quickly_too() -> None:
    assert stage_lines(SOURCE) == [13, 25]


@pytest.mark.parametrize(
    "before",
    [
        b"",
        b'a = """\n[[stage]]\n\\"""\n[[stage]]""\\"\n"""\n',
        b"a = '''\n[[stage]]\n''''\n",
        b'a = "#" # "\\n  # [[stage]]\n',
        b"b = '\\' # '\n[x]\ny = [[1], [2]]\n",
        b'c = """x"""""\nd = "\\\\"\n',
    ],
)
def test_what_stands_in_strings_and_comments_is_no_header(before: bytes) -> None:
    source = before + b"[[stage]]\n  [[stage]] # two\n[[stage.tolerate]]\n"
    tomllib.loads(source.decode())
    lines = lines_of(source)
    assert stage_lines(source) == [lines["stage", 0], lines["stage", 1]]
