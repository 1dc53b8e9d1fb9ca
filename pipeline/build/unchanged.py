"""That what a stage reads where it lies, outside the store, is what its key says: from beginning to end."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.sources.digests import tree_digest

NAMED = 5
"""Paths of a tree that are named; of the others only the number is told."""
AGAIN = "nothing of this stage is kept: run the same command again when nobody writes there"

Status = tuple[int, ...]
"""What stat(2) says of a file that changes with whatever is done to it; nobody can set its ctime."""


class Lying(msgspec.Struct, frozen=True):
    """The files and trees that a stage reads where they lie, with the sha256 that each has in its key, and a
    look at them from before it began.

    Digests alone would not tell of what was replaced and put back, the look alone not of what was changed
    before it was taken.
    """

    files: Mapping[Path, str]
    trees: Mapping[Path, str]
    before: Mapping[Path, Mapping[str, Status]]

    @classmethod
    def now(cls, files: Mapping[Path, str], trees: Mapping[Path, str]) -> Lying:
        """Look at them; what is in the way of that is told by ``confirm``."""
        return cls(files, trees, _look(files, trees))

    def confirm(self, digest: Callable[[Path], str]) -> None:
        """Raise ``PipelineError`` with all that is not what it was; ``digest`` is that of a file."""
        after = _look(self.files, self.trees)
        problems = [
            Problem(f"{path} was changed while the stage ran", hint=AGAIN)
            for path, sha256 in self.files.items()
            if after[path] != self.before[path] or digest(path) != sha256
        ]
        for tree, sha256 in self.trees.items():
            changed = _changed(self.before[tree], after[tree])
            if changed:
                named = _named(str(tree / name) for name in changed)
                problems.append(Problem(f"the overlay was changed while it was laid: {named}", hint=AGAIN))
            elif tree_digest(tree) != sha256:
                problems.append(Problem(f"{tree} was changed after its stage was planned", hint=AGAIN))
        if problems:
            raise PipelineError(problems)


def _look(files: Iterable[Path], trees: Iterable[Path]) -> dict[Path, dict[str, Status]]:
    found = {path: _status({}, "", path) for path in files}
    for tree in trees:
        found[tree] = _status({}, "", tree)
        for name, path in _below(os.fspath(tree), ""):
            _status(found[tree], name, path, follow=False)
    return found


def _below(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    """(name in the tree, path) of all below ``folder``."""
    try:
        with os.scandir(folder) as opened:
            entries = list(opened)
    except OSError:  # its status, or that of a thing in it, says that it is another one
        return
    for entry in entries:
        name = prefix + entry.name
        yield name, entry.path
        if entry.is_dir(follow_symlinks=False):
            yield from _below(entry.path, f"{name}/")


def _status(
    into: dict[str, Status], name: str, path: Path | str, *, follow: bool = True
) -> dict[str, Status]:
    try:
        found = os.stat(path, follow_symlinks=follow)
        size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
        times = (found.st_mtime_ns, found.st_ctime_ns)
        into[name] = (found.st_dev, found.st_ino, found.st_mode, size, *times)
    except OSError as error:
        into[name] = (error.errno or 0,)
    return into


def _changed(before: Mapping[str, Status], after: Mapping[str, Status]) -> list[str]:
    """The names of what differs; a folder only when nothing below it does, which made it another one."""
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return [name for name in names if not any(_is_below(other, name) for other in names)]


def _is_below(name: str, folder: str) -> bool:
    return name.startswith(f"{folder}/") if folder else name != ""


def _named(paths: Iterable[str]) -> str:
    every = list(paths)
    more = len(every) - NAMED
    return ", ".join(every[:NAMED]) + (f" and {more} more" if more > 0 else "")
