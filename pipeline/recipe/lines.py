"""In which line of a TOML file a key or a table stands.

Only ``tomllib`` decides what a file says; tree-sitter, which keeps positions and survives mistakes, is asked
afterwards and only when there is something to say about a line.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from tree_sitter import Node

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the top of a document: ``("stage", 3, "install", 0)``."""


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """The line of ``path``, or of the nearest thing around it that has one."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


_WORDS = re.compile(
    rb"""(?msx)
    \"{3} (?:[^\\]|\\.)*? \"{3,5} | '{3} .*? '{3,5} |  # strings of many lines
    "(?:[^"\\\n]|\\.)*" | '[^'\n]*' |  # of one line
    [#][^\n]* |
    ^[ \t]* (\[\[stage\]\])"""
)


def stage_lines(source: bytes) -> list[int]:
    """The lines (from 1) of the ``[[stage]]`` headers of a document that is good TOML.

    Quicker than ``lines_of``, which also knows other ways to write them.
    """
    return [source.count(b"\n", 0, word.start(1)) + 1 for word in _WORDS.finditer(source) if word[1]]


def lines_of(source: bytes) -> dict[KeyPath, int]:
    """The line (from 1) of every key, table and element of an array in a TOML document."""
    import tree_sitter_toml
    from tree_sitter import Language, Parser

    root = Parser(Language(tree_sitter_toml.language())).parse(source).root_node
    found: dict[KeyPath, int] = {}
    elements: dict[KeyPath, int] = {}
    for node in root.named_children:
        if node.type == "pair":
            _pair(node, (), found)
        elif node.type in ("table", "table_array_element"):
            path: KeyPath = ()
            for key in _keys(node.named_children[0]):
                path = (*path, elements[path] - 1) if path in elements else path
                path = (*path, key)
            if node.type == "table_array_element":
                found.setdefault(path, _line(node))
                elements[path] = elements.get(path, 0) + 1
                path = (*path, elements[path] - 1)
            found.setdefault(path, _line(node))
            for child in node.named_children[1:]:
                _pair(child, path, found)
    return found


def _pair(node: Node, around: KeyPath, found: dict[KeyPath, int]) -> None:
    if node.type != "pair":
        return
    path = around
    for key in _keys(node.named_children[0]):
        path = (*path, key)
        found.setdefault(path, _line(node))
    _value(node.named_children[-1], path, found)


def _value(node: Node, path: KeyPath, found: dict[KeyPath, int]) -> None:
    if node.type == "inline_table":
        for child in node.named_children:
            _pair(child, path, found)
    elif node.type == "array":
        values = [child for child in node.named_children if child.type != "comment"]
        for index, child in enumerate(values):
            found.setdefault((*path, index), _line(child))
            _value(child, (*path, index), found)


def _keys(node: Node) -> Iterator[str]:
    text = (node.text or b"").decode(errors="replace")
    if node.type == "dotted_key":
        for child in node.named_children:
            yield from _keys(child)
    elif node.type == "quoted_key":
        yield next(iter(tomllib.loads(f"{text} = 0")))
    else:
        yield text


def _line(node: Node) -> int:
    return node.start_point[0] + 1
