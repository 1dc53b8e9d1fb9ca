"""Telling a replacement that was already made from one that has nothing to replace."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.fileops.text import body

REFERENCE = re.compile(r"\\(?:g<(?P<name>\w+)>|(?P<number>[1-9]\d?)|(?P<escape>.))", re.DOTALL)
"""What ``re.sub`` reads in a replacement: a group by name or number, or an escaped character."""

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}


def looks_replaced(pattern: str, replacement: str, lines: Sequence[str]) -> bool:
    """Whether ``lines`` hold what ``re.sub(pattern, replacement, line)`` leaves behind.

    A group of the replacement stands for whatever its part of ``pattern`` matches; ``^`` and ``$`` at the
    ends of the pattern hold for the result as well. A replacement that is empty is never recognised.
    """
    result = _result_pattern(pattern, replacement)
    if result is None:
        return False
    text = "\n".join(body(line) for line in lines)
    try:
        return re.search(result, text, re.MULTILINE) is not None
    except re.error:  # a group that refers to another one, which is not there on its own
        return False


def _result_pattern(pattern: str, replacement: str) -> str | None:
    groups = group_texts(pattern)
    names = re.compile(pattern).groupindex
    parts, position = [], 0
    for match in REFERENCE.finditer(replacement):
        parts.append(re.escape(replacement[position : match.start()]))
        position = match.end()
        if match["escape"] is not None:
            parts.append(re.escape(ESCAPES.get(match["escape"], match["escape"])))
            continue
        name = match["number"] or match["name"]
        number = int(name) if name.isdigit() else names[name]
        # A named group may not be named twice in one pattern; here the names mean nothing.
        parts.append("(?:" + re.sub(r"\(\?P<\w+>", "(?:", groups[number - 1]) + ")")
    parts.append(re.escape(replacement[position:]))
    result = "".join(parts)
    if not result:
        return None
    start = "^" if pattern.startswith("^") else ""
    end = "$" if pattern.endswith("$") and not pattern.endswith(r"\$") else ""
    return start + result + end


def group_texts(pattern: str) -> list[str]:
    """What stands in each group of a regular expression, in the order of their numbers."""
    found: dict[int, str] = {}
    opened: list[tuple[int, int] | None] = []
    position = count = 0
    while position < len(pattern):
        token = pattern[position]
        if token == "\\":
            position += 1
        elif token == "[":
            position = _class_end(pattern, position)
        elif token == "(":
            head = re.compile(r"\((\?P<\w+>|(?!\?))").match(pattern, position)
            if head:
                count += 1
                opened.append((count, head.end()))
            else:
                opened.append(None)
        elif token == ")" and (group := opened.pop()):
            found[group[0]] = pattern[group[1] : position]
        position += 1
    return [found[number] for number in sorted(found)]


def _class_end(pattern: str, position: int) -> int:
    """Where the character class ends that begins at ``position``; ``]`` in its first place is one of it."""
    position += 1
    position += pattern.startswith("^", position)
    position += pattern.startswith("]", position)
    while pattern[position] != "]":
        position += 2 if pattern[position] == "\\" else 1
    return position
