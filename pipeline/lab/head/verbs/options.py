"""Options of a command: letters with or without a value."""

from __future__ import annotations

from pipeline.lab.head.errors import CommandError
from pipeline.lab.head.session import Call
from pipeline.lab.head.wordings import illegal_option


def options(call: Call, with_value: str, without: str = "") -> tuple[dict[str, str], list[str]]:
    """Letters with their values, and the other words. Raises ``CommandError`` for another letter."""
    found: dict[str, str] = {}
    rest: list[str] = []
    words = iter(call.words)
    for word in words:
        if not word.startswith("-") or len(word) == 1:
            rest.append(word)
            continue
        letter, joined = word[1], word[2:]
        if letter in with_value:
            value = joined or next(words, None)
            if value is None:
                raise CommandError(f"{call.verb}: option -{letter} takes a value")
            found[letter] = value
        elif letter in without and not joined:
            found[letter] = ""
        else:
            raise CommandError(illegal_option(letter))
    return found, rest
