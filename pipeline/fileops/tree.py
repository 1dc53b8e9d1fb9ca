"""Laying a tree of files over an image: planned outside from the project's folder, done in the chroot."""

from __future__ import annotations

import filecmp
import os
import posixpath
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec

from pipeline.errors import PipelineError, Problem
from pipeline.fileops.owners import Owner, give, look_up
from pipeline.fileops.place import folder_of, kind, make_folders, real_path, swap_in, telling, why_lost

TEMPLATE = ".j2"


class Entry(msgspec.Struct, frozen=True):
    """One thing to lay at ``path`` of the image.

    A file's content is in ``source``, a path in the chroot, or in ``content``.

    ``mode`` is None for links, ``target`` for all else.
    """

    type: Literal["directory", "file", "link"]
    path: str
    owner: str
    mode: int | None
    source: str | None = None
    content: bytes | None = None
    target: str | None = None


class Look(msgspec.Struct, frozen=True):
    """How what is laid shall look: ``modes`` and ``owners`` map globs of the tree; the last match counts."""

    owner: str
    modes: Mapping[str, str]
    owners: Mapping[str, str]


def plan(
    host: Path, inside: str, destination: str, look: Look, render: Callable[[str], str]
) -> tuple[Entry, ...]:
    """What to lay: the tree in ``host``, which the chroot sees at ``inside``. Folders come first.

    Raises ``PipelineError`` with everything that cannot be laid, and with globs that match nothing.
    """
    entries: dict[str, Entry] = {}
    problems: list[Problem] = []
    used: set[str] = set()
    found = list(_walk(host))
    faults = dict(_faults(found))
    for item in found:
        name, file, mode, rendered = item.name, host / item.relative, item.mode, item.is_template
        path = posixpath.join(destination, name)
        owner = _last_match(look.owners, name, used) or look.owner
        said = None if stat.S_ISLNK(mode) else _last_match(look.modes, name, used)
        if item.relative in faults:
            problems.append(Problem(faults[item.relative], where=str(file)))
        elif stat.S_ISLNK(mode):
            entries[path] = Entry("link", path, owner, None, target=os.readlink(file))
        elif stat.S_ISDIR(mode):
            entries[path] = Entry("directory", path, owner, int(said or "755", 8))
        elif stat.S_ISREG(mode):
            default = "755" if mode & stat.S_IXUSR else "644"
            try:
                content = render(file.read_bytes().decode()).encode() if rendered else None
            except UnicodeDecodeError:
                problems.append(Problem("a template has to be UTF-8 text", where=str(file)))
                continue
            except PipelineError as error:
                problems += [Problem(p.message, str(file), p.hint, p.command) for p in error.problems]
                continue
            source = None if rendered else posixpath.join(inside, item.relative)
            entries[path] = Entry("file", path, owner, int(said or default, 8), source, content)
    for option, globs in (("modes", look.modes), ("owners", look.owners)):
        problems += [
            Problem(f"{option}: nothing in the tree matches {glob!r}", where=str(host))
            for glob in globs
            if glob not in used
        ]
    if problems:
        raise PipelineError(problems)
    return tuple(entries.values())


def lay(destination: str, entries: Sequence[Entry]) -> None:
    """Lay ``entries`` below ``destination``; to be called in the chroot.

    Directories that are there stay as they are. Raises ``PipelineError`` with everything that is in the way
    before anything is written.
    """
    problems: list[Problem] = []
    owners: dict[str, Owner] = {}
    for name in dict.fromkeys(entry.owner for entry in entries):
        try:
            owners[name] = look_up(name)
        except PipelineError as error:
            problems += error.problems
    for entry in entries:
        try:
            _check_way(entry)
        except PipelineError as error:
            problems += error.problems
    if problems:
        raise PipelineError(dict.fromkeys(problems))
    make_folders(destination)
    for entry in entries:
        with telling(entry.path):
            _lay(entry, owners[entry.owner])


def unfit(host: Path, destination: str) -> dict[Path, str]:
    """What in a tree cannot be laid at ``destination``, and why. Raises ``PipelineError``."""
    found = list(_walk(host))
    if all(item.is_directory for item in found):
        return {host: "has no file in it: there is nothing to lay"}
    lost = ((i.relative, why_lost(posixpath.join(destination, i.name))) for i in found if not i.is_directory)
    told = {relative: f"would be lost: it {why}" for relative, why in lost if why is not None}
    return {host / relative: message for relative, message in (told | dict(_faults(found))).items()}


class _Found(msgspec.Struct, frozen=True):
    """Something in a tree. ``name`` is what it is laid as: ``relative``, a template without its suffix."""

    relative: str
    name: str
    mode: int
    is_template: bool

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


def _faults(tree: Iterable[_Found]) -> Iterator[tuple[str, str]]:
    given: dict[str, str] = {}
    for item in tree:
        if item.name in given:
            yield item.relative, f"is laid as {item.name}, and so is {given[item.name]}"
        elif not (stat.S_ISLNK(item.mode) or stat.S_ISDIR(item.mode) or stat.S_ISREG(item.mode)):
            yield item.relative, f"is {kind(item.mode)}, which cannot be laid"
        given.setdefault(item.name, item.relative)


def _walk(host: Path) -> Iterator[_Found]:
    found = []
    for folder, folders, files in os.walk(host, onerror=_raise):
        found += [os.path.relpath(os.path.join(folder, name), host) for name in [*folders, *files]]
    for relative in sorted(found, key=lambda name: name.split("/")):
        mode = (host / relative).lstat().st_mode
        is_template = relative.endswith(TEMPLATE) and stat.S_ISREG(mode)
        name = relative.removesuffix(TEMPLATE) if is_template else relative
        yield _Found(relative, name, mode, is_template)


def _raise(error: OSError) -> None:
    raise PipelineError(error.strerror or str(error), where=error.filename)


def _last_match(globs: Mapping[str, str], name: str, used: set[str]) -> str | None:
    matching = [glob for glob in globs if fnmatchcase(name, glob.lstrip("/"))]
    used.update(matching)
    return globs[matching[-1]] if matching else None


def _check_way(entry: Entry) -> None:
    if not os.path.lexists(entry.path):
        return
    there = os.lstat(entry.path).st_mode
    if entry.type == "directory":
        mode = os.stat(real_path(entry.path)).st_mode
        if not stat.S_ISDIR(mode):
            raise PipelineError(
                f"the image has {kind(mode)} where the tree has a directory", where=entry.path
            )
    elif stat.S_ISDIR(there) or (entry.type == "file" and os.path.isdir(entry.path)):
        what = "a file" if entry.type == "file" else "a link"
        raise PipelineError(f"the image has a directory where the tree has {what}", where=entry.path)


def _lay(entry: Entry, owner: Owner) -> None:
    if entry.type == "directory":
        make_folders(entry.path, owner, entry.mode or 0)
        return
    folder = make_folders(posixpath.dirname(entry.path))
    path = posixpath.join(folder, posixpath.basename(entry.path))
    folder_of(path)
    if entry.type == "link" and entry.target is not None:
        link(path, entry.target)
        give(path, owner, None)
    elif _same(path, entry):
        give(path, owner, entry.mode)
    else:
        swap_in(path, lambda new: _write(new, entry, owner))


def link(path: str, target: str) -> None:
    """Make ``path`` a symbolic link to ``target``, in place of whatever file or link is there."""
    if not (os.path.islink(path) and os.readlink(path) == target):
        swap_in(path, lambda new: os.symlink(target, new))


def _same(path: str, entry: Entry) -> bool:
    """Whether the very content is there already: then a copy in the layer would be for nothing."""
    if not os.path.lexists(path) or not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    if entry.source is not None:
        return filecmp.cmp(path, entry.source, shallow=False)
    with open(path, "rb") as file:
        return file.read() == entry.content


def _write(new: str, entry: Entry, owner: Owner) -> None:
    with open(new, "xb") as file:
        if entry.source is None:
            file.write(entry.content or b"")
        else:
            with open(entry.source, "rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
    give(new, owner, entry.mode)
