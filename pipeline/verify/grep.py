"""A part of grep's basic regular expressions as Python's, for those whose meaning is certain.

Literals, ``.``, ``[…]``, ``*``, ``\\+``, ``\\?``, ``^`` at the start and ``$`` at the end, as GNU grep reads
them under LANG=C (info grep, "Regular Expressions"). Groups, alternatives, intervals, back-references and
word anchors are left to the image's grep; so is binary content, which grep splits into lines in its own way.
"""

from __future__ import annotations

import re

CLASSES = {
    "[:space:]": r"\t\n\x0b\x0c\r ",
    "[:blank:]": r"\t ",
    "[:digit:]": "0-9",
    "[:alpha:]": "A-Za-z",
    "[:alnum:]": "A-Za-z0-9",
    "[:upper:]": "A-Z",
    "[:lower:]": "a-z",
    "[:xdigit:]": "0-9A-Fa-f",
}
ESCAPED_LITERALS = frozenset(r".[]*^$\/")
STAR = {"*": "*", r"\+": "+", r"\?": "?"}
BRACKET = re.compile(r"\[(?P<not>\^?)(?P<first>\]?)(?P<rest>(?:\[:[a-z]+:\]|[^]\[\\&|~])*)\]")
TOKEN = re.compile(r"\\.|.", re.DOTALL)


def translate(pattern: str) -> re.Pattern[bytes] | None:
    """The same expression for ``re``, to be searched for in one line; None where it is not certain."""
    if "\n" in pattern or not pattern.isascii():
        return None
    out: list[str] = []
    at, end = 0, len(pattern)
    atom = False
    while at < end:
        bracket = BRACKET.match(pattern, at)
        if bracket:
            translated = _bracket(bracket)
            if translated is None:
                return None
            out.append(translated)
            at, atom = bracket.end(), True
            continue
        matched = TOKEN.match(pattern, at)
        assert matched is not None
        token, last = matched.group(), matched.end() == end
        if token in STAR:
            # At the start grep takes a star for itself, after a star it is another one: let grep say.
            if not atom:
                return None
            out.append(STAR[token])
            atom = False
        elif token == "^" and at == 0:
            out.append(r"\A")
        elif token == "$" and last:
            out.append(r"\Z")
        else:
            literal = _literal(token)
            if literal is None:
                return None
            out.append(literal)
            atom = True
        at = matched.end()
    try:
        return re.compile("".join(out).encode(), re.DOTALL)
    except re.error:
        return None


def matches(expression: re.Pattern[bytes], content: bytes) -> bool | None:
    """Whether a line of ``content`` matches; None for binary content."""
    if b"\0" in content:
        return None
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return any(expression.search(line) for line in lines)


def _literal(token: str) -> str | None:
    if token == ".":
        return "."
    if token in ("^", "$", "["):
        return None
    if len(token) == 1:
        return None if token == "\\" else re.escape(token)
    return re.escape(token[1]) if token[1] in ESCAPED_LITERALS else None


def _bracket(bracket: re.Match[str]) -> str | None:
    rest = bracket["rest"]
    # [:space:] without a second pair of brackets is an error for grep, whatever stands between the colons.
    if len(rest) > 1 and rest[0] == rest[-1] == ":":
        return None
    for name, members in CLASSES.items():
        rest = rest.replace(name, members)
    if "[" in rest or "--" in rest or not (bracket["first"] or rest):
        return None
    first = r"\]" if bracket["first"] else ""
    # A range of letters is one of bytes under LANG=C, as it is for re.
    if any(low > high for low, high in re.findall("(.)-(.)", rest)):
        return None
    start = r"\^" if not bracket["not"] and rest.startswith("^") else ""
    return f"[{bracket['not']}{first}{start}{rest[1:] if start else rest}]"
