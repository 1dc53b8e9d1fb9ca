"""Making, changing and removing one file, directory or link of an image; all of it runs in the chroot."""

from __future__ import annotations

import os
import posixpath

from pipeline.errors import PipelineError
from pipeline.fileops.owners import Owner, give, look_up
from pipeline.fileops.place import (
    check_kept,
    folder_of,
    kind,
    make_folders,
    read,
    real_path,
    replace,
    swap_in,
    telling,
)
from pipeline.fileops.tree import link as put_link
from pipeline.removing import remove_tree


def create(path: str, content: bytes | None, owner: str | None, mode: int | None) -> None:
    """A regular file with ``content``; None: whatever it has, or nothing where it is new.

    A file that is there keeps the owner and mode that are not given; a new one is root:root 0644.
    """
    said = _look_up(owner)
    if os.path.lexists(path):
        real, old = read(path)
        if content is not None and content != old:
            replace(real, content)
        give(real, said, mode)
        return
    real = _new(path)

    def write(new: str) -> None:
        with open(new, "xb") as file:
            file.write(content or b"")
        give(new, Owner(said.uid or 0, said.gid or 0), 0o644 if mode is None else mode)

    with telling(path):
        swap_in(real, write)


def directory(path: str, owner: str | None, mode: int | None) -> None:
    """A directory, with those above it; one that is there keeps the owner and mode that are not given."""
    said = _look_up(owner)
    real = make_folders(path)
    check_kept(real, path)
    with telling(path):
        give(real, said, mode)


def link(path: str, target: str, owner: str | None) -> None:
    """A symbolic link; it replaces another link, but nothing else."""
    said = _look_up(owner)
    real = _new(path)
    if os.path.lexists(real) and not os.path.islink(real):
        raise PipelineError(
            f"is {kind(os.lstat(real).st_mode)}; a link would replace it",
            where=path,
            hint="remove it first, in a stage with remove = true",
        )
    with telling(path):
        put_link(real, target)
        give(real, said, None)


def remove(path: str) -> bool:
    """Remove a file, a link (not what it points to) or a directory with all in it; whether there was one."""
    if not os.path.lexists(path):
        return False
    real = _new(path)
    with telling(path):
        remove_tree(real)
    return True


def look(path: str, owner: str | None, mode: int | None) -> None:
    """Another owner or mode for what is there (for what a link leads to, as chown(1) and chmod(1) do)."""
    real = real_path(path)
    folder = folder_of(real)
    check_kept(real if os.path.isdir(real) else folder, path)
    with telling(path):
        give(real, _look_up(owner), mode)


def _look_up(owner: str | None) -> Owner:
    return Owner() if owner is None else look_up(owner)


def _new(path: str) -> str:
    """The path without links in its folders; its last part is taken as it is."""
    return posixpath.join(folder_of(path), posixpath.basename(posixpath.normpath(path)))
