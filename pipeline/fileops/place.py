"""Putting files into an image. All of it runs in the chroot, where no link can lead out of the image."""

from __future__ import annotations

import errno
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches

from pipeline.errors import PipelineError
from pipeline.fileops.members import DEEPEST, LONGEST_NAME, LONGEST_PATH
from pipeline.fileops.owners import Owner, give, xattrs
from pipeline.unwanted import is_unwanted

NEW = ".pipeline-new"
"""A file that is being written, beside the one that it will replace by a rename."""

INHERITED = {"system.posix_acl_access"}
"""What a new file gets from a folder with a default ACL (acl(5))."""

NOT_KEPT = ("/dev", "/proc", "/run", "/sys", "/tmp", "/var/tmp")
"""Fresh filesystems of the chroot: what is written there does not get into the image."""

UNKEPT = "is not kept: logs, caches and locks of package managers and backups of accounts are in no layer"


def path_problem(path: str, removed: bool = False) -> str | None:
    """What is wrong with ``path`` as a path of an image; None when nothing is. ``removed``: it is to go."""
    if not path.startswith("/"):
        return f"{path!r} is no absolute path: it has to begin with / (the root of the image)"
    if _is_too_long(path.encode()):
        most = f"{DEEPEST} parts of {LONGEST_NAME} bytes, and {LONGEST_PATH} bytes in all"
        return f"{path[:60] + '…'!r} is too long: the most is {most}"
    if re.search(r"[\0-\x1f\x7f]", path):
        return f"{path!r} has control characters"
    if ".." in path.split("/"):
        return f"{path!r} has a '..' in it: write the path that is meant"
    lost = why_lost(path)
    return None if lost is None or (removed and is_unwanted(path)) else f"{path!r} {lost}"


def why_lost(path: str) -> str | None:
    """Why a file that a stage writes to ``path`` would not be in the image; None when it would."""
    whole = posixpath.normpath("/" + path.lstrip("/")) + "/"
    for fresh in NOT_KEPT:
        if whole.startswith(fresh + "/"):
            return f"is not part of the image: {fresh} is a fresh filesystem while a stage runs"
    return UNKEPT if is_unwanted(path) else None


def _is_too_long(path: bytes) -> bool:
    parts = [part for part in path.split(b"/") if part]
    return len(path) > LONGEST_PATH or len(parts) > DEEPEST or any(len(p) > LONGEST_NAME for p in parts)


def real_path(path: str, wanted: str | None = None) -> str:
    """Where ``path`` leads, through all links. Raises ``PipelineError`` when that is nowhere: it names
    ``wanted``, for which the folder ``path`` is needed."""
    try:
        return os.path.realpath(path, strict=True)
    except OSError as error:
        raise _unreachable(path, error, wanted) from None


def folder_of(path: str) -> str:
    """The directory of the image in which ``path`` lies or is to be made, as a path without links."""
    folder = real_path(posixpath.dirname(posixpath.normpath(path)), wanted=path)
    if not os.path.isdir(folder):
        raise PipelineError(f"{folder} is no directory", where=path)
    check_kept(folder, path)
    return folder


def is_kept(folder: str) -> bool:
    """Whether what is written to the directory ``folder`` gets into the image."""
    return os.stat(folder).st_dev == os.stat("/").st_dev


def check_kept(folder: str, path: str) -> None:
    """Raise ``PipelineError`` that names ``path`` when ``folder``, without links, is a fresh filesystem's."""
    if not is_kept(folder):
        raise PipelineError(
            f"{folder} is not part of the image: another filesystem lies there while a stage runs", where=path
        )


def read(path: str) -> tuple[str, bytes]:
    """The real path and content of a regular file. Raises ``PipelineError`` when there is none."""
    real = real_path(path)
    mode = os.stat(real).st_mode
    if not stat.S_ISREG(mode):
        raise PipelineError(f"is {kind(mode)}; expected a regular file", where=path)
    folder_of(real)
    with open(real, "rb") as file:
        return real, file.read()


def replace(real: str, content: bytes) -> None:
    """New content for the regular file ``real``; it keeps owner, mode and extended attributes."""
    old = os.stat(real)
    kept = xattrs(real)

    def write(path: str) -> None:
        with open(path, "xb") as file:
            file.write(content)
        for name in xattrs(path).keys() & INHERITED - kept.keys():
            os.removexattr(path, name)
        give(path, Owner(old.st_uid, old.st_gid), old.st_mode & 0o7777)
        for name, value in kept.items():
            os.setxattr(path, name, value)

    swap_in(real, write)


def swap_in(path: str, write: Callable[[str], None]) -> None:
    """Let ``write`` make a file or link under another name in the same folder, then rename it to ``path``."""
    if is_unwanted(path):
        raise PipelineError(UNKEPT, where=path)
    new = posixpath.join(posixpath.dirname(path), NEW)
    try:
        write(new)
        os.rename(new, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new)
        raise


def make_folders(path: str, owner: Owner = Owner(0, 0), mode: int = 0o755) -> str:  # noqa: B008 (frozen)
    """Make the directory ``path`` and those missing above it (0755 root:root); returns its real path.

    One that is there keeps owner and mode. Raises ``PipelineError`` when something else is in its place.
    """
    path = posixpath.normpath(path)
    with telling(path):
        if not os.path.lexists(path):
            parent = make_folders(posixpath.dirname(path))
            made = posixpath.join(parent, posixpath.basename(path))
            folder_of(made)
            os.mkdir(made)
            give(made, owner, mode)
            return made
    real = real_path(path)
    if not os.path.isdir(real):
        raise PipelineError(f"is {kind(os.stat(real).st_mode)}; expected a directory", where=path)
    return real


def kind(mode: int) -> str:
    """What a file is, in words."""
    kinds = {
        stat.S_IFREG: "a regular file",
        stat.S_IFDIR: "a directory",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
        stat.S_IFIFO: "a fifo",
    }
    return kinds.get(stat.S_IFMT(mode), "a socket")


@contextmanager
def telling(path: str) -> Iterator[None]:
    """Turn the ``OSError`` of the block into an error that names ``path`` of the image."""
    try:
        yield
    except OSError as error:
        raise PipelineError(error.strerror or str(error), where=path) from None


def _unreachable(path: str, error: OSError, wanted: str | None) -> PipelineError:
    where = wanted or path
    if error.errno == errno.ELOOP:
        return PipelineError("is a link that leads back to itself", where=path)
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return PipelineError(error.strerror or str(error), where=path)
    at = _first_missing(path)
    if os.path.islink(at):
        return PipelineError(
            f"{at} is a link to {os.readlink(at)}, which does not exist in the image",
            where=where,
            hint="links are followed within the image only; remove it first, or make what it points to",
        )
    if error.errno == errno.ENOTDIR:
        return PipelineError(f"{posixpath.dirname(at)} is no directory", where=where)
    missing = "does not exist in the image" if at == where else f"{at} does not exist in the image"
    hint = _neighbours(at)
    if hint is None and wanted is not None:
        hint = f'a stage before can make it: type = "file", path = "{path}", directory = true'
    return PipelineError(missing, where=where, hint=hint)


def _first_missing(path: str) -> str:
    """The shortest beginning of ``path`` that leads nowhere."""
    at = "/"
    for part in path.split("/"):
        at = posixpath.join(at, part)
        if not os.path.exists(at):
            return at
    return path


def _neighbours(path: str) -> str | None:
    folder, name = posixpath.split(path)
    try:
        close = get_close_matches(name, os.listdir(folder), n=3, cutoff=0.7)
    except OSError:
        return None
    return f"there is {', '.join(posixpath.join(folder, other) for other in close)}" if close else None
