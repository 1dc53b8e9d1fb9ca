"""Setting and removing options of INI texts; every other line stays as it is, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.fileops.ini import COMMENT, Option, Part, options, parse
from pipeline.fileops.text import Lines, body, put, split

SECTIONED, PLAIN = " = ", "="
"""Between key and value where a file shows no habit of its own: with sections, and without."""

BYTE_ORDER_MARK = "\ufeff"
"""Editors of Windows put it before a text. It is no part of the first line, which may be a header."""


def change(
    text: str,
    values: Mapping[str, Mapping[str, Sequence[str]]],
    removed: Mapping[str, Sequence[str]],
) -> str:
    """``text`` without the ``removed`` keys ({section: keys}) and with ``values`` ({section: {key: values}}).

    A key with several values stands once for each. A byte order mark stays in front of all. Doing it again
    changes nothing.
    """
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    lines = split(text.removeprefix(mark))
    for section, keys in removed.items():
        for key in keys:
            lines = _replace(lines, options(parse(lines), section, key), ())
    for section, keyed in values.items():
        for key, wanted in keyed.items():
            lines = _set(lines, section, key, wanted)
    return mark + "".join(lines)


def _set(lines: Lines, section: str, key: str, values: Sequence[str]) -> Lines:
    parts = parse(lines)
    there = options(parts, section, key)
    if there:
        return lines if [option.value for option in there] == list(values) else _replace(lines, there, values)
    own = [part for part in parts if part.section == section]
    if not own:
        return _new_section(lines, section, key, values)
    commented = [option for part in own for option in part.commented if option.key == key]
    if commented:
        model = commented[-1]
        return _insert(lines, model.end, model.indent, key, _habit(model.delimiter), values)
    at, part = _section_end(lines, own[-1]), own[-1]
    indent = part.options[-1].indent if part.options else ""
    return _insert(lines, at, indent, key, _usual_delimiter(parts, section), values)


def _replace(lines: Lines, there: Sequence[Option], values: Sequence[str]) -> Lines:
    """The values in place of the options that are there; what is over is removed or put behind."""
    kept = there[: len(values)]
    if kept and len(values) > len(kept):
        last = kept[-1]
        rest = values[len(kept) :]
        lines = _insert(lines, last.end, last.indent, last.key, _delimiter_of(last), rest)
    for option in reversed(there[len(values) :]):
        lines = put(lines, option.start, option.end, ())
    for option, value in reversed(list(zip(kept, values, strict=False))):
        if option.value != value:
            text = f"{option.indent}{option.key}{_delimiter_of(option)}{value}".rstrip()
            lines = put(lines, option.start, option.end, [text])
    return lines


def _insert(lines: Lines, at: int, indent: str, key: str, delimiter: str, values: Sequence[str]) -> Lines:
    new = [f"{indent}{key}{delimiter}{value}".rstrip() for value in values]
    inserted = put(lines, at, at, new)
    last = at + len(new)
    swallowed = any(
        option.end > last for part in parse(inserted) for option in part.options if option.start < last
    )
    # An indented line below would become part of the value; a blank line keeps it out.
    return put(lines, at, at, [*new, ""]) if swallowed else inserted


def _new_section(lines: Lines, section: str, key: str, values: Sequence[str]) -> Lines:
    gap = [""] if lines and body(lines[-1]).strip() else []
    delimiter = _usual_delimiter(parse(lines), section)
    new = [*gap, f"[{section}]", *(f"{key}{delimiter}{value}".rstrip() for value in values)]
    return put(lines, len(lines), len(lines), new)


def _section_end(lines: Lines, part: Part) -> int:
    """Where a new option goes: behind what ``part`` holds, before blanks and the next header's comment."""
    end = part.end
    if end < len(lines):
        above = end
        while above > part.start and COMMENT.match(body(lines[above - 1])):
            above -= 1
        if above > part.start and not body(lines[above - 1]).strip():
            end = above
    while end > part.start and not body(lines[end - 1]).strip():
        end -= 1
    return end


def _usual_delimiter(parts: Sequence[Part], section: str) -> str:
    """As in the section's last option, or the file's, or in what its comments show."""
    own = [part for part in parts if part.section == section]
    for group in (own, parts):
        for part in reversed(group):
            for option in [*reversed(part.options), *reversed(part.commented)]:
                if option.delimiter:
                    return _habit(option.delimiter)
    return SECTIONED if section else PLAIN


def _habit(delimiter: str) -> str:
    """The same sign with one blank or none on both sides, whatever was aligned there."""
    sign = delimiter.strip() or "="
    return f" {sign} " if delimiter[:1].isspace() or (sign == ":" and delimiter != ":") else sign


def _delimiter_of(option: Option) -> str:
    """As it stands there; where the value was empty, a blank behind the sign is not to be seen."""
    if not option.delimiter.strip():
        return SECTIONED
    if option.value or not option.delimiter[:1].isspace():
        return option.delimiter
    return _habit(option.delimiter)
