"""Publishing by mounting: the layers of a version as one overlay, with an upper directory for hand edits."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.chroot import syscalls
from pipeline.errors import MachineError, PipelineError

MOUNTS = Path("/proc/self/mountinfo")
OPTIONS_LIMIT = 4095
"""Bytes that mount(2) takes as options: one page."""


def mounted_overlays() -> frozenset[str]:
    """The mount points of every overlay that this process sees."""
    found = set()
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        fields = line.split(" ")
        if fields[fields.index("-") + 1] == "overlay":
            found.add(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
    return frozenset(found)


def mount_version(layers: Path, trees: Sequence[str], edits: Path, target: Path) -> None:
    """Mount ``trees`` (relative to ``layers``, lowest first) at ``target``; edits go to ``edits/upper``.

    One mount(2): a reader sees the empty directory or the whole tree. What was edited before a reboot is
    there again. Raises ``MachineError`` when the kernel can't.
    """
    upper, work = edits / "upper", edits / "work"
    fresh = not upper.exists()
    for folder in (upper, work, target):
        folder.mkdir(parents=True, exist_ok=True)
    if fresh:
        # The uppermost directory's mode and owner are those of the root that is seen.
        top = (layers / trees[-1]).stat()
        os.chown(upper, top.st_uid, top.st_gid)
        upper.chmod(top.st_mode & 0o7777)
    lower = ":".join(reversed(trees))
    places = f"lowerdir={lower},upperdir={upper},workdir={work},metacopy=off,redirect_dir=off"
    if len(places) + len(",index=off") > OPTIONS_LIMIT or any(sign in f"{upper}{work}" for sign in ",:\\"):
        raise PipelineError(
            f"{target} can't be mounted: {len(trees)} layers take more than one page of mount options, "
            "or the store's path holds a comma, colon or backslash",
            hint='set publish = "copy" in the site file, or give the store a shorter path',
        )
    here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.chdir(layers)
        _mount(str(target), places)
    finally:
        os.fchdir(here)
        os.close(here)


def _mount(target: str, places: str) -> None:
    """With ``index`` hard links survive hand edits; where the upper directory has moved, without it."""
    for index in ("on", "off"):
        try:
            syscalls.mount("overlay", target, "overlay", syscalls.MS_NODEV, f"{places},index={index}")
        except OSError as error:
            if index == "off" or error.errno not in (errno.EINVAL, errno.ESTALE, errno.EOPNOTSUPP):
                raise MachineError(
                    f"this machine could not mount a version: {error}",
                    hint='an overlay needs a local filesystem with xattrs; publish = "copy" needs none',
                    command="pipeline doctor",
                ) from None
        else:
            return


def unmount(target: Path) -> None:
    """Unmount ``target``. Raises ``PipelineError`` when somebody is using it."""
    try:
        syscalls.unmount(str(target))
    except OSError as error:
        raise PipelineError(
            f"{target} can't be unmounted: {os.strerror(error.errno or 0)}",
            hint="something still reads from it",
            command=f"fuser -vm {target}",
        ) from None
