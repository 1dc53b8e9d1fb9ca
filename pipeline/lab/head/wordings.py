"""The words of errors, of which the manual gives few: a form for each value of the switch ``wording``."""

from __future__ import annotations

UNKNOWN = {
    "plain": "{kind} not found: {name}",
    "error": "Error: no such {kind}: {name}",
    "quoted": "The {kind} '{name}' does not exist",
}
PROPERTY = {
    "plain": "Unknown property: {name}",
    "error": "Error: {kind} has no property {name}",
    "quoted": "'{name}' is not a valid parameter",
}
VALUE = {
    "plain": "Invalid value for {name}: {value}",
    "error": "Error: {value} is not a valid {name}",
    "quoted": "The value '{value}' is not allowed for '{name}'",
}
EXISTS = {
    "plain": "{kind} already exists: {name}",
    "error": "Error: {kind} {name} already exists",
    "quoted": "The {kind} '{name}' is already there",
}


def unknown_command(word: str) -> str:
    """Seen in public: the same everywhere."""
    return f"Command not found: {word}"


def illegal_option(option: str) -> str:
    """Seen in public: the same everywhere."""
    return f"Illegal option: {option}"
