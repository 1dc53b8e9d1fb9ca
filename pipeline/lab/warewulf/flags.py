"""Options as pflag parses them: unknown ones refused, lists as CSV, ``--`` ends them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

TRUE = frozenset({"1", "t", "true", "yes"})
FALSE = frozenset({"0", "f", "false", "no"})
UNSET = frozenset({"unset", "undef", "delete", "nil", "--", "0.0.0.0"})


class RefusedError(Exception):
    """What wwctl says before it ends with 255."""


def parse(argv: Sequence[str], known: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Options and the rest. ``known``: each long option → str, list, map, ip, wwbool, bool."""
    options: dict[str, Any] = {}
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            return options, [*rest, *words]
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, given, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise RefusedError(f"unknown shorthand flag: {word[1]!r} in {word}")
        kind = known.get(name)
        if kind is None:
            raise RefusedError(f"unknown flag: --{name}")
        if not given:
            if kind in ("bool", "wwbool"):
                value = "true"
            elif not words:
                raise RefusedError(f"flag needs an argument: --{name}")
            else:
                value = words.pop(0)
        options[name] = _value(name, kind, value, options.get(name))
    return options, rest


def _value(name: str, kind: str, value: str, before: Any) -> Any:
    wrong = f'invalid argument "{value}" for "--{name}" flag: '
    if kind in ("list", "map"):
        # pflag takes a map with a single = as it is, but for quotes around it.
        members = [value.strip('"')] if kind == "map" and value.count("=") == 1 else _csv(value, wrong)
        if kind == "list":
            return [*(before or ()), *members]
        pairs = [member.partition("=") for member in members]
        if not all(middle for _, middle, _ in pairs):
            raise RefusedError(f"{wrong}{value} must be formatted as key=value")
        return {**(before or {}), **{key: text for key, _, text in pairs}}
    if kind in ("bool", "wwbool"):
        if value.lower() in UNSET and kind == "wwbool":
            return value
        if value.lower() not in TRUE | FALSE:
            raise RefusedError(f"{wrong}value for WWbool can't be set from {value}")
        return "true" if value.lower() in TRUE else "false"
    if kind == "ip":
        try:
            return str(ip_address(value.strip()))
        except ValueError:
            raise RefusedError(f"{wrong}failed to parse IP: {value!r}") from None
    return value


def _csv(value: str, wrong: str) -> list[str]:
    """One record as encoding/csv reads it."""
    if not value:
        return []
    if value.count('"') % 2:
        raise RefusedError(f'{wrong}parse error on line 1, column {len(value)}: bare " in non-quoted-field')
    try:
        return next(csv.reader([value], strict=True))
    except csv.Error as error:
        raise RefusedError(f"{wrong}{error}") from None
