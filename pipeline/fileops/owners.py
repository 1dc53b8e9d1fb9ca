"""Owners and modes as recipes write them, looked up in the image's own ``/etc/passwd`` and ``/etc/group``.

The C library's look-up is not used: in the chroot it would load the image's NSS libraries into this program.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from pipeline.errors import PipelineError
from pipeline.fileops.text import decode, nearest

OWNER = re.compile(r"(?P<user>[^:\s]*)(:(?P<group>[^:\s]+))?")
LARGEST = 0xFFFF_FFFE
"""The largest number of a user or group; the one above means "as it is" to chown(2)."""
MODE = re.compile(r"0?[0-7]{3,4}")

OWNER_FORM = 'expected "user:group", "user" or ":group", as names of the image or numbers up to 4294967294'
MODE_FORM = 'expected an octal text such as "0644" or "4755"'


class Owner(msgspec.Struct, frozen=True):
    """Numeric user and group; None: not said."""

    uid: int | None = None
    gid: int | None = None


def is_owner(text: str) -> bool:
    """Whether ``text`` has the form of an owner."""
    match = OWNER.fullmatch(text) if text else None
    return match is not None and all(
        _is_possible(name) for name in (match["user"], match["group"]) if name and _is_number(name)
    )


def is_mode(text: str) -> bool:
    """Whether ``text`` has the form of a mode."""
    return MODE.fullmatch(text) is not None


def look_up(owner: str | None) -> Owner:
    """The numbers for ``owner``. To be called in the chroot. Raises ``PipelineError``."""
    match = OWNER.fullmatch(owner or "")
    if match is None or (owner and not is_owner(owner)):
        raise PipelineError(f"{owner!r} is no owner: {OWNER_FORM}")
    return Owner(
        _number(match["user"], "/etc/passwd", "user") if match["user"] else None,
        _number(match["group"], "/etc/group", "group") if match["group"] else None,
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _is_possible(number: str) -> bool:
    return len(number) <= len(str(LARGEST)) and int(number) <= LARGEST


def _number(name: str, file: str, kind: str) -> int:
    if _is_number(name):
        return int(name)
    try:
        lines = decode(Path(file).read_bytes()).splitlines()
    except FileNotFoundError:
        lines = []
    entries = {fields[0]: fields[2] for line in lines if len(fields := line.split(":")) > 2}
    number = entries.get(name, "")
    if _is_number(number) and not _is_possible(number):
        raise PipelineError(f"the number of the {kind} {name!r} is impossible: {number}", where=file)
    if not _is_number(number):
        raise PipelineError(
            f"the image has no {kind} {name!r}",
            where=file,
            hint=nearest(name, list(entries)) or f"the stage that makes the {kind} has to come before",
        )
    return int(number)


def give(path: str, owner: Owner, mode: int | None) -> None:
    """Set what is said of ``path`` (not of what a link points to), and only where it differs.

    A new owner costs a file its setuid bits and capabilities (chown(2)), which are therefore put back.
    """
    now = os.lstat(path)
    uid = now.st_uid if owner.uid is None else owner.uid
    gid = now.st_gid if owner.gid is None else owner.gid
    is_link = os.path.islink(path)
    if (uid, gid) != (now.st_uid, now.st_gid):
        kept = {} if is_link else xattrs(path)
        os.chown(path, uid, gid, follow_symlinks=False)
        if not is_link:
            os.chmod(path, now.st_mode & 0o7777)
            for name, value in kept.items():
                if name not in os.listxattr(path):
                    os.setxattr(path, name, value)
    if mode is not None and mode != now.st_mode & 0o7777:
        os.chmod(path, mode)


def xattrs(path: str) -> dict[str, bytes]:
    """The extended attributes of a file."""
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}
