"""Parameters in texts: ``{{ name }}`` in recipes, and templates (``*.j2``) in overlay trees.

A text whose only constructs are plain ``{{ name }}`` is read and rendered with one regular expression, since
importing jinja2 takes longer than all else that a build with nothing to do has to do. Any other template is
Jinja's (``pipeline.templating``), with the same result for what both can read.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.errors import Problem, UsageError
from pipeline.nearest import nearest

if TYPE_CHECKING:
    from pipeline.templating import Templating

SUFFIX = ".j2"
"""The end of the name of a file that is a template."""

TOKEN = re.compile(r"""\{\{\s*(?:([A-Za-z_][A-Za-z0-9_]*)|'\{\{'|"\{\{")\s*\}\}|\{\{""")
"""``{{ name }}`` (group 1), a literal ``{{ '{{' }}``, or the beginning of something else."""

WHOLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
"""A text that is one parameter and nothing more keeps that parameter's type."""

LITERALS = frozenset({"true", "false", "none", "True", "False", "None"})
"""Names that are values in Jinja, so that no parameter can have them."""


ADDRESS = re.compile(r"<?[^<>\n]*\b(?:object(?: \S+)?|function \S+) at 0x[0-9a-f]{6,}>?", re.IGNORECASE)
"""What Python prints of an object that has no text of its own."""


class Mark(msgspec.Struct, frozen=True):
    """One ``{{ … }}`` of a text: a parameter, or (``name`` None) something that only Jinja can read.

    ``text`` is how it is written, as far as that can be told.
    """

    name: str | None
    line: int
    text: str


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with a template, and in which of its lines (from 1)."""

    line: int
    message: str


class Reading(msgspec.Struct, frozen=True):
    """What a template needs: every name with the line of its first use, and what is wrong with it."""

    names: Mapping[str, int]
    faults: tuple[Fault, ...] = ()


def marks(text: str) -> tuple[Mark, ...]:
    """Every ``{{`` of ``text`` in order; literal ones are left out."""
    found = []
    for match in TOKEN.finditer(text):
        if match[1] or match[0] == "{{":
            end = match.end() if match[1] else text.find("}}", match.end()) + 2
            written = text[match.start() : end if end > match.end() else None].splitlines()[0]
            found.append(Mark(match[1], text.count("\n", 0, match.start()) + 1, written))
    return tuple(found)


def spelled(value: object) -> str:
    """A parameter's value inside a text: truth values as TOML and most configuration files write them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    what, hint = _other(value)
    raise UsageError(f"{what} cannot stand inside a text", hint=hint)


def _other(value: object) -> tuple[str, str | None]:
    """What a value that is no text, number or truth value is, and what to write instead."""
    join = 'in a template say how: {{ name | join(",") }}'
    if value is None:
        return "nothing (none)", 'say what to write then: {{ name or "" }}'
    if isinstance(value, list | tuple):
        return "a list", join
    if isinstance(value, Mapping):
        return "a table", 'name its keys: {{ name["key"] }}'
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return "a sequence", join
    if isinstance(value, Callable):  # type: ignore[arg-type]
        return "a function", "call it: {{ name() }}"
    return "an object of Python", None


def put_in(text: str, parameters: Mapping[str, Any]) -> str:
    """``text`` with its plain ``{{ name }}`` replaced. Every name has to be there (see ``marks``)."""
    return TOKEN.sub(lambda match: spelled(parameters[match[1]]) if match[1] else "{{", text)


def read(text: str) -> Reading:
    """What the template ``text`` needs, without rendering it."""
    if _is_plain(text):
        names: dict[str, int] = {}
        for mark in marks(text):
            if mark.name is not None:
                names.setdefault(mark.name, mark.line)
        return Reading(names)
    return _read_with_jinja(text)


def render(text: str, parameters: Mapping[str, Any]) -> str:
    """The template ``text`` with ``parameters`` put in; all else stays, but lines of blocks only.

    Raises ``UsageError`` with the template's line when it is wrong or needs a parameter that is not given.
    """
    reading = read(text)
    problems = [Problem(f"line {fault.line}: {fault.message}") for fault in reading.faults]
    problems += [
        Problem(f'line {line}: undefined parameter "{name}"{nearest(name, parameters)}')
        for name, line in reading.names.items()
        if name not in parameters
    ]
    if problems:
        raise UsageError(problems)
    if _is_plain(text):
        _refuse_lists(reading, parameters)
        return put_in(text, parameters)
    try:
        rendered = _environment(text).from_string(text).render(parameters)
    except UsageError as error:
        [problem] = error.problems
        raise UsageError(f"{_line_of(error)}{problem.message}", hint=problem.hint) from error
    except Exception as error:
        # A template is a program of the user's: whatever it raises is wrong with it.
        said = str(error) or type(error).__name__
        raise UsageError(f"{_line_of(error)}the template cannot be rendered: {said}") from error
    _refuse_addresses(rendered, text, parameters)
    return rendered


def _refuse_lists(reading: Reading, parameters: Mapping[str, Any]) -> None:
    for name, line in reading.names.items():
        try:
            spelled(parameters[name])
        except UsageError as error:
            [problem] = error.problems
            raise UsageError(f"line {line}: {problem.message}", hint=problem.hint) from None


def _refuse_addresses(rendered: str, text: str, parameters: Mapping[str, Any]) -> None:
    """Refuse what filters and ``~`` have made a text of that is none, unless it was written so."""
    given = "\n".join(map(str, (text, *parameters.values()))).lower()
    for match in ADDRESS.finditer(rendered):
        if match[0].lower() not in given:
            raise UsageError(
                f"the template makes a text of something else, which changes with every run: {match[0]}",
                hint='call a function, {{ name.count("x") }}, and join a sequence, {{ name | join(",") }}',
            )


def _line_of(error: BaseException) -> str:
    """``line N: ``, where Jinja says that the template was; empty when it does not."""
    lines = [
        number
        for frame, number in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename == "<template>"
    ]
    return f"line {lines[-1]}: " if lines else ""


def _is_plain(text: str) -> bool:
    if "{%" in text or "{#" in text:
        return False
    return all(mark.name is not None and mark.name not in LITERALS for mark in marks(text))


def _environment(text: str) -> Templating:
    from pipeline.templating import Templating

    return Templating(text, _finalize)


def _finalize(value: object) -> object:
    from jinja2 import Undefined

    return value if isinstance(value, Undefined) else spelled(value)


def _read_with_jinja(text: str) -> Reading:
    from jinja2 import TemplateSyntaxError, meta, nodes

    environment = _environment(text)
    try:
        tree = environment.parse(text)
        environment.compile(tree, raw=True)
    except TemplateSyntaxError as error:
        return Reading({}, (Fault(error.lineno, error.message or "not a Jinja template"),))
    undeclared = meta.find_undeclared_variables(tree) - environment.globals.keys()
    names: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.name in undeclared and node.ctx == "load":
            names[node.name] = min(node.lineno, names.get(node.name, node.lineno))
    others = tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))
    faults = tuple(
        Fault(node.lineno, "a template stands alone: it cannot include, import or extend others")
        for node in others
    )
    return Reading(dict(sorted(names.items(), key=lambda item: item[1])), faults)
