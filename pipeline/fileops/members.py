"""What archives hold, whatever their format, and what of it may be unpacked. Pure: names and links only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from pipeline.errors import PipelineError, Problem

LONGEST_NAME = 255
"""Bytes in one part of a path (NAME_MAX of Linux)."""
LONGEST_PATH = 4095
"""Bytes in a path (PATH_MAX of Linux, which counts the zero at its end)."""
DEEPEST = 256
"""Folders within each other. No honest archive comes near; readers and removers of trees may fall over it."""
LARGEST_ID = 2**32 - 2
MAX_LINKS = 40
TOLD = 20
"""As many refused members are named."""
SHOWN = 120
"""As much of a member's name is shown at its beginning, and again at its end."""

CAPABILITIES = "security.capability"
PORTABLE_XATTRS = frozenset({CAPABILITIES, "system.posix_acl_access", "system.posix_acl_default"})
"""Beside those of users (xattr(7))."""

RATIO = 1000
RATIO_FROM = 100_000_000
"""More than 1000 bytes for each byte of the archive, once it is over 100 MB: no honest archive does that."""


class Member(msgspec.Struct, frozen=True):
    """One entry of an archive.

    ``name`` and ``target`` (of ``link`` and ``hardlink``) are as the archive has them. ``size`` is in bytes,
    ``mtime`` in seconds since 1970, ``xattrs`` its extended attributes. What is never unpacked has the type
    ``refused``; ``what`` says why.
    """

    name: str
    type: Literal["file", "directory", "link", "hardlink", "refused"]
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = 0.0
    size: int = 0
    target: str = ""
    sparse: bool = False
    what: str = ""
    xattrs: Mapping[str, bytes] = {}

    @property
    def left_out(self) -> frozenset[str]:
        """The names of its extended attributes that are not unpacked."""
        return frozenset(name for name in self.xattrs if self.type == "link" or not is_portable(name))


def is_portable(xattr: str) -> bool:
    """Whether an extended attribute means the same in an image: not those of the kernel's overlay filesystem,
    with which a file could hide others, and not those that a policy of the machine gives out."""
    return xattr in PORTABLE_XATTRS or (xattr.startswith("user.") and not xattr.startswith("user.overlay."))


class Limits(msgspec.Struct, frozen=True):
    """The most that an archive may unpack to, in bytes and members."""

    max_bytes: int
    max_files: int


def is_past_ratio(unpacked: int, archive_size: int) -> bool:
    """Whether no honest archive of this size holds as many bytes."""
    return unpacked > RATIO_FROM and unpacked > RATIO * archive_size


def check_ratio(unpacked: int, archive_size: int, archive: str) -> None:
    """Raise ``PipelineError`` when ``unpacked`` bytes from an archive of this size can only be a bomb."""
    if is_past_ratio(unpacked, archive_size):
        raise PipelineError(
            f"unpacks {archive_size} bytes to more than {unpacked}, over {RATIO} times its size: a bomb",
            where=archive,
        )


def check_limits(count: int, total: int, limits: Limits, archive: str) -> None:
    """Raise ``PipelineError`` when an archive holds more than it may."""
    if count > limits.max_files:
        raise PipelineError(
            f"has more than {limits.max_files} members",
            where=archive,
            hint="if that is meant, allow it with max_files",
        )
    if total > limits.max_bytes:
        raise PipelineError(
            f"unpacks to more than {limits.max_bytes} bytes",
            where=archive,
            hint="if that is meant, allow it with max_bytes",
        )


def paths(members: Sequence[Member], strip: int, destinations: Sequence[str], archive: str) -> list[str]:
    """For each member its path below the destination, ``""`` for one that ``strip`` leaves nothing of.

    ``destinations`` are the names of the destination by which absolute links may call it. Raises
    ``PipelineError`` that names every member that would lead out, overwrite through a link, or is no file,
    directory or link, and when there is nothing to unpack.
    """
    found: list[str] = []
    refused: list[tuple[str, str]] = []
    types: dict[str, Member] = {}
    longest = LONGEST_PATH - max(len(_bytes(destination)) for destination in destinations) - 1
    for member in members:
        path = "/".join(parts(member.name)[strip:])
        reason = _own_fault(member, path, longest) or _duplicate(types.get(path), member, path)
        if not reason and path and member.type == "hardlink":
            reason = _hard_link_fault(types, "/".join(parts(member.target)[strip:]), member)
        if reason:
            refused.append((member.name, reason))
        elif path:
            types[path] = member
        found.append(path)
    links = {path: member.target for path, member in types.items() if member.type == "link"}
    folders: dict[str, str | None] = {}
    for path, member in types.items():
        above = _blocked_by(path, types, folders)
        if above is not None:
            kind = "a symbolic link" if types[above].type == "link" else "no directory"
            refused.append((member.name, f"lies below {above}, which is {kind} in the same archive"))
        elif member.type == "link" and leads_out(path, links, destinations):
            refused.append((member.name, f"is a link that leads out of the destination, to {member.target}"))
    if refused:
        raise _refusal(refused, archive)
    if not any(parts(member.name) for member in members):
        raise PipelineError("is an empty archive: there is nothing to unpack", where=archive)
    if not any(found):
        raise PipelineError(f"strip = {strip} leaves nothing of it", where=archive)
    return found


def parts(name: str) -> list[str]:
    """The parts of a path, without the empty ones and ``.``."""
    return [part for part in name.split("/") if part not in ("", ".")]


def leads_out(path: str, links: Mapping[str, str], destinations: Sequence[str]) -> bool:
    """Whether the link at ``path``, followed through ``links`` ({path: target}), ends outside."""
    if "/" in destinations:
        return False
    here: list[str] = []
    todo = parts(path)[::-1]
    hops = 0
    while todo:
        part = todo.pop()
        if part == "..":
            if not here:
                return True
            here.pop()
            continue
        here.append(part)
        target = links.get("/".join(here))
        if target is None:
            continue
        hops += 1
        if hops > MAX_LINKS:
            return False
        here.pop()
        if target.startswith("/"):
            base = next((d for d in destinations if f"{target}/".startswith(d.rstrip("/") + "/")), None)
            if base is None:
                return True
            here, target = [], target[len(base.rstrip("/")) :]
        todo += parts(target)[::-1]
    return False


def _own_fault(member: Member, path: str, longest: int) -> str | None:
    if member.type == "refused":
        return member.what
    for text in (member.name, member.target):
        if re.search(r"[\0-\x1f\x7f]", text):
            return (
                "has control characters in its name" if text == member.name else "links to control characters"
            )
    if member.name.startswith("/"):
        return "has an absolute name"
    if ".." in member.name.split("/"):
        return "has a '..' in its name"
    if member.type == "hardlink" and (member.target.startswith("/") or ".." in member.target.split("/")):
        return f"is a hard link that leads out of the destination, to {_shown(member.target)}"
    if any(len(_bytes(part)) > LONGEST_NAME for part in parts(path)):
        return f"has a name of more than {LONGEST_NAME} bytes"
    if path.count("/") > DEEPEST:
        return f"lies {path.count('/')} folders deep, more than {DEEPEST}"
    if len(_bytes(path)) > longest:
        return f"would have a path of more than {LONGEST_PATH} bytes"
    if len(_bytes(member.target)) > LONGEST_PATH:
        return f"links to a path of more than {LONGEST_PATH} bytes"
    if not (0 <= member.uid <= LARGEST_ID and 0 <= member.gid <= LARGEST_ID):
        return f"has the owner {member.uid}:{member.gid}, which no file can have"
    return "has a negative size" if member.size < 0 else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _duplicate(earlier: Member | None, member: Member, path: str) -> str | None:
    """Later members may replace earlier ones of their kind (``tar -r``), but nothing through a link."""
    if earlier is None or not path:
        return None
    same_kind = earlier.type == member.type and member.type in ("file", "directory")
    if same_kind or (earlier.type == member.type and earlier.target == member.target):
        return None
    kinds = {"link": "a symbolic link", "hardlink": "a hard link", "file": "a file"}
    return f"comes twice, first as {kinds.get(earlier.type, 'a directory')}"


def _hard_link_fault(types: Mapping[str, Member], target: str, member: Member) -> str | None:
    if target in types and types[target].type != "directory":
        return None
    return f"is a hard link to {member.target}, which is no earlier file of the archive"


def _blocked_by(path: str, types: Mapping[str, Member], known: dict[str, str | None]) -> str | None:
    """The path above ``path`` that is no directory in the archive; ``known`` are answers for folders."""
    folder = path.rpartition("/")[0]
    if not folder:
        return None
    if folder not in known:
        above = types.get(folder)
        blocked = above is not None and above.type != "directory"
        known[folder] = folder if blocked else _blocked_by(folder, types, known)
    return known[folder]


def _refusal(refused: Sequence[tuple[str, str]], archive: str) -> PipelineError:
    problems = [
        Problem(f"member {_shown(name)!r} {reason}", where=archive) for name, reason in refused[:TOLD]
    ]
    if len(refused) > TOLD:
        problems.append(Problem(f"and {len(refused) - TOLD} more members are refused", where=archive))
    return PipelineError(problems)


def _shown(name: str) -> str:
    return name if len(name) <= LONGEST_NAME + SHOWN else f"{name[:SHOWN]}…{name[-SHOWN:]}"
