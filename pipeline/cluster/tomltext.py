"""Tables of a cluster file as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from pipeline.cluster.objects import Value
from pipeline.printable import plain

BARE = re.compile(r"[A-Za-z0-9_-]+")


def table(header: str, keys: Mapping[str, Value | Sequence[str] | None]) -> str:
    """``[[header]]`` with its keys; those that are nothing are left out."""
    return f"[[{header}]]\n" + lines(keys)


def lines(keys: Mapping[str, Value | Sequence[str] | None]) -> str:
    """The keys of a table."""
    return "".join(
        f"{key(name)} = {value(each)}\n" for name, each in keys.items() if each not in (None, "", ())
    )


def key(name: str) -> str:
    """A part of a key."""
    return name if BARE.fullmatch(name) else text(name)


def value(each: Value | Sequence[str] | None) -> str:
    """A value; a sequence becomes an array."""
    if isinstance(each, bool):
        return "true" if each else "false"
    if isinstance(each, int):
        return str(each)
    if isinstance(each, str):
        return text(each)
    return f"[{', '.join(text(member) for member in _strings(each))}]"


def text(words: str) -> str:
    """A string; what would be a template is one that gives the text itself."""
    escaped = re.sub(r"\{\{|\{%|\{#", lambda match: "{{ '" + match[0] + "' }}", words)
    return json.dumps(escaped, ensure_ascii=False).replace("\x7f", "\\u007f")


def comment(words: str) -> str:
    """``words`` as one line of a comment."""
    shown = plain(words).replace("\n", "\\n").encode(errors="backslashreplace").decode()
    return f"# {shown}".rstrip() + "\n"


def _strings(each: Iterable[str] | None) -> Iterable[str]:
    return each or ()
