"""The few things of Linux file systems that the standard library leaves out, and files that appear whole."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import MachineError, PipelineError
from pipeline.libc import libc

FICLONE = 0x40049409
"""ioctl of linux/fs.h: let one file share the blocks of another."""
OVERLAYFS_MAGIC = 0x794C7630
"""``f_type`` of statfs(2) for overlayfs (linux/magic.h)."""

_ACLS = ("system.posix_acl_default", "system.posix_acl_access")
_SHOWN = 120
"""As much of a path that is too long is shown."""
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _failed(path: Path) -> OSError:
    import ctypes

    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(path))


def sync(path: Path) -> None:
    """syncfs(2): all that was written to the file system of ``path`` is on the disk when this returns."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc().syncfs(fd) != 0:
            raise _failed(path)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """fsync(2) of a directory: the renames in it last."""
    fd = os.open(path, DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def exchange(one: Path, other: Path) -> None:
    """Swap two names of one file system in one step (renameat2(2), Linux 3.15)."""
    _rename(one, other, _RENAME_EXCHANGE)


def rename_to_new(path: Path, target: Path) -> None:
    """Rename ``path``, or raise ``FileExistsError``: what is there already is never replaced."""
    _rename(path, target, _RENAME_NOREPLACE)


def _rename(path: Path, target: Path, how: int) -> None:
    if libc().renameat2(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(target), how) != 0:
        raise _failed(path)


def inherit_nothing(where: Path | bytes | int) -> None:
    """Take from what was just made in a directory the ACLs that it has from there (acl(5)).

    What is made in it then has the modes that it is given, and no more: a default ACL outdoes the umask, and
    goes on to all below.
    """
    for name in _ACLS:
        try:
            os.removexattr(where, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
                raise


def type_of(path: Path) -> int:
    """``f_type`` of statfs(2) for the file system that ``path`` is on."""
    import ctypes

    room = ctypes.create_string_buffer(256)  # struct statfs is 120 bytes on x86-64 and aarch64
    if libc().statfs(os.fsencode(path), room) != 0:
        raise _failed(path)
    return int(ctypes.c_long.from_buffer(room).value)


def check_can_hold_layers(directory: Path) -> None:
    """Raise ``MachineError`` when overlayfs cannot use ``directory`` for upper directories."""
    if type_of(directory) == OVERLAYFS_MAGIC:
        raise MachineError(
            f"the store {directory} lies on overlayfs, which cannot hold overlayfs layers",
            hint="put the store on a volume of its own (ext4, xfs or btrfs); in a container, mount one",
        )
    if os.geteuid() != 0:
        return
    try:
        probe = f"trusted.overlay.probe.{os.urandom(4).hex()}"  # others may be at it as well
        os.setxattr(directory, probe, b"y")
        os.removexattr(directory, probe)
    except PermissionError:  # trusted.* takes CAP_SYS_ADMIN (xattr(7)), whatever the file system
        raise MachineError(
            f"this process may not set the attributes that overlayfs needs in the store {directory}",
            hint="this looks like a container: it needs CAP_SYS_ADMIN (docker run --privileged)",
            command="pipeline doctor",
        ) from None
    except OSError as error:
        raise MachineError(
            f"the file system of the store {directory} does not keep trusted.* attributes: {error.strerror}",
            hint="put the store on ext4, xfs or btrfs",
        ) from None


def _marked(error: OSError) -> str:
    """What to do where root itself may not: chattr(1) can forbid it for a file, or for its directory."""
    from shlex import join

    name = error.filename
    if not isinstance(name, str | bytes):
        return "see whether it is marked with chattr: lsattr -d shows i or a, chattr -i -a takes them away"
    path = os.fsdecode(name)
    both = join([path, os.path.dirname(path) or "."])
    return f"is it marked with chattr? lsattr -d {both} shows i or a; chattr -i -a takes them away"


def what_to_do(error: OSError) -> str | None:
    """A hint for an error of the system that somebody can do something about."""
    if error.errno == errno.EPERM and os.geteuid() == 0:
        return _marked(error)
    hints = {
        errno.ENOSPC: "the disk is full: make room and run the same command again",
        errno.EDQUOT: "the disk quota is used up: make room and run the same command again",
        errno.EACCES: "run as root",
        errno.EPERM: "run as root",
        errno.EROFS: "the file system is mounted read-only",
        errno.EMFILE: "this process may not open as many files as it needs: raise the limit (ulimit -n)",
        errno.ENAMETOOLONG: "Linux takes no path of over 4,095 bytes: take folders out of folders",
    }
    return hints.get(error.errno or 0)


@contextmanager
def told(what: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` into a ``PipelineError`` that says ``what`` failed, where, and what to do."""
    try:
        yield
    except OSError as error:
        name = error.filename if isinstance(error.filename, str | bytes) else path
        where = os.fsdecode(name)
        if error.errno == errno.ENAMETOOLONG:
            where = f"{where[:_SHOWN]}… ({len(os.fsencode(name))} bytes)"
        raise PipelineError(
            f"{what}: {error.strerror or error}",
            where=where,
            hint=what_to_do(error),
        ) from error


def write_whole(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write ``path`` so that it holds either what it held before or all of ``content``, after a crash too.

    ``content`` may come in pieces. Its mode is 0644, whatever the umask.
    """
    beside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(fd, "wb") as file:
            file.writelines((content,) if isinstance(content, bytes) else content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        # Stopped here: the old content stands, and a file with a dot that nothing reads lies beside it.
        beside.rename(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # that of write(2), on a full disk
            error.filename = str(path)
        raise
    sync_directory(path.parent)


def lock_directory(path: Path) -> int | None:
    """An open descriptor that holds the only lock on ``path``; None when somebody else holds it.

    The kernel lets go of it when the last process that has the descriptor ends.
    """
    fd = os.open(path, DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd
