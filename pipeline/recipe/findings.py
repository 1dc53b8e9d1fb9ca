"""What is wrong with the files that the user wrote, gathered until all of it can be told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.errors import Problem, UsageError
from pipeline.recipe.lines import KeyPath, line_of, lines_of, stage_lines
from pipeline.recipe.model import Place
from pipeline.regular import content_of


def shown(file: Path) -> str:
    """``file`` as a person at this directory would write it: relative when it lies below."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)


def where(place: Place) -> str:
    """``recipes/x/recipe.toml:31``: the line of the stage; only the file when it is not there any more."""
    try:
        headers = stage_lines(content_of(place.file))
    except OSError:
        headers = []
    if len(headers) == place.of:
        line: int | None = headers[place.number - 1]
    else:  # written in another way, or edited since
        line = _lines(place.file).get(("stage", place.number - 1))
    return shown(place.file) if line is None else f"{shown(place.file)}:{line}"


def position(file: Path, at: KeyPath) -> str:
    """``file:line`` of a key; only the file when it is not there."""
    line = line_of(_lines(file), at)
    return shown(file) if line is None else f"{shown(file)}:{line}"


class Findings:
    """Problems of many files. The same one found on two ways is told once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Path, KeyPath | int | None, str], str | None] = {}
        self.told = 0
        """How often something was added, repetitions included."""

    def add(self, file: Path, at: KeyPath | int | None, message: str, hint: str | None = None) -> None:
        """Something is wrong in ``file``, at a key, at a line, or (None) as a whole."""
        self.told += 1
        self._found.setdefault((file, at, message), hint)

    def raise_if_any(self) -> None:
        """Raise ``UsageError`` with every problem, file by file as they were met, by line within a file."""
        if self._found:
            raise UsageError(self._problems())

    def _problems(self) -> list[Problem]:
        files = list(dict.fromkeys(file for file, _, _ in self._found))
        lines = {
            file: _lines(file)
            for file in files
            if any(isinstance(at, tuple) for other, at, _ in self._found if other == file)
        }
        problems = []
        for (file, at, message), hint in self._found.items():
            line = line_of(lines[file], at) if isinstance(at, tuple) else at
            place = shown(file) if line is None else f"{shown(file)}:{line}"
            problems.append((files.index(file), line or 0, Problem(message, place, hint)))
        return [problem for _, _, problem in sorted(problems, key=lambda entry: entry[:2])]


def _lines(file: Path) -> Mapping[KeyPath, int]:
    try:
        return lines_of(content_of(file))
    except OSError:
        return {}


def positions(file: Path, places: Iterable[KeyPath]) -> list[str]:
    """``position`` of each of many keys of one file, which is read once."""
    lines = _lines(file)
    found = [line_of(lines, at) for at in places]
    return [shown(file) if line is None else f"{shown(file)}:{line}" for line in found]
