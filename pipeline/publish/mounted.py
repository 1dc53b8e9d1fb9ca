"""Publishing by mounting: the layers of a version as one overlay, with an upper directory for hand edits."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from pipeline.errors import MachineError, PipelineError
from pipeline.removing import remove_tree
from pipeline.store.filesystem import DIRECTORY, inherit_nothing
from pipeline.store.mounts import mount_points

OPTIONS_LIMIT = 4095
"""Bytes that mount(2) takes as options: one page."""
MNT_EXPIRE = 4
"""umount2(2): the first call only marks a mount (EAGAIN), or says that it is in use (EBUSY)."""


def real(target: Path) -> Path:
    """``target`` without links in the directories above it."""
    return Path(os.path.realpath(target.parent)) / target.name


def is_mounted(target: Path) -> bool:
    """Whether something is mounted at ``target``."""
    return str(real(target)) in mount_points()


def mount_version(label: str, trees: Sequence[Path], edits: Path, target: Path) -> None:
    """Mount ``trees`` (lowest first) at the directory ``target``; edits go to ``edits/upper``.

    One mount(2): a reader sees the empty directory or the whole tree. What was edited before a reboot is
    there again. ``label`` is what ``findmnt`` and ``df`` show as the source. Raises ``MachineError`` when the
    kernel can't.
    """
    _make_upper(trees[-1], edits)
    with ExitStack() as opened:

        def short(path: Path) -> str:
            # Short, for mount(2) takes one page; and commas and colons in the store's path do no harm.
            fd = os.open(path, DIRECTORY)
            opened.callback(os.close, fd)
            return f"/proc/self/fd/{fd}"

        lower = ":".join(short(tree) for tree in reversed(trees))
        places = f"lowerdir={lower},upperdir={short(edits / 'upper')},workdir={short(edits / 'work')}"
        options = f"{places},metacopy=off,redirect_dir=off"
        if len(options) + len(",index=off") > OPTIONS_LIMIT:
            raise PipelineError(
                f"{label} can't be mounted: its {len(trees)} layers take more than one page of mount options",
                hint='set publish = "copy" in the site file',
            )
        _mount(label, str(real(target)), options)


def _make_upper(top: Path, edits: Path) -> None:
    """The uppermost directory's attributes are those of the root that is seen; so it appears with them."""
    from pipeline.store.copying import copy_attributes
    from pipeline.store.tree import Item

    upper = edits / "upper"
    work = edits / "work"
    work.mkdir(parents=True, exist_ok=True)
    for each in (edits, work):  # in ``work`` the kernel makes what gets to ``upper``
        inherit_nothing(each)
    if upper.exists():
        return
    remove_tree(edits / "new")
    (edits / "new").mkdir()
    directory = os.open(edits, DIRECTORY)
    try:
        copy_attributes(os.fsencode(top), top.lstat(), Item(directory, b"new", b"", True))
    finally:
        os.close(directory)
    # Stopped here: the next mount makes it again.
    (edits / "new").rename(upper)


def _mount(label: str, target: str, options: str) -> None:
    """With ``index`` hard links survive hand edits; where the store has been moved, without it."""
    from pipeline.chroot import syscalls  # only where something is mounted

    for index in ("on", "off"):
        try:
            syscalls.mount(label, target, "overlay", 0, f"{options},index={index}")
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise _held(label) from None
            if index == "off" or error.errno not in (errno.EINVAL, errno.ESTALE, errno.EOPNOTSUPP):
                raise MachineError(
                    f"this machine could not mount {label}: {error.strerror}",
                    hint='an overlay needs a local filesystem with xattrs; publish = "copy" needs none',
                    command="pipeline doctor",
                ) from None
        else:
            return


def _held(label: str) -> PipelineError:
    from pipeline.publish.users import holders

    ids = ",".join(map(str, holders(label)))
    still = f"a process that runs since before it was unpublished still has it; end it: {ids}"
    return PipelineError(
        f"{label} can't be mounted: another mount has its hand edits",
        hint=still if ids else "what still has it cannot be seen from here: a container, or the NFS server",
        command=f"ps -fp {ids}" if ids else "lsns -t mnt",
    )


def is_busy(target: Path) -> bool:
    """Whether somebody uses what is mounted at ``target``. Not for two callers at once."""
    from pipeline.chroot import syscalls

    target.stat()  # takes a mark away: a second call on a marked mount would unmount it
    try:
        syscalls.unmount(str(real(target)), MNT_EXPIRE)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EBUSY):
            raise
        return error.errno == errno.EBUSY
    return False


def unmount(target: Path) -> None:
    """Unmount ``target``. Raises ``OSError`` (EBUSY) when somebody is using it."""
    from pipeline.chroot import syscalls

    syscalls.unmount(str(real(target)))
