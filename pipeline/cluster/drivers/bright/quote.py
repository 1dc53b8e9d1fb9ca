"""Values as arguments of cmsh that can be nothing but an argument.

cmsh is no shell: ``$`` and backquotes mean nothing to it. Its manual shows values with blanks in double
quotes and says that ``;`` ends a command, ``(`` and ``)`` enclose those of foreach, ``|``, ``<``, ``>`` and
``!`` reach the outside. Whether a backslash takes away a quote's meaning is not documented. So a value with
quotes or backslashes is written with backslashes only if, read the other way, it could still be no command;
reading it back tells whether it arrived.
"""

from __future__ import annotations

import re

PLAIN = re.compile(r"[A-Za-z0-9_./:,=+@%][A-Za-z0-9_./:,=+@%-]*\Z")
"""What needs no quotes. A leading ``-`` could be an option, ``..`` alone goes up, ``/`` alone goes home."""

NAVIGATION = frozenset({"/", ".", ".."})

BREAKS = frozenset(";()|<>!&`{}\t")
"""What could end a command or reach the outside, were it not inside quotes."""

ESCAPED = frozenset('"\\')

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
"""Names of objects: nothing that a node list or foreach would take for something else."""


def unsafe(value: str) -> str:
    """Why ``value`` can't be an argument of cmsh; empty if it can."""
    control = next((character for character in value if ord(character) < 32 or ord(character) == 127), None)
    if control is not None:
        return f"has the control character {control!r}; a command of cmsh is one line"
    if any(0xD800 <= ord(character) < 0xE000 for character in value):
        return "is not valid Unicode"
    if value != value.strip():
        return "begins or ends with a blank; tables of cmsh don't show it, so it could not be read back"
    if ESCAPED.intersection(value):
        broken = sorted(BREAKS.intersection(value))
        if broken:
            return (
                f"has a double quote or a backslash together with {' '.join(broken)}; "
                "what stands behind the quote could be taken for a command"
            )
    return ""


def argument(value: str) -> str:
    """``value`` as one argument. Call it with what ``unsafe`` has nothing against."""
    assert not unsafe(value)
    if PLAIN.match(value) and value not in NAVIGATION and ".." not in value:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unsafe_name(name: str) -> str:
    """Why ``name`` can't be the name of an object in a command of cmsh; empty if it can."""
    if NAME.match(name) and ".." not in name:
        return ""
    return "is no name that cmsh takes: letters, digits, '_', '.' and '-', beginning with a letter or a digit"
