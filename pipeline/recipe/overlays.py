"""The overlay trees that a stage names: that they are there and can be laid, and their templates rendered."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.nearest import nearest
from pipeline.recipe.documents import read_text
from pipeline.recipe.findings import where
from pipeline.recipe.kinds import there_are
from pipeline.recipe.model import Place
from pipeline.recipe.names import tree_name_fault
from pipeline.recipe.scopes import Scope
from pipeline.templates import SUFFIX, marks, read


def tree_fault(name: str, overlays: Path) -> str | None:
    """Why there is no overlay tree ``name``; None when there is one."""
    fault = tree_name_fault(name)
    if fault:
        return f'overlay "{name}" {fault}'
    tree = overlays / name
    if tree.is_dir():
        return (
            None
            if tree.resolve().is_relative_to(overlays.resolve())
            else f'overlay "{name}" leads out of overlays/'
        )
    if tree.exists() or tree.is_symlink():
        return f'overlay "{name}" is no directory'
    known = [path.name for path in overlays.iterdir() if path.is_dir()] if overlays.is_dir() else []
    return f'no overlay "{name}"{nearest(name, known) or there_are(known)}'


def parameters_of(tree: Path, destination: str, scope: Scope, user: Place) -> list[str]:
    """The parameters that the templates in ``tree`` use, looked up in ``scope``.

    ``user`` is the stage that lays it at ``destination``.
    """
    from pipeline.fileops.tree import unfit  # only where there is a tree

    used: dict[str, None] = {}
    try:
        for place, message in unfit(tree, destination).items():
            scope.findings.add(place, None, message, f"it is laid at {where(user)}")
    except PipelineError as error:
        for problem in error.problems:
            scope.findings.add(Path(problem.where or tree), None, problem.message)
        scope.blind = True
        return []
    for file in templates_in(tree):
        text = read_text(file, scope.findings)
        if text is None:
            scope.blind = True
            continue
        reading = read(text)
        for fault in reading.faults:
            scope.findings.add(file, fault.line, fault.message)
            scope.blind = True
        for name, line in reading.names.items():
            scope.used.add(name)
            used[name] = None
            if name not in scope.known():
                near = nearest(name, scope.known()) or there_are(scope.known())
                scope.findings.add(
                    file, line, f'undefined parameter "{name}"{near}', f"it is laid at {where(user)}"
                )
        for mark in marks(text):
            if isinstance(scope.parameters.get(mark.name or ""), tuple):
                how = f'{{{{ {mark.name} | join(" ") }}}}'
                scope.findings.add(
                    file, mark.line, f'the parameter "{mark.name}" is a list', f"say how: {how}"
                )
    return sorted(used)


def templates_in(tree: Path) -> Iterator[Path]:
    """The templates of an overlay tree, sorted; links are laid as they are, so they are none."""
    for entry in sorted(os.scandir(tree), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from templates_in(Path(entry.path))
        elif entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
