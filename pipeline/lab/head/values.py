"""A property's value as it is typed, kept and shown."""

from __future__ import annotations

import os
import re

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.kinds import Property
from pipeline.lab.head.objects import Object, Value
from pipeline.lab.head.wordings import VALUE

YES = frozenset({"yes", "1", "true", "on"})
NO = frozenset({"no", "0", "false", "off"})
ADDRESS = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")


def typed(prop: Property, words: list[str], wording: str, root: str) -> Value:
    """What ``set PROPERTY words`` means. Raises ``CommandError``."""
    if prop.type == "list":
        return list(words)
    if len(words) != 1:
        raise CommandError(f"{prop.name}: {'no value given' if not words else 'too many arguments'}")
    word = words[0]
    refused = CommandError(VALUE[wording].format(name=prop.name, value=word))
    if prop.type == "bool":
        if word.lower() not in YES | NO:
            raise refused
        return word.lower() in YES
    if prop.type == "int":
        if not re.fullmatch(r"-?\d{1,10}", word):
            raise refused
        return int(word)
    if prop.type == "choice":
        for choice in prop.choices:
            if choice.lower() == word.lower():
                return choice
        raise refused
    if prop.type == "file":
        return _file(word, refused, root)
    wrong = (prop.type == "ip" and not ADDRESS.fullmatch(word)) or (
        prop.type == "path" and (not word.startswith("/") or re.search(r"/\.\.?(/|$)|\s", word) is not None)
    )
    if wrong:
        raise refused
    return word


def _file(word: str, refused: CommandError, root: str) -> str:
    """Texts of several lines are given as a file on the head node."""
    if not word:
        return ""
    if not word.startswith("/"):
        raise refused
    for path in (f"{root}{word}", word):
        if os.path.isfile(path):
            with open(path, errors="replace") as file:
                return file.read()
    raise refused


def shown(prop: Property, value: Value) -> str:
    """As ``list`` and ``show`` have it."""
    if prop.type == "file":
        return f"<{len(str(value).encode())} bytes>"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(value)
    return str(value)


def got(prop: Property, value: Value) -> str:
    """As ``get`` prints it: a list has a line for each member, a text is whole."""
    if prop.type == "file":
        return str(value).removesuffix("\n")
    return "\n".join(value) if isinstance(value, list) else shown(prop, value)


def stored(one: Object, prop: Property, value: Value) -> None:
    """Keep ``value``; the state has only what differs from the default, or from what is inherited."""
    if value == prop.default and not prop.inherits:
        one["values"].pop(prop.name, None)
    else:
        one["values"][prop.name] = value
