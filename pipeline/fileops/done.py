"""Telling a replacement that was already made from one that has nothing to replace."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from pipeline.fileops.text import body

REFERENCE = re.compile(r"\\(?:g<(?P<name>\w+)>|(?P<number>[1-9]\d?)|(?P<escape>.))", re.DOTALL)
"""What ``re.sub`` reads in a replacement: a group by name or number, or an escaped character."""

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}

KINDS = ((string.ascii_lowercase, 13), (string.ascii_uppercase, 13), (string.digits, 5))


OTHER_WORD = str.maketrans(
    string.ascii_letters + string.digits,
    "".join(kind[half:] + kind[:half] for kind, half in KINDS),
)
"""Makes another word of the same kinds of characters, such as Cbeg of Port."""


def replaced_lines(pattern: str, replacement: str, lines: Sequence[str]) -> list[int]:
    """Where ``lines`` are for certain what ``re.sub(pattern, replacement, line)`` leaves of a line.

    Only whole lines are: a part of one says too little, ``no`` stands in many. A group of the replacement
    stands for whatever its part of ``pattern`` matches, but not for the word that the line begins with. A
    pattern that does not cover the line has to name that word, for it is no more than likely to be the same.
    """
    result = _result_pattern(pattern, replacement)
    if not result:
        return []
    try:
        known = re.compile(result)
    except re.error:  # a group that refers to another one, which is not there on its own
        return []
    texts = [body(line) for line in lines]
    count = len(REFERENCE.sub(_escaped, replacement).split("\n"))
    windows = ("\n".join(texts[start : start + count]) for start in range(len(texts) - count + 1))
    return [start for start, text in enumerate(windows) if _is_told(known, text, pattern)]


def _is_told(known: re.Pattern[str], text: str, pattern: str) -> bool:
    if not known.fullmatch(text):
        return False
    word = re.search(r"\w+", text)
    if word is None:
        return _covers(pattern)
    other = text[: word.start()] + word[0].translate(OTHER_WORD) + text[word.end() :]
    return not known.fullmatch(other) and (_covers(pattern) or word[0] in _words(pattern))


def _covers(pattern: str) -> bool:
    """Whether ``pattern`` is seen to match from the beginning of a line to its end."""
    end = re.search(r"(?<!\\)(\$|\.[*+]\$?)\)*$", pattern)
    return pattern.startswith("^") and end is not None and "|" not in pattern


def _words(pattern: str) -> list[str]:
    return re.findall(r"\w+", re.sub(r"\\[a-zA-Z]", " ", pattern))


def _escaped(match: re.Match[str]) -> str:
    return ESCAPES.get(match["escape"], match["escape"]) if match["escape"] is not None else ""


def _result_pattern(pattern: str, replacement: str) -> str:
    groups = group_texts(pattern)
    names = re.compile(pattern).groupindex
    parts, position = [], 0
    for match in REFERENCE.finditer(replacement):
        parts.append(re.escape(replacement[position : match.start()]))
        position = match.end()
        if match["escape"] is not None:
            parts.append(re.escape(_escaped(match)))
            continue
        name = match["number"] or match["name"]
        number = int(name) if name.isdigit() else names[name]
        # A named group may not be named twice in one pattern; here the names mean nothing.
        parts.append("(?:" + re.sub(r"\(\?P<\w+>", "(?:", groups[number - 1]) + ")")
    parts.append(re.escape(replacement[position:]))
    return "".join(parts)


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
